"""Figure fig07_digit_histograms: laws of the weights of the digit classifier at growing width, and their modes."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import LogLocator, MaxNLocator

from meanfield import plotting
from meanfield.errors import DataError
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

_STYLES = ("-", (0, (5, 1)), "-.", ":", (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
_NAMES = {"tanh": "tanh", "logistic": "sigmoid", "erf": "erf", "softplus": "softplus", "sine": "sine"}


def _look(n: int) -> dict:
    return {"color": plotting.SEQUENCE[n % len(plotting.SEQUENCE)], "linestyle": _STYLES[n % len(_STYLES)]}


def _activation(settings: dict) -> str:
    if settings["kind"] == "piecewise_linear":
        relu = (settings["knots"], settings["values"], settings["left_slope"]) == ([0.0], [0.0], 0.0)
        return "ReLU" if relu else "piecewise linear"
    return _NAMES[settings["kind"]]


def _labels(settings: dict) -> str:
    return "even or odd" if settings["rule"] == "parity" else f"digit {settings['digit']}"


def _law(axis: Axes, run: xr.Dataset, colour: str) -> float:
    # The histogram of the output weights, averaged over the runs; returns its height.
    height = run["histogram"].mean("replicate")
    axis.stairs(height, run["edge"], fill=True, color=colour, alpha=0.35, linewidth=0)
    axis.stairs(height, run["edge"], color=colour, linewidth=0.8)
    return float(height.max())


def _histograms(figure: Figure, place: SubplotSpec, runs: list[xr.Dataset]) -> Axes:
    axes = plotting.stacked(figure, place, len(runs))
    reach = max(float(run["edge"][-1]) for run in runs)
    for n, (axis, run) in enumerate(zip(axes, runs, strict=True)):
        _law(axis, run, _look(n)["color"])
        axis.set_xlim(-reach, reach)
        axis.set_ylim(bottom=0)
        axis.text(
            0.5, 0.93, rf"$N = {int(run['neurons'])}$", transform=axis.transAxes, ha="center", va="top",
            fontsize="small",
        )  # fmt: skip
        axis.set_yticks([])
    axes[-1].set_xlabel("output weight $c$")
    axes[len(axes) // 2].set_ylabel("density")
    return axes[0]


def _inputs(axis: Axes, runs: list[xr.Dataset]) -> None:
    for n, run in enumerate(runs):
        axis.plot(run["weight_position"], run["weight_density"], label=rf"$N = {int(run['neurons'])}$", **_look(n))
    axis.set_yscale("log")
    top = max(float(run["weight_density"].max()) for run in runs)
    if np.isfinite(top) and top > 0:
        axis.set_ylim(2e-3 * top, 2 * top)
    axis.xaxis.set_major_locator(MaxNLocator(3, symmetric=True))
    axis.set_xlabel("input weight, entries of $w$")
    axis.set_ylabel("density")
    axis.legend(loc="upper right")
    plotting.short_log(axis.yaxis)


def _distances(axis: Axes, widths: xr.Dataset) -> None:
    x = widths["narrower"].values
    shown = (
        ("output", "output weights $c$", plotting.COLOURS["sgd"], "o", "--"),
        ("weight", "input weights $w$", plotting.COLOURS["limit"], "s", ":"),
    )
    points = [widths[f"{name}_{what}"].values for name, *_ in shown for what in ("distance_mean", "distance_expected")]
    positive = np.array([value for values in points for value in values if value > 0])
    # Below the axis: a bar whose end is not positive runs out of the panel.
    bottom, top = (positive.min() / 20, 3 * positive.max()) if positive.size else (0.1, 1.0)
    for name, words, colour, marker, line in shown:
        mean = widths[f"{name}_distance_mean"].values
        low, high = (widths[f"{name}_distance_{end}"].values for end in ("low", "high"))
        error = np.nan_to_num([mean - np.maximum(low, bottom / 10), high - mean])
        axis.errorbar(x, mean, yerr=error, fmt=marker, color=colour, capsize=2, linewidth=0.9, label=words)
        axis.plot(
            x * 1.08, widths[f"{name}_distance_expected"], color=colour, linestyle=line, linewidth=0.9, marker=marker,
            markerfacecolor="white", markersize=3, zorder=1, label="of two runs of one law",
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(bottom, top)
    axis.set_xlabel("width $N$")
    axis.set_ylabel("$W_1$ to the next width")
    axis.legend(loc="lower left")
    plotting.short_log(axis.xaxis)
    plotting.short_log(axis.yaxis)


def _losses(axis: Axes, runs: list[xr.Dataset]) -> None:
    for n, run in enumerate(runs):
        look = _look(n)
        inside = run["window_time"].values > 0.05
        plotting.band(
            axis, run["window_time"].values[inside], run["online_loss_mean"].values[inside],
            run["online_loss_low"].values[inside], run["online_loss_high"].values[inside], linewidth=0.9, **look,
        )  # fmt: skip
        later = run["time"].values > 0
        axis.plot(
            run["time"].values[later], run["loss_test_mean"].values[later], color=look["color"], linestyle="none",
            marker="o", markerfacecolor="none", markersize=3,
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("time $t = k/N$")
    axis.set_ylabel("squared error")
    axis.plot([], [], color="black", label="samples at their iteration")
    axis.plot([], [], color="black", linestyle="none", marker="o", markerfacecolor="none", label="test set")
    axis.legend(loc="lower left")
    plotting.short_log(axis.xaxis)
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    plotting.short_log(axis.yaxis)


def _choices(figure: Figure, place: SubplotSpec, runs: list[xr.Dataset]) -> Axes:
    cards = [plotting.parameters(run) for run in runs]
    rows = list(dict.fromkeys(_labels(card["labels"]) for card in cards))
    columns = list(dict.fromkeys(_activation(card["activation"]) for card in cards))
    grid = place.subgridspec(len(rows), len(columns), hspace=0.1, wspace=0.1)
    first = None
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            axis = figure.add_subplot(grid[i, j])
            first = first or axis
            axis.set_yticks([])
            fitting = [
                run
                for run, card in zip(runs, cards, strict=True)
                if (_labels(card["labels"]), _activation(card["activation"])) == (row, column)
            ]
            for run in fitting[:1]:
                axis.set_ylim(0, 1.3 * _law(axis, run, plotting.COLOURS["sgd"]))
                largest = float(run["p_value"].max())
                axis.text(
                    0.5, 0.97, rf"$p \leq {largest:.2g}$, valley {float(run['valley'].mean()):.2f}",
                    transform=axis.transAxes, ha="center", va="top", fontsize="x-small",
                )  # fmt: skip
            if not fitting:
                axis.set_axis_off()
            if j == 0:
                axis.set_ylabel(row)
            if i == len(rows) - 1:
                axis.set_xlabel(f"$c$, {column}")
    return first


def draw(runs: list[xr.Dataset], widths: xr.Dataset, choices: list[xr.Dataset]) -> Figure:
    """Return the figure: laws at growing width, their distances, losses, and the laws of other choices."""
    figure = plt.figure(figsize=plotting.size(5.0, columns=2))
    grid = figure.add_gridspec(2, 6, height_ratios=(1.15, 1))
    runs = sorted(runs, key=lambda run: int(run["neurons"]))
    outputs = _histograms(figure, grid[0, 0:2], runs)
    inputs, distances = figure.add_subplot(grid[0, 2:4]), figure.add_subplot(grid[0, 4:6])
    losses = figure.add_subplot(grid[1, 0:2])
    _inputs(inputs, runs)
    _distances(distances, widths)
    _losses(losses, runs)
    lettered = [outputs, inputs, distances, losses]
    titles = ["output weights", "input weights", "distance to the next width", "loss"]
    if choices:
        lettered.append(_choices(figure, grid[1, 2:6], choices))
        titles.append("output weights for other activations and labels")
    plotting.panels(lettered, titles)
    plotting.footnote(figure, plotting.data_line(runs[0]))
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        compared = next((name for name in data if name.endswith("/widths")), None)
        if compared is None:
            raise DataError("figures.fig07_digit_histograms.data: a dataset <experiment>/widths is needed, none found")
        experiment = compared.split("/")[0]
        plotting.save(
            draw(
                [data[name] for name in data if name.startswith(f"{experiment}/") and name != compared],
                data[compared],
                [data[name] for name in data if not name.startswith(f"{experiment}/")],
            ),
            snakemake.output,
        )
