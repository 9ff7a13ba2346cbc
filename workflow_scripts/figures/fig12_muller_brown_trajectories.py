"""Figure fig12_muller_brown_trajectories: sample trajectories of each method on the contours of the potential."""

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

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
COLUMNS = 4
# Length between records from which on a path counts as noisy, and is drawn thin [1].
WANDERING = 0.03
# Noisy paths of more records than this are shown by so many points.
LONG, SHOWN = 600, 120


def _arrows(axis: Axes, path: np.ndarray, colour: str) -> None:
    # Two arrow heads, where a third and two thirds of the way out are first passed.
    out = np.hypot(*(path - path[0]).T)
    if out.max() < 0.05:
        return
    for part in (0.33, 0.67):
        n = int(np.argmax(out >= part * out.max()))
        tail, head = path[n - 1], path[n]
        share = (part * out.max() - out[n - 1]) / max(out[n] - out[n - 1], 1e-12)
        at = tail + (head - tail) * np.clip(share, 0, 1)
        direction = (head - tail) / max(np.hypot(*(head - tail)), 1e-12)
        axis.annotate(
            "", xy=at + 0.02 * direction, xytext=at - 0.02 * direction, zorder=5,
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 0.7, "mutation_scale": 6.5,
                        "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip


def _thinned(path: np.ndarray) -> np.ndarray:
    # Long noisy paths would cover everything: the way out, then so many points, evenly spaced in the records.
    if len(path) <= LONG:
        return path
    return path[np.unique([*range(0, LONG // 2, 5), *np.linspace(0, len(path) - 1, SHOWN).astype(int)])]


def draw(data: xr.Dataset) -> Figure:
    """Return the figure: one panel per run."""
    runs = data.sizes["run"]
    columns = min(COLUMNS, runs)
    rows = -(-runs // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=plotting.size(1.48 * rows + 0.5, columns=2), sharex=True, sharey=True, squeeze=False
    )
    x, y, height = data["x"].values, data["y"].values, data["potential"].values
    clip = float(data["clip"])
    clip = clip if height.min() < clip < height.max() else float(height.max())
    levels = np.linspace(height.min(), clip, 16)[1:]
    minima = data["minimum_position"].values
    for n, axis in enumerate(axes.flat):
        if n >= runs:
            axis.set_visible(False)
            continue
        lines = axis.contour(
            x, y, np.minimum(height, clip), levels=levels, colors="0.62", linewidths=0.4, linestyles="solid", zorder=3
        )
        if n % columns == 0:
            axis.clabel(lines, levels[1::3], fontsize=4, fmt="%.0f", inline_spacing=1)
        for k in range(data.sizes["trajectory"]):
            path = data["path"].values[n, : int(data["length"][n]), k]
            colour = COLOURS[k % len(COLOURS)]
            # Noise never comes to rest: half of the steps between records are long.
            wandering = len(path) > 1 and np.median(np.hypot(*np.diff(path, axis=0).T)) > WANDERING
            drawn = _thinned(path) if wandering else path
            axis.plot(
                drawn[:, 0], drawn[:, 1], color=colour, linewidth=0.35 if wandering else 0.8,
                alpha=0.45 if wandering else 1.0,
            )  # fmt: skip
            _arrows(axis, path, colour)
            end, polished = path[-1], data["polished"].values[n, k]
            axis.plot(*path[0], marker="o", color=colour, markersize=3, markeredgecolor="white", markeredgewidth=0.3)
            axis.annotate(f"{k + 1}", path[0], xytext=(2.2, 1.6), textcoords="offset points", fontsize=5, color=colour)
            axis.plot([end[0], polished[0]], [end[1], polished[1]], color=colour, linewidth=0.5, linestyle=":")
            axis.plot(
                *end, marker="X", color=colour, markersize=3.6, markeredgecolor="white", markeredgewidth=0.3, zorder=5
            )
        axis.plot(minima[:, 0], minima[:, 1], linestyle="none", marker="+", color="black", markersize=5, zorder=6)
        axis.set_xlim(x[0], x[-1])
        axis.set_ylim(y[0], y[-1])
    for axis in axes[-1]:
        axis.set_xlabel("$x$")
    for axis in axes[:, 0]:
        axis.set_ylabel("$y$")
    plotting.panels([axis for axis in axes.flat if axis.get_visible()], [str(label) for label in data["label"].values])
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        (dataset,) = plotting.load(snakemake.input.data, snakemake.params.names).values()
        plotting.save(draw(dataset), snakemake.output)
