"""What the figures that compare optimisers share: which runs belong together, their styles, curves, escapes."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from meanfield import io, plotting

# Curves are drawn from this many iterations on.
_FIRST = 1
_CLOCK = "mean-field time of SGD that keeps pace"


class Run(NamedTuple):
    """An analysed simulation with what a figure says of it."""

    name: str
    title: str
    dataset: xr.Dataset
    style: dict

    @property
    def settings(self) -> dict:
        """Method, step size and hyper-parameters; `tuned` and `control_of` where they apply."""
        return plotting.parameters(self.dataset)["settings"]

    @property
    def control_of(self) -> str | None:
        """Name of the simulation whose clock this one keeps."""
        return self.settings.get("control_of")


def experiments(data: dict[str, xr.Dataset]) -> list[str]:
    """Return the experiments of a figure's datasets, in their order."""
    return list(dict.fromkeys(name.split("/")[0] for name in data))


def runs_of(data: dict[str, xr.Dataset], titles: dict[str, str], experiment: str) -> list[Run]:
    """Return the simulations of an experiment among a figure's datasets, each with a style of its own.

    Controls are dashed in a dark shade of what they control. Further runs of one method are paler.
    """
    found = {
        name.split("/")[1]: dataset
        for name, dataset in data.items()
        if name.split("/")[0] == experiment and plotting.kind(dataset) == "simulation"
    }
    methods = [_settings(one)["method"] for one in found.values()]
    taken: dict[str, list[str]] = {}
    runs = []
    for name in sorted(found, key=lambda name: _rank(name, found)):
        settings = _settings(found[name])
        label = titles.get(f"{experiment}/{name}", settings["method"])
        target = settings.get("control_of")
        if target:
            method = _settings(found[target])["method"] if target in found else "sgd"
            style = plotting.method_style(method, methods)
            style |= {"color": plotting.mixed(style["color"], "#000000", 0.6), "linestyle": "--", "marker": "None"}
            style |= {"linewidth": 0.9, "zorder": 3.5}
        else:
            style = plotting.method_style(settings["method"], methods)
            before = taken.setdefault(settings["method"], [])
            if label not in before:
                before.append(label)
            n = before.index(label)
            style["color"] = plotting.mixed(style["color"], "#FFFFFF", min(0.3 * n, 0.6))
            if n:
                style |= {"linestyle": (0, (1, 1)), "markerfacecolor": "white"}
        runs.append(Run(name, label, found[name], style))
    return runs


def _settings(dataset: xr.Dataset) -> dict:
    return plotting.parameters(dataset)["settings"]


def _rank(name: str, found: dict[str, xr.Dataset]) -> tuple:
    # Controls after all others; known methods in the order of their table; then by name.
    method = _settings(found[name])["method"]
    known = list(plotting.METHODS)
    return (
        "control_of" in _settings(found[name]),
        known.index(method) if method in known else len(known),
        len(name),
        name,
    )


def common_step(runs: Iterable[Run]) -> float | None:
    """Return the step size that most of the untuned runs share."""
    steps = [run.settings["step_size"] for run in runs if not run.control_of and "tuned" not in run.settings]
    return max(sorted(set(steps)), key=steps.count, default=None)


def same_step(runs: Sequence[Run]) -> list[Run]:
    """Return the untuned runs that are compared at one step size, and their controls.

    SGD at other step sizes is left out; other optimisers that have a step size of their own stay.
    """
    step = common_step(runs)
    kept = [
        run
        for run in runs
        if "tuned" not in run.settings
        and (run.control_of or run.settings["method"] != "sgd" or run.settings["step_size"] == step)
    ]
    names = {run.name for run in kept}
    return [run for run in kept if not run.control_of or run.control_of in names]


def tuned(runs: Sequence[Run]) -> list[Run]:
    """Return the tuned runs and their controls."""
    return [run for run in runs if "tuned" in run.settings]


