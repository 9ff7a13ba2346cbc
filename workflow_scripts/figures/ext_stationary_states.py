"""Figure ext_stationary_states: stationary laws followed in the separation, families of them, and their basins."""

import itertools
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# Stability: stable, neutral, unstable.
_STYLES = (
    {"linestyle": "-", "linewidth": 1.6},
    {"linestyle": (0, (3, 1, 1, 1)), "linewidth": 1.2},
    {"linestyle": (0, (1, 1)), "linewidth": 0.9},
)
_NAMES = ("stable", "neutral", "unstable")
# Axes reach down to this risk at most.
_LEAST = 1e-6
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Ends of Gaussian starts, by whether they are at rest.
_CIRCLE = {"marker": "o", "linestyle": "none", "markeredgewidth": 0.6}
_STARTS = {
    kind: {"color": colour, "marker": marker, "markersize": 2.4, "markerfacecolor": "none", "markeredgewidth": 0.6,
           "linewidth": 0.8}
    for kind, colour, marker in (("gaussian", "#0072B2", "o"), ("shell", "#D55E00", "x"))
}  # fmt: skip
_REPELLING = {"color": plotting.COLOURS["reference"], "linewidth": 0.8, "linestyle": ":"}
_SMALLEST = {"color": plotting.COLOURS["reference"], "linewidth": 0.7, "linestyle": "--"}
_ZERO = {"color": "black", "linewidth": 0.6, "linestyle": "-."}
_ENDS = {
    0: {**_CIRCLE, "color": "#777777", "markersize": 2.6, "markerfacecolor": "none"},
    1: {**_CIRCLE, "color": "black", "markersize": 3.2},
}


def _pieces(axis: Axes, x: np.ndarray, y: np.ndarray, kind: np.ndarray, colour: str, wider: float = 0.0) -> None:
    # One line for each stretch of one stability; neighbouring stretches share a point.
    edges = [0, *(np.flatnonzero(np.diff(kind)) + 1), kind.size]
    for first, last in itertools.pairwise(edges):
        part = slice(max(first - 1, 0), last)
        style = _STYLES[int(kind[first])]
        axis.plot(x[part], y[part], color=colour, **{**style, "linewidth": style["linewidth"] + wider})


def _branches(axis: Axes, states: xr.Dataset) -> None:
    masses = np.unique(states["branch_mass"].values)
    branches = []
    for number in np.unique(states["branch_number"].values):
        there = states["branch_number"].values == number
        branches.append(
            {name: states[f"branch_{name}"].values[there] for name in ("parameter", "norm", "kind", "mass")}
        )
    for one in branches:
        place = int(np.searchsorted(masses, one["mass"][0]))
        same = [b for b in branches if b["mass"][0] == one["mass"][0]]
        # The innermost branches of all masses nearly coincide: they show beside one another if the first is the widest.
        inner = len(same) > 1 and all(one["norm"].max() <= b["norm"].max() for b in same)
        wider = 1.3 * (masses.size - 1 - place) if inner else 0.0
        _pieces(axis, one["parameter"], one["norm"], one["kind"], _COLOURS[place % len(_COLOURS)], wider)
    handles = [
        Line2D([], [], color=_COLOURS[n % len(_COLOURS)], label=f"$m = {mass:g}$") for n, mass in enumerate(masses)
    ]
    for kind, marker in (("gaussian", "o"), ("shell", "x")):
        border = states["border"].sel(kind=kind).values
        if np.isfinite(border).any():
            axis.plot(
                states["border_separation"],
                border,
                color="black",
                marker=marker,
                markersize=3,
                markerfacecolor="none",
                linestyle="none",
            )
            handles.append(
                Line2D(
                    [],
                    [],
                    color="black",
                    marker=marker,
                    markersize=3,
                    markerfacecolor="none",
                    linestyle="none",
                    label=f"border, {kind}",
                )
            )
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * (high / low) ** (0.1 * len(handles)))  # room for the legend
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    plotting.short_log(axis.yaxis)
    axis.set_ylabel("norm $r$ of the sphere")
    axis.legend(handles=handles, fontsize=5.5, loc="upper left", ncols=2)


