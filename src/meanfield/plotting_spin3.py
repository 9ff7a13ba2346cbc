"""What the figures of the 3-spin share: curves for several widths, great circles, sphere maps. Computes nothing."""

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from meanfield import plotting, registry

_LINES = ("-", (0, (5, 1)), "-.", (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (7, 2)))
# Optimisers, by name; later ones repeat with other lines.
_OKABE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")


def settings(dataset: xr.Dataset) -> dict:
    """Return the settings of the run behind an analysed dataset: method, step size, gradient; or the flow's."""
    return plotting.parameters(dataset)["settings"]


def widths(dataset: xr.Dataset) -> list[int]:
    """Return the widths of a run, narrow to wide."""
    return sorted({int(n) for n in dataset["neurons"].values})


def case_of(dataset: xr.Dataset, neurons: int) -> int:
    """Return the first case with a width."""
    return int(np.flatnonzero(dataset["neurons"].values == neurons)[0])


def common_width(datasets: Sequence[xr.Dataset]) -> int:
    """Return the middle one of the widths that all datasets have; of the first dataset's, if they share none."""
    shared = set.intersection(*(set(widths(dataset)) for dataset in datasets)) or set(widths(datasets[0]))
    return sorted(shared)[len(shared) // 2]


def width_style(n: int) -> dict:
    """Return colour and line of the n-th width."""
    colours = ("#a5cd1d", "#20a486", "#2c728e", "#3e4989", "#440154")
    return {"color": colours[n % len(colours)], "linestyle": _LINES[n % len(_LINES)]}


def loss_curves(axis: Axes, dataset: xr.Dataset) -> None:
    """Draw the loss over time for every width, geometric means with their intervals."""
    later = dataset["time"].values > 0
    time = dataset["time"].values[later]
    for n, neurons in enumerate(widths(dataset)):
        one = dataset.isel(case=case_of(dataset, neurons))
        plotting.band(
            axis, time, one["loss_mean"].values[later], one["loss_low"].values[later], one["loss_high"].values[later],
            label=f"$n = {neurons}$", **width_style(n),
        )  # fmt: skip
    axis.set_xlim(float(time[0]), float(time[-1]))
    loss_axes(axis)
    axis.set_xlabel("mean-field time $t$")


def loss_axes(axis: Axes) -> None:
    """Make both axes logarithmic and label the loss."""
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylabel(r"population loss $\ell$")
    plotting.short_log(axis.yaxis)
    plotting.short_log(axis.xaxis)


def room_below(axis: Axes, share: float) -> None:
    """Extend a logarithmic vertical axis downwards, so that a legend fits into the lowest share of the panel."""
    low, high = axis.get_ylim()
    axis.set_ylim(low * (low / high) ** (share / (1 - share)), high)


def circle(axis: Axes, runs: Sequence[tuple[str, xr.Dataset]], chosen: Sequence[int], which: int = 0) -> None:
    """Draw the target along a great circle, and networks: a colour for each run, a line for each width."""
    first = runs[0][1]
    angle = first["angle"].values / np.pi
    axis.plot(angle, first["circle_target"][which], color="#BBBBBB", linewidth=3.0, label="target")
    for k, (label, dataset) in enumerate(runs):
        for m, neurons in enumerate(chosen):
            axis.plot(
                angle, dataset["circle_network"][case_of(dataset, neurons), which], color=_OKABE[k],
                linestyle=((0, (1, 1)), (0, (4, 1)), "-")[m % 3], linewidth=1.6 - 0.9 * k, zorder=2 + k,
                label=f"{label}, $n = {neurons}$",
            )  # fmt: skip
    axis.set_xlim(0, 2)
    axis.set_xlabel(r"angle along the circle [$\pi$ rad]")
    axis.set_ylabel("$f$, $f_n$")


def sphere_maps(axes: Sequence[Axes], dataset: xr.Dataset, values: Iterable[np.ndarray]) -> tuple:
    """Draw functions on a two-sphere as level sets in common levels; return the last one's for a colour bar."""
    polar, azimuth = dataset["polar"].values / np.pi, dataset["azimuth"].values / np.pi
    bound = float(np.abs(dataset["map_target"]).max())
    levels = MaxNLocator(12, steps=[1, 2, 5, 10], symmetric=True).tick_values(-bound, bound)
    drawn = None
    for axis, one in zip(axes, values, strict=True):
        one = np.ma.masked_invalid(np.asarray(one))
        if one.count():
            drawn = axis.contourf(azimuth, polar, one, levels, cmap="cividis", extend="both")
            axis.contour(azimuth, polar, one, levels, colors="white", linewidths=0.4)
        axis.invert_yaxis()
        axis.set_xlabel(r"azimuth $\phi$ [$\pi$ rad]")
        axis.set_xticks([-1, -0.5, 0, 0.5, 1])
        axis.set_yticks([0, 0.5, 1])
    axes[0].set_ylabel(r"polar angle $\theta$ [$\pi$ rad]")
    return drawn


def optimiser_curves(axis: Axes, runs: Sequence[xr.Dataset]) -> None:
    """Draw the loss of several optimisers against gradient evaluations; controls in grey dashes, above the others."""
    furthest, first = 0.0, np.inf
    ordered = sorted(runs, key=lambda run: (is_control(run), _rank(run)))
    for n, run in enumerate(ordered):
        one = run.isel(case=0)
        spent = one["evaluation"].values
        later = spent > 0
        style = {**plotting.method_style(settings(run)["method"]), "linewidth": 1.1, "markersize": 2.6}
        again = sum(settings(one)["method"] == settings(run)["method"] and not is_control(one) for one in ordered[:n])
        if again:  # a further run of a method is paler
            style["color"] = plotting.mixed(style["color"], "#FFFFFF", min(0.3 * again, 0.6))
            style["linestyle"] = (0, (1, 1))
        style["markevery"] = (n % 5 / 40, 0.18)
        if is_control(run):
            style = {
                "color": "#000000", "linestyle": (0, (1, 1.5)), "linewidth": 0.9, "zorder": 3,
                "marker": "osD^v"[n % 5], "markevery": 4, "markerfacecolor": "none", "markeredgewidth": 0.6,
            }  # fmt: skip
        plotting.band(
            axis, spent[later], one["loss_mean"].values[later], one["loss_low"].values[later],
            one["loss_high"].values[later], label=optimiser_label(run), **style,
        )  # fmt: skip
        furthest, first = max(furthest, spent[-1]), min(first, spent[later][0])
    axis.set_xlim(max(first, furthest / 3e3), furthest)
    loss_axes(axis)
    axis.set_xlabel("gradient evaluations")


def _rank(run: xr.Dataset) -> tuple[int, str]:
    name = settings(run)["method"]
    known = list(registry.METHODS)
    return (known.index(name) if name in known else len(known), plotting.parameters(run)["simulation"])


def is_control(run: xr.Dataset) -> bool:
    """Tell whether a run is SGD in the clock of another optimiser."""
    return "control_of" in settings(run)


def optimiser_label(run: xr.Dataset) -> str:
    """Return an optimiser's title with its step."""
    chosen = settings(run)
    title = registry.load(registry.METHODS, chosen["method"]).TITLE
    if chosen["method"] == "sgd" and chosen["gradient"] != "samples":
        title = "Gradient descent"
    if chosen["method"] == "langevin":
        title += rf", $T =${plotting.power(chosen['hyperparameters']['temperature'])}"
    return rf"{title}, $\varepsilon =${plotting.power(round(chosen['step_size'], 12))}"


def draw_spin3(place: Figure | SubFigure, full: Sequence[xr.Dataset], stochastic: Sequence[xr.Dataset]) -> list[Axes]:
    """Draw the 3-spin panels of the optimisers' figure, full gradient and stochastic gradient, and return their axes.

    Parameters
    ----------
    place : Figure or SubFigure
        Where; it is filled with one row of two panels and a legend below each.
    full, stochastic : sequence of xarray.Dataset
        Analysed runs of the optimisers, one case each.

    """
    axes = list(place.subplots(1, 2, sharey=True))
    for axis, runs in zip(axes, (full, stochastic), strict=True):
        if runs:
            optimiser_curves(axis, runs)
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, fontsize=5.5)
    axes[1].set_ylabel("")
    return axes