def curves(axis: Axes, runs: Sequence[Run], against: str, label: str) -> None:
    """Draw the risks of runs with their bands against one of their coordinates, both axes logarithmic."""
    shown = [run for run in runs if np.isfinite(run.dataset[against].values).all()]
    for n, run in enumerate(shown):
        x = run.dataset[against].values
        later = run.dataset["iteration"].values >= _FIRST
        style = {
            "linewidth": 1.1,
            "markersize": 2.6,
            "markevery": (n % 5 / 40, 0.18),
            "markeredgewidth": 0.6,
            **run.style,
        }
        low = run.dataset["risk_low"].values[later]
        plotting.band(
            axis, x[later], run.dataset["risk_mean"].values[later],
            np.where(low > 0, low, run.dataset["risk_least"].values[later]), run.dataset["risk_high"].values[later],
            **style,
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    if shown:
        first = min(run.dataset[against].values[run.dataset["iteration"].values >= _FIRST][0] for run in shown)
        last = max(run.dataset[against].values[-1] for run in shown)
        axis.set_xlim(max(first, last / 1e5), last)
        axis.set_ylim(*risk_range(shown))
        plotting.risk_labels(axis.yaxis)
        plotting.short_log(axis.xaxis)
    else:
        axis.text(0.5, 0.5, "no run in this part", ha="center", va="center", transform=axis.transAxes)
    axis.set_xlabel(label)


def risk_range(runs: Sequence[Run]) -> tuple[float, float]:
    """Return the risks to show: those of the means, as bands of few runs may reach far beyond them."""
    means = np.concatenate([run.dataset["risk_mean"].values for run in runs])
    return 0.6 * float(np.nanmin(means)), 1.6 * float(np.nanmax(means))


def limit_curve(axis: Axes, limits: xr.Dataset | None) -> None:
    """Draw the risk of the first limit equation in finite dimension, broad and pale, under the curves."""
    if limits is None:
        return
    n = main_limit(limits)
    time = limits["time"].values
    shown = time > 0
    axis.plot(
        time[shown], limits["risk"].values[n][shown], color=plotting.COLOURS["limit"], linewidth=4.0, alpha=0.35,
        zorder=0.5, solid_capstyle="butt",
    )  # fmt: skip


def main_limit(limits: xr.Dataset) -> int:
    """Return the place of the first limit equation that is exact in finite dimension; of the first of all else."""
    blocks = io.parameters(limits)["limits"]
    names = limits["limit"].values.tolist()
    return next((n for n, name in enumerate(names) if blocks[name]["settings"]["limit"] == "finite"), 0)


def legend(figure: Figure | SubFigure, runs: Iterable[Run], limits: bool, columns: int = 4, **settings) -> None:
    """Put one legend for all panels below them: optimisers, then controls, then the limit."""
    found: dict[str, dict] = {}
    for run in runs:
        found.setdefault(run.title, run.style)
    handles = [
        Line2D([], [], **{"linewidth": 1.1, "markersize": 3.0, "markeredgewidth": 0.6, **style}, label=title)
        for title, style in found.items()
    ]
    if limits:
        handles.append(
            Line2D([], [], color=plotting.COLOURS["limit"], linewidth=4.0, alpha=0.35, label="limit equation")
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=3.2, **settings)


def draw_nonmonotone(
    place: Figure | SubFigure, data: dict[str, xr.Dataset], titles: dict[str, str], experiment: str
) -> tuple[list[Axes], list[str]]:
    """Draw the panels of one experiment with a bad minimum, and return their axes and titles.

    The first row has the optimisers at one step size (against iterations, and on the clock of SGD that keeps pace) and
    the tuned ones (against gradients); the second, if there are sweeps that count escapes, the share of escaped runs
    against the step size and against the step of SGD that keeps pace, both times the dimension.

    Parameters
    ----------
    place : Figure or SubFigure
        Where; it is filled.
    data : dict of xarray.Dataset
        Analysed datasets by their names in the configuration.
    titles : dict of str
        Labels of simulations and sweeps.
    experiment : str
        Whose panels.

    """
    runs = runs_of(data, titles, experiment)
    limits = data.get(f"{experiment}/limits")
    escapes = escape_sweeps(data, titles, experiment)
    rows = place.subfigures(2, 1, height_ratios=(1.12, 1.0)) if escapes else [place.subfigures(1, 1)]
    axes = list(rows[0].subplots(1, 3))
    same, best = same_step(runs), tuned(runs)
    curves(axes[0], same, "iteration", "iteration $k$")
    momentum = _with_equal_clocks(runs)
    curves(axes[1], momentum, "limit_time", _CLOCK)
    limit_curve(axes[1], limits)
    curves(axes[2], best, "evaluation", "gradient evaluations")
    axes[0].set_ylabel("population risk $R$")
    step = common_step(runs)
    names = [
        "one step size" + ("" if step is None else rf", $\varepsilon =${plotting.power(step)}"),
        "on SGD's clock",
        "tuned, one budget",
    ]
    legend(rows[0], [*same, *momentum, *best], limits is not None, columns=4, fontsize=5.8)
    if escapes:
        below = list(rows[1].subplots(1, 2, sharey=True))
        draw_escapes(below, escapes)
        handles, labels = below[0].get_legend_handles_labels()
        rows[1].legend(handles, labels, loc="outside right center", fontsize=5.8)
        axes += below
        names += [r"escapes, by step $\varepsilon d$", r"escapes, by matched step $\varepsilon' d$"]
    return axes, names


def _with_equal_clocks(runs: Sequence[Run]) -> list[Run]:
    # Untuned optimisers whose clock is not that of SGD at their own step, controls, and SGD at the steps they match.
    untuned = [run for run in runs if "tuned" not in run.settings]
    pace = {run.name: _pace(run) for run in untuned}
    faster = [
        run for run in untuned if not run.control_of and abs(pace[run.name] / run.settings["step_size"] - 1) > 0.01
    ]
    faster = [run for run in faster if run.dataset["evaluation"].values[-1] == run.dataset["iteration"].values[-1]]
    steps = [pace[run.name] for run in faster]
    matched = [
        run
        for run in untuned
        if run.settings["method"] == "sgd"
        and not run.control_of
        and any(abs(run.settings["step_size"] / step - 1) < 0.01 for step in steps)
    ]
    names = {run.name for run in faster}
    return [*matched, *faster, *(run for run in untuned if run.control_of in names)]


def _pace(run: Run) -> float:
    # The step of SGD that keeps pace; nan where there is none.
    return float(run.dataset["limit_time"].values[-1] / run.dataset["iteration"].values[-1])


def escape_sweeps(data: dict[str, xr.Dataset], titles: dict[str, str], experiment: str) -> list[Run]:
    """Return the sweeps of an experiment that count escapes, SGD's first."""
    found = {
        name: dataset
        for name, dataset in data.items()
        if name.split("/")[0] == experiment and plotting.kind(dataset) == "sweep" and "escape_probability" in dataset
    }
    methods = {name: io.parameters(dataset)["sweep"]["settings"]["method"] for name, dataset in found.items()}
    known = list(plotting.METHODS)
    ranked = sorted(
        found, key=lambda name: (known.index(methods[name]) if methods[name] in known else 99, len(name), name)
    )
    taken: dict[str, int] = {}
    sweeps = []
    for name in ranked:
        style = plotting.method_style(methods[name], list(methods.values()))
        n = taken[methods[name]] = taken.get(methods[name], -1) + 1
        style["color"] = plotting.mixed(style["color"], "#FFFFFF", min(0.3 * n, 0.6))
        if n:
            style["markerfacecolor"] = "white"
        sweeps.append(Run(name.split("/")[1], titles.get(name, name), found[name], style))
    return sweeps


def _draw_share(axis: Axes, x: np.ndarray, sweep: xr.Dataset, kind: str, label: str, style: dict) -> None:
    # A share of the runs at each step with its interval; `kind` is escape or stay.
    order = np.argsort(x)
    share, low, high = (sweep[f"{kind}_{name}"].values[order] for name in ("probability", "low", "high"))
    axis.errorbar(
        x[order], share, yerr=[share - low, high - share], elinewidth=0.5, linewidth=0.9,
        ecolor=plotting.mixed(style["color"], "#FFFFFF", 0.45), markersize=3.2, markeredgewidth=0.6,
        label=label, **style,
    )  # fmt: skip


def draw_escapes(axes: Sequence[Axes], sweeps: Sequence[Run]) -> None:
    """Draw shares of escaped runs with their intervals, against the step and against the step of SGD that keeps pace.

    The shaded range is that of SGD's own transition: from the largest step at which no run escapes to the smallest at
    which all do. Where runs escape and do not stay, the share of those that end below the threshold is drawn as well.
    Optimisers without a constant clock are in the first panel alone.
    """
    for axis, step in zip(axes, ("step_size", "limit_step"), strict=True):
        for n, sweep in enumerate(sweeps):
            dimension = io.parameters(sweep.dataset)["sweep"]["problem"]["dimension"]
            x = sweep.dataset[step].values * dimension
            if not np.isfinite(x).all():
                continue
            # Points of different optimisers at one step stand side by side.
            x *= 1.012 ** (n - (len(sweeps) - 1) / 2)
            _draw_share(axis, x, sweep.dataset, "escape", sweep.title, sweep.style)
            if (sweep.dataset["staying"] != sweep.dataset["escaped"]).any():
                style = sweep.style | {"linestyle": ":", "markerfacecolor": "white"}
                _draw_share(axis, x, sweep.dataset, "stay", f"{sweep.title}, at the end", style)
            if io.parameters(sweep.dataset)["sweep"]["settings"]["method"] == "sgd":
                edges = [float(sweep.dataset[name]) * dimension for name in ("stuck_up_to", "free_from")]
                if np.isfinite(edges).all():
                    axis.axvspan(*edges, color="#DDDDDD", zorder=0, linewidth=0)
        axis.set_xscale("log")
        plotting.short_log(axis.xaxis)
        axis.set_ylim(-0.04, 1.04)
    axes[0].set_ylabel("share of escaped runs")
    axes[0].set_xlabel(r"step size times dimension, $\varepsilon d$")
    axes[1].set_xlabel(r"matched step times dimension, $\varepsilon' d$")
