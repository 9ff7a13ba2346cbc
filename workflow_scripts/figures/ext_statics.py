"""Figure ext_statics: the smallest risk of any radial law, the optimal law, thresholds, and where the dynamics end."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

_LINES = ("-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 1, 1, 1, 1, 1)), "-.")
# Risks below this are zero to the eye and to rounding.
_FLOOR = 3e-5
# Norms below this are drawn as zero: neurons there feel no force, or next to none.
_NEAR_ZERO = 0.1


def _colour(n: int, names: list) -> str:
    return "#000000" if names[n] == "∞" else plotting.SEQUENCE[n % len(plotting.SEQUENCE)]


def _risks(axis: Axes, laws: xr.Dataset) -> None:
    names, x = [str(name) for name in laws["dimension"].values], laws["separation"].values
    for n, name in enumerate(names):
        one = laws.isel(dimension=n)
        colour = _colour(n, names)
        axis.plot(
            x,
            np.maximum(one["optimal_risk"], _FLOOR / 10),
            color=colour,
            linestyle=_LINES[n % len(_LINES)],
            label=f"$d = {name}$".replace("∞", r"\infty"),
        )
        axis.plot(x, np.maximum(one["sphere_risk"], _FLOOR / 10), color=colour, linewidth=0.5, alpha=0.8)
        if float(one["threshold_risk"]) > _FLOOR:
            axis.plot(one["upper_threshold"], one["threshold_risk"], "o", color=colour, markersize=3.5)
    axis.set_yscale("log")
    axis.set_ylim(bottom=_FLOOR, top=2)
    plotting.short_log(axis.yaxis)
    axis.set_xlabel(r"separation $\Delta$")
    axis.set_ylabel("risk")
    handles, _ = axis.get_legend_handles_labels()
    more = [
        Line2D([], [], color="black", linewidth=0.5, label="single sphere"),
        Line2D([], [], color="black", marker="o", markersize=3.5, linestyle="none", label=r"threshold $\Delta_d^h$"),
    ]
    axis.legend(handles=[*handles, *more], fontsize=5.5, loc="lower left")


def _law(axis: Axes, laws: xr.Dataset, dimension: str) -> None:
    names = [str(name) for name in laws["dimension"].values]
    one = laws.isel(dimension=names.index(dimension) if dimension in names else 0)
    x = np.broadcast_to(laws["separation"].values[:, None], one["optimal_norm"].shape)
    norm, mass = one["optimal_norm"].values, one["optimal_mass"].values
    there = np.isfinite(norm)
    # Zero gets a place on the logarithmic axis.
    positive = norm[there & (norm >= _NEAR_ZERO)]
    least = 0.5 * positive.min() if positive.size else _NEAR_ZERO
    axis.scatter(
        x[there],
        np.where(norm[there] < _NEAR_ZERO, least, norm[there]),
        s=4 + 60 * mass[there],
        color=plotting.COLOURS["sgd"],
        alpha=0.75,
        linewidths=0,
        label="optimal law, area by mass",
    )
    axis.plot(
        laws["separation"],
        one["sphere_norm"],
        color=plotting.COLOURS["limit"],
        linewidth=0.9,
        label="best single sphere",
    )
    for value, label in ((one["lower_threshold"], "thresholds"), (one["upper_threshold"], None)):
        if np.isfinite(value):
            axis.axvline(float(value), color=plotting.COLOURS["reference"], linewidth=0.7, linestyle=":", label=label)
    axis.set_yscale("log")
    plotting.short_log(axis.yaxis)
    axis.set_xlabel(r"separation $\Delta$")
    axis.set_ylabel("norm of the spheres")
    axis.legend(fontsize=5.5, loc="center right", bbox_to_anchor=(1.0, 0.72))


def _thresholds(axis: Axes, laws: xr.Dataset) -> None:
    finite = np.array([str(name) != "∞" for name in laws["dimension"].values])
    d = np.array([float(name) for name in laws["dimension"].values[finite]])
    curves = {
        "upper": (
            float(laws["perfect_separation"]) - laws["upper_threshold"].values[finite],
            r"$\Delta_\infty - \Delta_d^h$",
        ),
        "lower": (laws["lower_threshold"].values[finite], r"$\Delta_d^l$"),
    }
    for (name, (value, label)), colour, marker in zip(curves.items(), ("#0072B2", "#D55E00"), "os", strict=True):
        order = float(laws[f"{name}_order"])
        if not np.isfinite(value).any():
            continue
        text = rf"{label}, slope {order:.2f}" if np.isfinite(order) else label
        axis.plot(d, value, color=colour, marker=marker, linestyle="-", linewidth=0.9, label=text)
    good = np.isfinite(curves["upper"][0])
    if good.any():
        start = 0.6 * float(curves["upper"][0][good][0])
        axis.plot(
            d, start * d[0] / d, color=plotting.COLOURS["reference"], linestyle="--", linewidth=0.8, label="$1/d$"
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    plotting.short_log(axis.yaxis)
    axis.set_xticks(d, [f"{value:g}" for value in d])
    axis.minorticks_off()
    axis.set_xlabel("dimension $d$")
    axis.set_ylabel("separation")
    if axis.lines:
        axis.legend(fontsize=5.5, loc="upper right")


def _ends(axis: Axes, ends: xr.Dataset) -> None:
    x, times = ends["separation"].values, ends["end"].values
    axis.plot(x, np.maximum(ends["optimal_risk"], _FLOOR / 10), color="black", label="smallest of any law")
    for n in range(ends.sizes["law"]):
        for k, time in enumerate(times):
            axis.plot(
                x,
                ends["limit_risk"].isel(law=n, end=k),
                color=plotting.SEQUENCE[k % len(plotting.SEQUENCE)],
                marker=plotting.MARKERS[n % 6],
                markersize=2.6,
                markerfacecolor="none" if n else None,
                linewidth=0.7,
                linestyle="-" if n == 0 else ":",
                label=f"limit, $t$ = {plotting.power(time)}" if n == 0 else None,
            )
        mean, low, high = (ends[f"sgd_risk{end}"].isel(law=n).values for end in ("", "_low", "_high"))
        if np.isfinite(mean).any():
            # An interval may reach below zero, which a logarithmic axis cannot show.
            error = np.nan_to_num(np.array([mean - np.maximum(low, mean / 10), high - mean]))
            axis.errorbar(
                x,
                mean,
                yerr=error,
                color=plotting.COLOURS["limit"],
                marker="+",
                markersize=6,
                linestyle="none",
                linewidth=0.9,
                capsize=1.6,
                label=f"SGD, $t$ = {float(ends['sgd_time']):g}",
                zorder=5,
            )
    axis.set_yscale("log")
    plotting.short_log(axis.yaxis)
    axis.set_xlabel(r"separation $\Delta$")
    axis.set_ylabel("risk")
    handles, _ = axis.get_legend_handles_labels()
    names = [
        Line2D(
            [],
            [],
            color="black",
            marker=plotting.MARKERS[n % 6],
            markersize=2.6,
            linewidth=0.7,
            linestyle="-" if n == 0 else ":",
            markerfacecolor="none" if n else None,
            label=f"from “{name}”",
        )
        for n, name in enumerate(ends["law"].values)
    ]
    axis.legend(handles=[*handles, *names], fontsize=5.5, ncols=2, loc="lower left")


def draw(data: dict[str, xr.Dataset]) -> Figure:
    """Return the figure."""
    laws = next(one for name, one in data.items() if name.endswith("/laws"))
    ends = next((one for name, one in data.items() if name.endswith("/ends")), None)
    figure, axes = plt.subplots(2, 2, figsize=plotting.size(4.8, columns=2))
    dimension = "40" if ends is None else str(int(ends["dimension"]))
    _risks(axes[0, 0], laws)
    _law(axes[0, 1], laws, dimension)
    _thresholds(axes[1, 0], laws)
    if ends is None:
        axes[1, 1].set_visible(False)
    else:
        _ends(axes[1, 1], ends)
    plotting.panels(
        axes.flat,
        (
            "optimal and single-sphere risk",
            f"the optimal law, $d = {dimension}$",
            "thresholds",
            f"where the dynamics end, $d = {dimension}$",
        ),
    )
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        plotting.save(draw(plotting.load(snakemake.input.data, snakemake.params.names)), snakemake.output)
