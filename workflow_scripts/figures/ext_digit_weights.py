"""Figure ext_digit_weights: learnt hidden weights as images, the answers digit by digit, and the worst mistakes."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def _pictures(figure: Figure, place: SubplotSpec, run: xr.Dataset) -> None:
    pictures, outputs = run["picture"].values, run["picture_output"].values
    columns = max(1, len(pictures) // 2)
    grid = place.subgridspec(2, columns + 1, width_ratios=[1] * columns + [0.12], hspace=0.05, wspace=0.06)
    reach = float(np.abs(pictures).max()) or 1.0
    shown = None
    for n, (picture, output) in enumerate(zip(pictures, outputs, strict=True)):
        axis = figure.add_subplot(grid[n // columns, n % columns])
        masked = np.ma.masked_where(run["active"].values == 0, picture)
        shown = axis.imshow(masked, cmap="RdBu_r", vmin=-reach, vmax=reach)
        axis.set_facecolor("#DDDDDD")
        axis.spines[:].set_visible(False)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_xlabel(f"$c = {output:.2f}$", labelpad=1.5, fontsize="x-small")
    bar = figure.add_subplot(grid[:, columns])
    figure.colorbar(shown, cax=bar, label="input weight $w$")


def _answers(axis: Axes, run: xr.Dataset) -> None:
    labels = plotting.parameters(run)["labels"]
    target = [digit % 2 == 0 if labels["rule"] == "parity" else digit == labels["digit"] for digit in range(10)]
    wrong = np.where(target, 1 - run["positive"].values, run["positive"].values)
    colours = [plotting.COLOURS["limit"] if yes else plotting.COLOURS["sgd"] for yes in target]
    hatches = ["////" if yes else "" for yes in target]
    bars = axis.bar(range(10), 100 * wrong, color=colours, width=0.75)
    for bar, hatch in zip(bars, hatches, strict=True):
        bar.set_hatch(hatch)
        bar.set_edgecolor("white")
    axis.set_xticks(range(10))
    axis.set_xlabel("digit of the test image (hatched: target +1)")
    axis.set_ylabel("wrong sign, %")


def _confusion(axis: Axes, run: xr.Dataset) -> None:
    table = run["confusion"].values.astype(float)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i in range(2):
        for j in range(2):
            axis.text(
                j, i, f"{int(table[i, j])}\n{100 * share[i, j]:.1f} %", ha="center", va="center", fontsize="small",
                color="white" if share[i, j] > 0.5 else "black",
            )  # fmt: skip
    axis.set_xticks([0, 1], ["−1", "+1"])
    axis.set_yticks([0, 1], ["−1", "+1"])
    axis.set_xlabel("sign of the output")
    axis.set_ylabel("target")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def _mistakes(figure: Figure, place: SubplotSpec, run: xr.Dataset) -> Axes:
    images = run["mistake_image"].values
    columns = max(1, -(-len(images) // 2))
    grid = place.subgridspec(2, columns, hspace=0.05, wspace=0.06)
    first = None
    for n, image in enumerate(images):
        axis = figure.add_subplot(grid[n // columns, n % columns])
        first = first or axis
        axis.imshow(image, cmap="gray_r")
        axis.spines[:].set_visible(False)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_xlabel(
            f"{int(run['mistake_digit'][n])}: $g = {float(run['mistake_output'][n]):.2f}$", labelpad=1.5,
            fontsize="x-small",
        )  # fmt: skip
    return first


def draw(run: xr.Dataset) -> Figure:
    """Return the figure of one classifier."""
    figure = plt.figure(figsize=plotting.size(3.9, columns=2))
    grid = figure.add_gridspec(2, 3, height_ratios=(1.2, 1), width_ratios=(1.3, 0.75, 1))
    _pictures(figure, grid[0, :], run)
    answers, confusion = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
    _answers(answers, run)
    _confusion(confusion, run)
    mistakes = _mistakes(figure, grid[1, 2], run)
    # The first title spans all pictures: as that of one of them it would widen its column.
    words = f"input weights of the neurons with the largest and the smallest $c$, $N = {int(run['neurons'])}$"
    figure.suptitle(rf"$\bf{{a}}$  {words}", x=0.01, ha="left", fontsize="medium")
    plotting.panels((answers, confusion, mistakes), ("errors by digit", "answers", "worst mistakes"), first="b")
    plotting.footnote(figure, plotting.data_line(run))
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        plotting.save(draw(next(iter(data.values()))), snakemake.output)
