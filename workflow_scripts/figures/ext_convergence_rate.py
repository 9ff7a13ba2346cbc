"""Figure ext_convergence_rate: errors of SGD against the limit by width and by step size, W2, and the fitted powers."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000", "#56B4E9")
AXES = {"width": "number of neurons $N$", "step": r"step size $\epsilon$"}
# What the theorem bounds errors by.
POWERS = {"width": -0.5, "step": 0.5}


def points(axis: Axes, x, data: xr.Dataset, name: str, pick, **style) -> None:
    """Draw estimates with the ends of their intervals."""
    mean, low, high = (data[f"{name}{end}"].values[pick] for end in ("", "_low", "_high"))
    error = np.nan_to_num(np.maximum([mean - low, high - mean], 0))
    axis.errorbar(x, mean, yerr=error, capsize=1.5, linewidth=0.8, markersize=2.6, elinewidth=0.7, **style)


def reference(axis: Axes, x, anchor: float, power: float, label: str) -> None:
    """Draw a power law through the first point, raised a little."""
    x = np.asarray(x, float)
    style = {"color": plotting.COLOURS["reference"], "linestyle": "--", "linewidth": 0.8}
    axis.plot(x, anchor * (x / x[0]) ** power, label=label, **style)


def logarithmic(axis: Axes) -> None:
    """Make both axes logarithmic, with decades labelled."""
    axis.set_xscale("log")
    axis.set_yscale("log")
    plotting.short_log(axis.xaxis)
    plotting.risk_labels(axis.yaxis)


def draw(data: xr.Dataset) -> Figure:
    """Return the figure."""
    figure, axes = plt.subplots(2, 3, figsize=plotting.size(4.3, columns=2))
    labels = list(map(str, data["label"].values))
    for row, (name, xlabel) in enumerate(AXES.items()):
        x = data[name].values
        largest, final = axes[row, 0], axes[row, 1]
        for n, label in enumerate(labels):
            style = {"color": COLOURS[n % 7], "marker": plotting.MARKERS[n % 6]}
            points(largest, x, data, f"{name}_largest", n, label=label, **style)
            points(final, x, data, f"{name}_final", n, linestyle="none", **style)
            final.plot(x, data[f"{name}_predicted"].values[n], color=style["color"], linewidth=0.7)
        top = float(np.nanmax(data[f"{name}_largest"].values[:, 0]))
        sign = "-" if POWERS[name] < 0 else ""
        reference(
            largest, x, 1.5 * top, POWERS[name], rf"${'N' if name == 'width' else chr(92) + 'epsilon'}^{{{sign}1/2}}$"
        )
        largest.set_ylabel(r"$\sup_t$ error, mean")
        final.set_ylabel("error at the last time")
        final.plot([], [], color="black", linewidth=0.7, label="linearised equation")
        final.plot([], [], color="black", marker="o", markersize=2.6, linestyle="none", label="SGD")
        for axis in (largest, final):
            axis.set_xlabel(xlabel)
            logarithmic(axis)
        final.legend(fontsize=5)
    axes[0, 0].set_ylim(top=10 * axes[0, 0].get_ylim()[1])  # room for the legend
    axes[0, 0].legend(fontsize=5, ncol=2, loc="upper right")
    _powers(axes[0, 2], data, labels)
    _distances(axes[1, 2], data)
    plotting.panels(
        axes.flat,
        (
            "small step, largest",
            "small step, last time",
            "fitted powers",
            "wide, largest",
            "wide, last time",
            "law of the norm",
        ),
    )
    return figure


def _powers(axis: Axes, data: xr.Dataset, labels: list[str]) -> None:
    # The size of each fitted power, by kind of error.
    kinds = {
        "width_largest": ("o", "$N$, largest"), "width_deviation": ("s", "$N$, deviation"),
        "step_largest": ("^", r"$\varepsilon$, largest"), "step_deviation": ("D", r"$\varepsilon$, deviation"),
    }  # fmt: skip
    for k, (name, (marker, label)) in enumerate(kinds.items()):
        mean, low, high = (np.abs(data[f"{name}_slope{end}"].values) for end in ("", "_low", "_high"))
        error = np.nan_to_num(np.abs(np.sort([low, high], axis=0) - mean))
        place = np.arange(len(labels)) + 0.16 * (k - 1.5)
        axis.errorbar(
            mean, place, xerr=error, marker=marker, linestyle="none", markersize=2.6, linewidth=0.8, color=COLOURS[k],
            capsize=1.5, label=label,
        )  # fmt: skip
    axis.axvline(0.5, color=plotting.COLOURS["reference"], linestyle="--", linewidth=0.8)
    axis.axvline(1, color=plotting.COLOURS["reference"], linestyle=":", linewidth=0.8)
    axis.set_yticks(range(len(labels)), labels, fontsize=5.5)
    axis.invert_yaxis()
    axis.set_xlim(0.2, 1.3)
    axis.set_xlabel("size of the power")
    # The line at one must not run through the words.
    axis.legend(fontsize=5, frameon=True, facecolor="white", edgecolor="none", framealpha=1)


def _distances(axis: Axes, data: xr.Dataset) -> None:
    x = data["width"].values
    for n, time in enumerate(data["law_time"].values):
        points(
            axis,
            x,
            data,
            "wasserstein",
            n,
            color=COLOURS[n % 7],
            marker=plotting.MARKERS[n % 6],
            label=f"$t = {time:g}$",
        )
    reference(axis, x, 1.4 * float(np.nanmax(data["wasserstein"].values[:, 0])), -0.5, "$N^{-1/2}$")
    axis.set_xlabel(AXES["width"])
    axis.set_ylabel(r"$W_2$ of the norms")
    logarithmic(axis)
    axis.legend(fontsize=5)


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        (dataset,) = plotting.load(snakemake.input.data, snakemake.params.names).values()
        plotting.save(draw(dataset), snakemake.output)