def _families(axis: Axes, states: xr.Dataset) -> None:
    for number in np.unique(states["curve_number"].values):
        there = states["curve_number"].values == number
        one = {name: states[f"curve_{name}"].values[there] for name in ("inner", "mass", "risk", "kind")}
        _pieces(axis, one["mass"], one["risk"], one["kind"], _COLOURS[0] if one["inner"][0] == 0 else _COLOURS[4])
    ends = states.sel(kind="gaussian")
    for rests, style in _ENDS.items():
        there = ends["end_rests"].values == rests
        axis.plot(ends["end_inner_mass"].values[there], ends["end_risk"].values[there], **style)
    axis.axhline(float(states["optimal_risk"]), **_SMALLEST)
    axis.set_yscale("log")
    axis.set_ylim(bottom=max(axis.get_ylim()[0], _LEAST))
    plotting.short_log(axis.yaxis)
    axis.set_ylabel("risk")


def _basins(axis: Axes, states: xr.Dataset) -> None:
    scale = states["scale"].values
    for kind, style in _STARTS.items():
        axis.plot(scale, states["end_risk"].sel(kind=kind), **style)
    for norm, rate in zip(states["sphere_norm"].values, states["sphere_collective"].values, strict=True):
        if rate > 0:
            axis.axvline(norm, **_REPELLING)
    axis.axhline(float(states["zero_risk"]), **_ZERO)
    axis.axhline(float(states["optimal_risk"]), **_SMALLEST)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(bottom=max(axis.get_ylim()[0], _LEAST))
    plotting.short_log(axis.xaxis)
    plotting.short_log(axis.yaxis)
    axis.set_ylabel("risk at the last time")


def _handles(data: list[xr.Dataset]) -> list[Line2D]:
    # Everything that the panels show beside the branches: one legend serves all rows.
    entries = [
        *((name, {"color": "black", **style}) for name, style in zip(_NAMES, _STYLES, strict=True)),
        ("zero and a sphere", {"color": _COLOURS[0]}),
        ("two spheres", {"color": _COLOURS[4]}),
        ("Gaussian start, at rest", _ENDS[1]),
        ("Gaussian start, moving", _ENDS[0]),
        *((f"{'Gaussian' if kind == 'gaussian' else kind} starts", style) for kind, style in _STARTS.items()),
        ("repelling sphere", _REPELLING),
        ("all at zero", _ZERO),
    ]
    if any(float(states["optimal_risk"]) >= _LEAST for states in data):
        entries.append(("smallest risk", _SMALLEST))
    return [Line2D([], [], label=label, **style) for label, style in entries]


def draw(data: dict[str, xr.Dataset], titles: dict[str, str]) -> Figure:
    """Return the figure: a row for each problem."""
    figure, axes = plt.subplots(len(data), 3, figsize=plotting.size(0.5 + 1.95 * len(data), columns=2), squeeze=False)
    names = []
    for row, (name, states) in zip(axes, data.items(), strict=True):
        _branches(row[0], states)
        _families(row[1], states)
        _basins(row[2], states)
        label = titles.get(name, name.split("/")[0])
        names += [f"{label}: branches", "families", "basins"]
    for axis, text in zip(
        axes[-1],
        (r"separation $\Delta$", "mass of the inner sphere", r"scale $\kappa$ of the initial law"),
        strict=True,
    ):
        axis.set_xlabel(text)
    figure.legend(handles=_handles(list(data.values())), loc="outside lower center", ncols=4, fontsize=6)
    plotting.panels(axes.flat, names)
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        datasets = plotting.load(snakemake.input.data, snakemake.params.names)
        plotting.save(draw(datasets, snakemake.params.titles), snakemake.output)
