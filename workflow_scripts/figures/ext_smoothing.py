"""Figure ext_smoothing: potentials under heat and Hamilton-Jacobi smoothing, and the fate of each minimum."""

import string
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

NAMES = {"heat": "heat", "viscous": "viscous HJ", "inviscid": "inviscid HJ"}
LINES = {"heat": (0, (4, 1.5)), "viscous": "-", "inviscid": (0, (1, 1.2))}
COLOURS = ("#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#F0E442")


def _top(data: xr.Dataset, height: np.ndarray) -> float:
    # Where surfaces are cut: at the clip, if anything lies below it.
    clip = float(data["clip"])
    return clip if height.min() < clip < height.max() else float(height.max())


def _letter(n: int) -> str:
    return rf"$\bf{{{string.ascii_lowercase[n]}}}$"


def _surface(axis, data: xr.Dataset, height: np.ndarray, title: str) -> None:
    x, y = np.meshgrid(data["x"].values, data["y"].values)
    step, top, low = max(1, x.shape[0] // 64), _top(data, data["potential"].values), float(data["potential"].min())
    axis.plot_surface(
        x[::step, ::step], y[::step, ::step], np.minimum(height, top)[::step, ::step], cmap="cividis", vmin=low,
        vmax=top, linewidth=0, antialiased=False, rcount=80, ccount=80, rasterized=True,
    )  # fmt: skip
    axis.view_init(elev=48, azim=-112)
    axis.set_zlim(low, top)
    for one in (axis.xaxis, axis.yaxis, axis.zaxis):
        one.set_tick_params(labelsize=4.5, pad=-4)
        one.pane.set_visible(False)
    for one in (axis.xaxis, axis.yaxis, axis.zaxis):
        one.set_major_locator(MaxNLocator(3))
    axis.set_title(title)


def _contours(axis: Axes, data: xr.Dataset, n: int, m: int) -> None:
    height = data["surface"].values[n, m]
    top = _top(data, height)
    levels = np.linspace(height.min(), top, 17)
    # Every panel is small: a hundred nodes along an axis are enough.
    step = max(1, height.shape[0] // 100)
    x, y, cut = data["x"].values[::step], data["y"].values[::step], np.minimum(height, top)[::step, ::step]
    axis.contourf(x, y, cut, levels=levels, cmap="cividis")
    axis.contour(x, y, cut, levels=levels, colors="white", linewidths=0.25, linestyles="solid")
    time = float(data["shown"][m])
    nearest = int(np.abs(np.log(data["strength"].values / time)).argmin())
    for k in range(data.sizes["minimum"]):
        axis.plot(*data["minimum_position"].values[k], marker="+", color="white", markersize=5, markeredgewidth=0.9)
        if time < float(data["end_time"][k, n]):
            axis.plot(
                *data["position"].values[k, n, nearest], marker="o", color=COLOURS[k % len(COLOURS)], markersize=4,
                markeredgecolor="white", markeredgewidth=0.5,
            )  # fmt: skip
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _branches(axis: Axes, data: xr.Dataset, variable: str) -> None:
    x = data["variance"].values
    for n, method in enumerate(data["smoothing"].values):
        for k in range(data.sizes["minimum"]):
            y = data[variable].values[k, n]
            y = y[:, 0] if y.ndim == 2 else y
            axis.plot(x, y, color=COLOURS[k % len(COLOURS)], linestyle=LINES[str(method)], linewidth=1.0)
            last = np.flatnonzero(np.isfinite(y))
            if last.size and np.isfinite(float(data["end_time"][k, n])):
                axis.plot(x[last[-1]], y[last[-1]], marker="x", color=COLOURS[k % len(COLOURS)], markersize=4)
            if n == 0 and variable != "displacement":
                axis.text(x[0] / 1.15, y[0], f"{k + 1}", ha="right", va="center", fontsize=5.5)
    axis.set_xscale("log")
    axis.set_xlabel("variance $s = t/\\beta$")
    plotting.short_log(axis.xaxis)


def draw(studies: list[xr.Dataset]) -> Figure:
    """Return the figure: surfaces, contours at matched strengths, and branches of the minima, for each potential."""
    first = studies[0]
    methods = [str(method) for method in first["smoothing"].values]
    shown = [data.sizes["shown"] for data in studies]
    columns = sum(shown)
    figure = plt.figure(figsize=plotting.size(1.75 + 1.02 * len(methods) + 1.55 * len(studies), columns=2))
    grid = figure.add_gridspec(
        3, 1, height_ratios=[1.75, 1.02 * len(methods), 1.55 * len(studies)], hspace=0.02
    )  # fmt: skip
    top = grid[0].subgridspec(1, 1 + len(methods))
    middle_shown = first.sizes["shown"] // 2
    variance = float(first["shown"][middle_shown] * first["variance"][0] / first["strength"][0])
    surfaces = [figure.add_subplot(top[n], projection="3d") for n in range(1 + len(methods))]
    _surface(surfaces[0], first, first["potential"].values, f"{_letter(0)}  potential")
    for n, method in enumerate(methods):
        _surface(
            surfaces[n + 1], first, first["surface"].values[n, middle_shown], f"{NAMES[method]}, $s = {variance:.3g}$"
        )

    middle = grid[1].subgridspec(len(methods), columns, wspace=0.04, hspace=0.04)
    for n, method in enumerate(methods):
        column = 0
        for place, data in enumerate(studies):
            for m in range(data.sizes["shown"]):
                axis = figure.add_subplot(middle[n, column])
                _contours(axis, data, n, m)
                if column == 0:
                    axis.set_ylabel(NAMES[method])
                if n == 0:
                    s = float(data["shown"][m] * data["variance"][0] / data["strength"][0])
                    letter = f"{_letter(1 + place)}  " if m == 0 else ""
                    axis.set_title(f"{letter}$s = {s:.3g}$", fontsize=6.5)
                column += 1

    bottom = grid[2].subgridspec(len(studies), 3)
    axes = []
    for row, data in enumerate(studies):
        shift, depth, bend = (figure.add_subplot(bottom[row, n]) for n in range(3))
        _branches(shift, data, "displacement")
        _branches(depth, data, "value")
        _branches(bend, data, "curvature")
        shift.set_ylabel("displacement")
        depth.set_ylabel("depth")
        bend.set_ylabel("least curvature")
        bend.set_yscale("log")
        plotting.short_log(bend.yaxis)
        handles = [
            plt.Line2D([], [], color=COLOURS[k % len(COLOURS)], label=f"minimum {k + 1}")
            for k in range(data.sizes["minimum"])
        ]
        shift.legend(handles=handles, loc="upper left")
        axes += [shift, depth, bend]
    styles = [
        plt.Line2D([], [], color="black", linestyle=LINES[method], linewidth=1.0, label=NAMES[method])
        for method in methods
    ]
    styles.append(plt.Line2D([], [], color="black", linestyle="none", marker="x", markersize=4, label="vanishes"))
    axes[2].legend(handles=styles, loc="lower left", fontsize=5.5)
    tails = ("", ", narrow well", *(f", potential {n}" for n in range(3, len(studies) + 1)))
    names = [f"{name}{tails[n]}" for n in range(len(studies)) for name in ("position", "depth", "curvature")]
    for n, (axis, name) in enumerate(zip(axes, names, strict=True)):
        axis.set_title(f"{_letter(1 + len(studies) + n)}  {name}")
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        plotting.save(draw(list(data.values())), snakemake.output)
