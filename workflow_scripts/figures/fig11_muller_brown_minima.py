"""Figure fig11_muller_brown_minima: final values and minima reached per method, with intervals and sensitivity."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# Destinations by lightness, so that they differ in grey: minima from the lowest, then elsewhere, then lost.
FILLS = ("#0B3C5D", "#E69F00", "#8CC7E8", "#C9B3D9", "#5E8C61", "#D9A5A0")
ORDINALS = ("lowest minimum", "second", "third", "fourth", "fifth", "sixth")
ELSEWHERE = {"facecolor": "white", "hatch": "......", "edgecolor": "0.55", "linewidth": 0.3}
LOST = {"facecolor": "black", "edgecolor": "black", "linewidth": 0.3}


def _style(n: int, minima: int) -> dict:
    if n < minima:
        return {"facecolor": FILLS[n % len(FILLS)], "edgecolor": "white", "linewidth": 0.3}
    return ELSEWHERE if n == minima else LOST


def _values(axis: Axes, counts: xr.Dataset, rows: np.ndarray) -> None:
    # Ridges: raw values filled, polished ones as a line; heights are square roots, so that small groups are seen.
    edges = counts["edge"].values
    for stage in ("raw", "polished"):
        heights = np.sqrt(counts[f"histogram_{stage}"].values / float(counts["starts"]))
        for row, height in zip(rows, heights, strict=True):
            if stage == "raw":
                axis.stairs(
                    row + 0.45 - 0.9 * height, edges, baseline=row + 0.45, fill=True, color="#7FA9C9", linewidth=0
                )
            else:
                axis.stairs(row + 0.45 - 0.9 * height, edges, baseline=None, color="#0B3C5D", linewidth=0.6)
    for value in counts["minimum_value"].values:
        axis.axvline(value, color="0.5", linewidth=0.5, linestyle=(0, (1, 2)), zorder=0)
    axis.set_xlim(edges[0], edges[-1])
    axis.set_xlabel("final value $V$")


def _bars(axis: Axes, counts: xr.Dataset, rows: np.ndarray) -> None:
    minima = counts.sizes["minimum"]
    shares = counts["share_polished"].values
    left = np.zeros(len(rows))
    for n in range(shares.shape[1]):
        axis.barh(rows, shares[:, n], left=left, height=0.78, **_style(n, minima))
        left += shares[:, n]
    lowest = shares[:, 0]
    error = np.abs(
        np.stack([counts["share_low_polished"].values[:, 0], counts["share_high_polished"].values[:, 0]]) - lowest
    )
    halo = [withStroke(linewidth=2.4, foreground="white")]
    axis.errorbar(
        lowest, rows, xerr=error, fmt="none", ecolor="black", elinewidth=1.0, capsize=1.8, capthick=0.8,
        path_effects=halo, zorder=3,
    )  # fmt: skip
    axis.plot(
        counts["share_raw"].values[:, 0], rows, linestyle="none", marker="o", markersize=3, markerfacecolor="white",
        markeredgecolor="black", markeredgewidth=0.6, zorder=4, clip_on=False,
    )  # fmt: skip
    best, worst = counts["rank_best_polished"].values, counts["rank_worst_polished"].values
    for row, first, last in zip(rows, best, worst, strict=True):
        axis.text(1.02, row, f"{first}–{last}" if first != last else f"{first}", va="center", fontsize=5.5)
    axis.text(1.02, rows[0] - 1.0, "rank", va="center", fontsize=5.5, style="italic")
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of the starts")


def _heat(axis: Axes, study: xr.Dataset, part: str):
    factors = study[f"{part}_factor"].values
    shares = study[f"share_{part}"].values
    applies = np.ones(shares.shape[0], bool) if part == "step" else study["thermal"].values > 0
    shown = np.ma.masked_array(shares, ~np.repeat(applies[:, None], factors.size, axis=1))
    image = axis.imshow(shown, vmin=0, vmax=1, aspect="auto", cmap="cividis")
    best, worst = study[f"rank_best_{part}"].values, study[f"rank_worst_{part}"].values
    for row, column in np.ndindex(shares.shape):
        if not applies[row]:
            axis.text(column, row, "–", ha="center", va="center", fontsize=6, color="0.35")
            continue
        first, last = best[row, column], worst[row, column]
        axis.text(
            column, row, f"{first}–{last}" if first != last else f"{first}", ha="center", va="center", fontsize=5.5,
            color="white" if shares[row, column] < 0.6 else "black",
        )  # fmt: skip
    axis.set_xticks(range(factors.size), [f"{factor:g}" for factor in factors])
    axis.set_xlabel({"step": "factor on step sizes", "temperature": "factor on temperatures"}[part])
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return image


def _difference(axis: Axes, study: xr.Dataset):
    difference = 100 * study["difference"].values
    decided = (study["difference_low"].values > 0) | (study["difference_high"].values < 0)
    largest = max(1.0, np.abs(difference).max())
    image = axis.imshow(difference, vmin=-largest, vmax=largest, aspect="auto", cmap="PuOr")
    for row, column in np.ndindex(difference.shape):
        value = difference[row, column]
        axis.text(
            column, row, f"{value:+.0f}".replace("-", "−"), ha="center", va="center", fontsize=5.5,
            color="white" if abs(value) > 0.65 * largest else "black",
            fontweight="bold" if decided[row, column] else "normal",
        )  # fmt: skip
    for part, set_ticks in (("step", axis.set_yticks), ("temperature", axis.set_xticks)):
        factors = study[f"{part}_factor"].values
        set_ticks(range(factors.size), [f"{factor:g}" for factor in factors])
    axis.set_xlabel("factor on temperatures")
    axis.set_ylabel("factor on step sizes")
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return image


def draw(standard: xr.Dataset, variant: xr.Dataset | None, sensitivity: xr.Dataset | None) -> Figure:
    """Return the figure: final values, minima reached on one or two potentials, and ranks under other settings."""
    comparisons = [standard, *([variant] if variant is not None else [])]
    most = max(counts.sizes["run"] for counts in comparisons)
    lower = 0.0 if sensitivity is None else 0.13 * sensitivity.sizes["run"] + 0.75
    figure = plt.figure(figsize=plotting.size(0.152 * most + 1.1 + lower, columns=2))
    heights = [0.152 * most + 1.1, lower] if lower else [1]
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    top = grid[0].subgridspec(1, 1 + len(comparisons), width_ratios=[0.8, *[1.0] * len(comparisons)])
    axes = [figure.add_subplot(top[n]) for n in range(1 + len(comparisons))]
    rows = np.arange(standard.sizes["run"])
    _values(axes[0], standard, rows)
    _bars(axes[1], standard, rows)
    titles = ["final values", "minima reached"]
    if variant is not None:
        _bars(axes[2], variant, np.arange(variant.sizes["run"]))
        titles.append("the same with a narrow well")
    aligned = variant is None or list(variant["run"].values) == list(standard["run"].values)
    for n, axis in enumerate(axes):
        counts = comparisons[max(0, n - 1)]
        axis.set_ylim(counts.sizes["run"] - 0.4, -1.6)
        labelled = n == 0 or (n == 2 and not aligned)
        axis.set_yticks(range(counts.sizes["run"]), counts["label"].values if labelled else [], fontsize=6)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    minima = max(counts.sizes["minimum"] for counts in comparisons)
    handles = [Patch(**_style(n, minima), label=ORDINALS[min(n, len(ORDINALS) - 1)]) for n in range(minima)]
    handles += [Patch(**ELSEWHERE, label="elsewhere"), Patch(**LOST, label="left the domain")]
    handles.append(plt.Line2D([], [], linestyle="none", marker="o", markersize=3, markerfacecolor="white",
                              markeredgecolor="black", markeredgewidth=0.6, label="lowest, raw"))  # fmt: skip
    handles.append(plt.Line2D([], [], color="black", linewidth=1.0, label="interval, lowest"))
    figure.legend(handles=handles, loc="outside upper center", ncols=4 if minima < 4 else 5, handlelength=1.4)
    if sensitivity is not None:
        widths = [max(2, sensitivity.sizes[f"{part}_factor"]) for part in ("step", "temperature")]
        joint = "difference" in sensitivity
        below = grid[1].subgridspec(1, 2 + joint, width_ratios=widths + [widths[1]] * joint)
        maps = [figure.add_subplot(below[n]) for n in range(2 + joint)]
        for axis, part in zip(maps, ("step", "temperature"), strict=False):
            image = _heat(axis, sensitivity, part)
        maps[0].set_yticks(range(sensitivity.sizes["run"]), sensitivity["label"].values, fontsize=6)
        maps[1].set_yticks([])
        figure.colorbar(image, ax=maps[:2], label="share, lowest minimum", shrink=0.9, pad=0.01, aspect=14)
        axes += maps
        titles += ["ranks, other steps", "ranks, other temperatures"]
        if joint:
            image = _difference(maps[2], sensitivity)
            figure.colorbar(image, ax=maps[2], label="percentage points", shrink=0.9, pad=0.02, aspect=14)
            first, second = (str(label).replace(", annealed", "") for label in sensitivity["compared"].values)
            titles.append(f"{first} less {second}")
    plotting.panels(axes, titles)
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        found = [dataset for name, dataset in data.items() if name.endswith("/minima")]
        studies = [dataset for name, dataset in data.items() if name.endswith("/sensitivity")]
        plotting.save(
            draw(found[0], found[1] if len(found) > 1 else None, studies[0] if studies else None), snakemake.output
        )
