"""Figure fig10_optimisers_digits: losses and errors of all optimisers on one digit classifier."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meanfield import plotting, registry
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8B5A2B")
_GREYS = ("#000000", "#8C8C8C", "#CFCFCF", "#5A5A5A")
# Controls lie under the curves that they control and have to be seen beside them.
_WIDTHS = (1.8, 3.2, 5.5)
_STYLES = ("-", (0, (5, 1)), "-.", ":", (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


def _label(run: xr.Dataset) -> str:
    settings = plotting.parameters(run)["settings"]
    return f"{registry.load(registry.METHODS, settings['method']).TITLE}, {settings['rate']:g}"


def _looks(runs: list[xr.Dataset]) -> list[dict]:
    # SGD at any rate is a black or grey line, the broader the paler; each other method has its own colour, style and
    # marker.
    plain = [plotting.parameters(run)["settings"]["method"] == "sgd" for run in runs]
    looks = []
    for n, grey in enumerate(plain):
        rank = sum(one == grey for one in plain[:n])
        colours = _GREYS if grey else _COLOURS
        looks.append(
            {
                "color": colours[rank % len(colours)],
                "linestyle": "-" if grey else _STYLES[rank % len(_STYLES)],
                "linewidth": _WIDTHS[min(rank, len(_WIDTHS) - 1)] if grey else 1.0,
                "marker": None if grey else _MARKERS[rank % len(_MARKERS)],
                "zorder": 1 - 0.1 * rank if grey else 2,
            }
        )
    return looks


def _curves(axis: Axes, runs: list[xr.Dataset], variable: str, horizontal: str, floor: float = 0.0) -> None:
    for run, look in zip(runs, _looks(runs), strict=True):
        x = run[horizontal].values.astype(float)
        later = x > 0
        low, high = (np.maximum(run[f"{variable}_{end}"].values[later], floor) for end in ("least", "largest"))
        mean = np.maximum(run[f"{variable}_mean"].values[later], floor)
        plotting.band(
            axis, x[later], mean, low, high, label=_label(run), markersize=2.6, markerfacecolor="none",
            markeredgewidth=0.7, **look,
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel({"iteration": "iteration", "evaluation": "gradient evaluations"}[horizontal])
    plotting.short_log(axis.yaxis)


def _rises(axis: Axes, runs: list[xr.Dataset]) -> None:
    looks = _looks(runs)
    for n, (run, look) in enumerate(zip(runs, looks, strict=True)):
        value, low, high = (float(run[f"rise_loss_test_{end}"]) for end in ("mean", "low", "high"))
        error = np.nan_to_num([[value - low], [high - value]])
        axis.errorbar(
            [value], [n], xerr=error, fmt=look["marker"] or "o", color=look["color"], capsize=2, linewidth=0.9,
            markersize=4,
        )  # fmt: skip
    axis.axvline(1.0, color=plotting.COLOURS["reference"], linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(runs)), [_label(run) for run in runs], fontsize="x-small")
    axis.invert_yaxis()
    axis.set_xlabel("final over smallest")


def draw(runs: list[xr.Dataset]) -> Figure:
    """Return the figure: losses and errors against iterations and gradients, and how the test loss ends."""
    # Rows of their own layout: the names beside the last panel leave no gap above it.
    figure = plt.figure(figsize=plotting.size(4.8, columns=2))
    rows = figure.subfigures(2, 1, height_ratios=(2.1, 2.7))
    axes = np.array([row.subplots(1, 3) for row in rows])
    images = plotting.data_card(runs[0])
    _curves(axes[0, 0], runs, "loss_train", "iteration")
    _curves(axes[0, 1], runs, "loss_train", "evaluation")
    _curves(axes[0, 2], runs, "loss_test", "evaluation")
    _curves(axes[1, 0], runs, "error_train", "evaluation", floor=0.5 / images["train"])
    _curves(axes[1, 1], runs, "error_test", "evaluation", floor=0.5 / images["test"])
    _rises(axes[1, 2], runs)
    for axis in axes[0]:
        axis.set_ylabel("squared error")
    for axis in axes[1, :2]:
        axis.set_ylabel("share of wrong signs")
    plotting.panels(
        axes.flat,
        ("training loss", "training loss", "test loss", "training error", "test error", "rise of the test loss"),
    )
    rows[1].legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center", ncols=5, title_fontsize="x-small",
        title=rf"optimiser, rate $\alpha$ ({plotting.data_line(runs[0])})",
    )  # fmt: skip
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        plotting.save(draw([*data.values()]), snakemake.output)
