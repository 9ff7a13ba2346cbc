"""Figure ext_propagation_of_chaos: covariance of two neurons by width and time, their law against a product."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def _bars(axis, x, data: xr.Dataset, name: str, pick=slice(None), **style) -> None:
    mean, low, high = (data[f"{name}{end}"].values[pick] for end in ("", "_low", "_high"))
    ends = np.sort([mean, low, high], axis=0)
    error = np.nan_to_num([mean - ends[0], ends[2] - mean])
    axis.errorbar(x, mean, yerr=error, capsize=1.6, linewidth=0.8, markersize=3, **style)


def draw(data: xr.Dataset) -> Figure:
    """Return the figure."""
    figure, axes = plt.subplots(2, 2, figsize=plotting.size(4.3, columns=2))
    sizes, scaled, paths, distance = axes.flat
    widths, labels = data["width"].values, list(map(str, data["label"].values))
    size = data.copy()
    for end in ("", "_low", "_high"):
        size[f"covariance{end}"] = np.abs(data[f"covariance{end}"])
    spread = data["spread"].values
    for n, label in enumerate(labels):
        style = {"color": COLOURS[n % 5], "marker": plotting.MARKERS[n % 6]}
        _bars(sizes, widths, size, "covariance", n, label=label, **style)
        relative = {f"scaled{end}": data[f"scaled_covariance{end}"][n] / spread[n] for end in ("", "_low", "_high")}
        _bars(
            scaled,
            widths * (1 + 0.03 * (n - len(labels) / 2)),
            xr.Dataset(relative),
            "scaled",
            linestyle="none",
            **style,
        )
        scaled.axhline(float(data["expected"][n]) / spread[n], color=style["color"], linewidth=0.8, linestyle="--")
    grey = {"color": plotting.COLOURS["reference"], "linestyle": "--", "linewidth": 0.8}
    top = 1.6 * float(np.abs(data["covariance"].values[:, 0]).max())
    sizes.plot(widths, top * widths[0] / widths, label="$N^{-1}$", **grey)
    sizes.set_ylabel(r"$|\mathrm{Cov}(f(w_1), f(w_2))|$")
    scaled.set_ylabel(r"$N\,\mathrm{Cov}(f(w_1), f(w_2)) / \mathrm{Var} f$")
    scaled.axhline(0, color="black", linewidth=0.5)
    scaled.plot([], [], color="black", linestyle="--", linewidth=0.8, label="linearised equation")

    for k, width in enumerate(widths):
        paths.plot(
            data["time"][k], data["covariance_path"][0, k], color=plotting.SEQUENCE[k % 6],
            marker=plotting.MARKERS[k % 6], markersize=2.6, linewidth=0.8, label=f"$N = {width}$",
        )  # fmt: skip
    paths.plot(
        data["path_time"],
        data["expected_path"][0],
        color="black",
        linewidth=0.9,
        linestyle="--",
        label="linearised equation",
    )
    paths.set_xscale("symlog", linthresh=min(data["path_time"].values[1:], default=1.0))
    paths.set_xlabel("time $t$")
    paths.set_ylabel(rf"$N\,\mathrm{{Cov}}$ of {labels[0]}")

    _bars(distance, widths, data, "distance", color=COLOURS[0], marker="o", label="pair law and product")
    first = data["distance"].values
    anchor = float(first[np.isfinite(first) & (first > 0)][0]) if (first > 0).any() else 1.0
    distance.plot(widths, 1.4 * anchor * widths[0] / widths, label="$N^{-1}$", **grey)
    distance.set_ylabel(r"Hoeffding distance $\Phi$")
    for axis in (sizes, scaled, distance):
        axis.set_xscale("log")
        axis.set_xlabel("number of neurons $N$")
        axis.set_xticks(widths, [str(w) for w in widths])
        axis.minorticks_off()
    for axis in (sizes, distance):
        axis.set_yscale("log")
        plotting.risk_labels(axis.yaxis)
    for axis in axes.flat:
        axis.legend(fontsize=5)
    plotting.panels(axes.flat, ("covariance", "scaled by N", "over time", "law of two neurons"))
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        (dataset,) = plotting.load(snakemake.input.data, snakemake.params.names).values()
        plotting.save(draw(dataset), snakemake.output)
