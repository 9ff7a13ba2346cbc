"""Figure fig06_failure_anisotropic: SGD on anisotropic Gaussians against the forms of its limit, and how far apart."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meanfield import plotting, plotting_limits
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

_STEPS = (("#0072B2", "-"), ("#56B4E9", "-"), ("#003A5C", "-"), ("#7F7F7F", "-"))


class Part(NamedTuple):
    """One experiment: its runs, largest step first, and its limit equations."""

    name: str
    runs: list[xr.Dataset]
    limits: xr.Dataset

    @property
    def problem(self) -> dict:
        """Data law."""
        return plotting.parameters(self.runs[0])["problem"]

    @property
    def start(self) -> tuple:
        """Initial law, for telling starts apart."""
        return tuple(sorted(plotting.parameters(self.runs[0])["initial_law"].items()))


def _parts(data: dict[str, xr.Dataset]) -> list[Part]:
    parts = []
    for experiment in dict.fromkeys(name.split("/")[0] for name in data):
        mine = [one for name, one in data.items() if name.split("/")[0] == experiment]
        runs = [one for one in mine if plotting.kind(one) == "simulation"]
        limits = [one for one in mine if plotting.kind(one) == "limits"]
        if runs and limits:
            runs.sort(key=lambda run: -plotting.parameters(run)["settings"]["step_size"])
            parts.append(Part(experiment, runs, limits[0]))
    return parts


def _risks(axis: Axes, part: Part, forms: list[str] | None = None) -> None:
    for n, run in enumerate(part.runs):
        later = run["time"].values > 0
        colour, line = _STEPS[n % len(_STEPS)]
        step = plotting.parameters(run)["settings"]["step_size"]
        low = run["risk_low"].values[later]
        plotting.band(
            axis, run["time"].values[later], run["risk_mean"].values[later],
            np.where(low > 0, low, run["risk_least"].values[later]), run["risk_high"].values[later],
            color=colour, linestyle=line, linewidth=1.6, label=rf"SGD, $\varepsilon =${plotting.power(step)}",
        )  # fmt: skip
    time = part.limits["time"].values
    for name, settings in plotting_limits.blocks(part.limits).items():
        if forms is None or settings["limit"] in forms:
            axis.plot(
                time[time > 0], part.limits["risk"].sel(limit=name).values[time > 0],
                label=plotting_limits.label(settings), linewidth=1.1, **plotting_limits.style(settings),
            )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    first = max(float(run["time"].values[run["time"].values > 0][0]) for run in part.runs)
    axis.set_xlim(max(first, 1e-2), max(float(run["time"].values[-1]) for run in part.runs))
    axis.set_ylim(bottom=0.5 * min(float(run["risk_least"].values.min()) for run in part.runs), top=3)
    axis.set_xlabel(r"mean-field time $t = k \varepsilon$")
    axis.set_ylabel("population risk $R$")
    plotting.short_log(axis.yaxis)
    plotting.short_log(axis.xaxis)


def _deviations(axis: Axes, parts: list[Part]) -> None:
    # Largest distance of the risks from each form of the limit: every run, and the mean over runs.
    entries = [(part, run) for part in parts for run in part.runs]
    labels = []
    for n, (part, run) in enumerate(entries):
        step = plotting.parameters(run)["settings"]["step_size"]
        labels.append(rf"{_short(part, parts)}, {plotting.power(step)}")
        for m, (name, settings) in enumerate(plotting_limits.blocks(part.limits).items()):
            style = plotting_limits.style(settings)
            place = n + 0.2 * (m - 1)
            each = run["risk_deviation_max"].sel(limit=name).values
            axis.plot(each, np.full(each.size, place), "|", color=style["color"], markersize=4, markeredgewidth=0.7)
            axis.plot(
                run["risk_deviation_mean_max"].sel(limit=name), place, plotting.MARKERS[m % len(plotting.MARKERS)],
                color=style["color"], markersize=4, label=plotting_limits.label(settings) if n == 0 else None,
            )  # fmt: skip
    axis.set_yticks(range(len(entries)), labels, fontsize=6)
    axis.set_ylim(len(entries) - 0.5, -0.5)
    axis.set_xscale("log")
    plotting.short_log(axis.xaxis)
    axis.set_xlabel("largest distance of the risk from the limit")
    axis.grid(axis="x", linewidth=0.3, color="#CCCCCC")


def _short(part: Part, parts: list[Part]) -> str:
    text = rf"$\Delta = {part.problem['separation']:g}$"
    twins = [other for other in parts if other.problem == part.problem]
    if len(twins) > 1:
        means = plotting.parameters(part.runs[0])["initial_law"]
        text += rf", $b_0 = {means['bias_mean']:g}$"
    return text


def _ends(axis: Axes, parts: list[Part]) -> None:
    # Risk at the end of the runs beside that of the limits at the same time.
    entries = [(part, run) for part in parts for run in part.runs]
    for n, (part, run) in enumerate(entries):
        mean, low, high = (float(run[name]) for name in ("final_risk", "final_risk_low", "final_risk_high"))
        least, largest = float(run["final_risk_each"].min()), float(run["final_risk_each"].max())
        low = low if low > 0 else least
        high = high if np.isfinite(high) else largest
        axis.errorbar(
            [mean], [n], xerr=[[mean - low], [high - mean]], fmt="o", color=_STEPS[0][0], capsize=2, markersize=3.5,
            linewidth=0.9, label="SGD at the end" if n == 0 else None,
        )  # fmt: skip
        for m, (name, settings) in enumerate(plotting_limits.blocks(part.limits).items()):
            value = float(run["risk_limit"].sel(limit=name).values[-1])
            axis.plot(
                max(value, 1e-6) if np.isfinite(value) else np.nan, n, plotting.MARKERS[m + 1], markersize=5,
                markerfacecolor="none", color=plotting_limits.style(settings)["color"],
                label=plotting_limits.label(settings) if n == 0 else None,
            )  # fmt: skip
    axis.set_yticks(range(len(entries)), [""] * len(entries))
    axis.set_ylim(len(entries) - 0.5, -0.5)
    axis.set_xscale("log")
    axis.set_xlim(left=min(1e-2, axis.get_xlim()[0]) if axis.get_xlim()[0] > 1e-3 else 1e-3)
    plotting.short_log(axis.xaxis)
    axis.set_xlabel("risk at the end of the runs")
    axis.grid(axis="x", linewidth=0.3, color="#CCCCCC")


def draw(data: dict[str, xr.Dataset]) -> Figure:
    """Return the figure: risks for each separation and start, distances from the limits, and risks at the end."""
    parts = _parts(data)
    parts.sort(key=lambda part: (-len([p for p in parts if p.start == part.start]), part.problem["separation"]))
    columns = min(len(parts), 4) or 1
    figure = plt.figure(figsize=plotting.size(4.9, columns=2))
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.08, 1.0))
    axes = list(upper.subplots(1, columns, sharey=True, squeeze=False)[0])
    for axis, part in zip(axes, parts, strict=False):
        _risks(axis, part)
        if axis is not axes[0]:
            axis.set_ylabel("")
    handles: dict = {}
    for axis in axes:
        handles |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    upper.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, handlelength=3)
    below = list(lower.subplots(1, 2))
    _deviations(below[0], parts)
    _ends(below[1], parts)
    found = below[0].get_legend_handles_labels(), below[1].get_legend_handles_labels()
    lower.legend(
        [*found[0][0], *found[1][0]][: len(found[0][0])] + found[1][0][:1],
        found[0][1] + found[1][1][:1],
        loc="outside lower center", ncols=5,
    )  # fmt: skip
    plotting.panels(
        [*axes, *below],
        [*(_short(part, parts) for part in parts[:columns]), "how far from the limit", "where the runs end"],
    )
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        plotting.save(draw(plotting.load(snakemake.input.data, snakemake.params.names)), snakemake.output)
