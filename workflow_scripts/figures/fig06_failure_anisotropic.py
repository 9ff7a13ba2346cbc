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
    last = max(float(run["time"].values[-1]) for run in part.runs)
    axis.set_xlim(max(first, last / 2e3), last)
    axis.set_xlabel(r"mean-field time $t = k \varepsilon$")
    axis.set_ylabel("population risk $R$")
    plotting.short_log(axis.yaxis)
    plotting.short_log(axis.xaxis)


def _entries(parts: list[Part]) -> list[tuple[Part, xr.Dataset, dict[str, dict]]]:
    # Each run with the limit equations that it is compared with.
    return [
        (part, run, plotting_limits.comparable(part.limits, plotting.parameters(run)["settings"]["step_size"]))
        for part in parts
        for run in part.runs
    ]


def _rows(axis: Axes, labels: list[str]) -> None:
    axis.set_yticks(range(len(labels)), labels, fontsize=6)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.set_xscale("log")
    plotting.short_log(axis.xaxis)
    axis.grid(axis="x", linewidth=0.3, color="#CCCCCC")
    for n in range(len(labels) - 1):
        axis.axhline(n + 0.5, color="#DDDDDD", linewidth=0.4)


def _place(n: int, m: int, forms: dict) -> float:
    return n + 0.17 * (m - (len(forms) - 1) / 2)


def _deviations(axis: Axes, parts: list[Part]) -> None:
    # Largest distance of the risks from each form of the limit: every run, and the mean over runs.
    labels = []
    for n, (part, run, forms) in enumerate(_entries(parts)):
        step = plotting.parameters(run)["settings"]["step_size"]
        labels.append(rf"{_short(part, parts)}, $\varepsilon =${plotting.power(step)}")
        for m, (name, settings) in enumerate(forms.items()):
            colour, place = plotting_limits.style(settings)["color"], _place(n, m, forms)
            each = run["risk_deviation_max"].sel(limit=name).values
            axis.plot(each, np.full(each.size, place), "|", color=colour, markersize=4, markeredgewidth=0.7)
            axis.plot(
                run["risk_deviation_mean_max"].sel(limit=name), place, plotting_limits.marker(settings), color=colour,
                markersize=3.5, label=plotting_limits.label(settings),
            )  # fmt: skip
    _rows(axis, labels)
    axis.set_xlabel("largest distance of the risk from the limit")


def _ends(axis: Axes, parts: list[Part]) -> None:
    # Risk at the end of the runs beside that of the limits at the same time.
    entries = _entries(parts)
    # The limit in infinite dimension goes to zero, beyond any axis.
    left = 0.2 * min((float(run["final_risk_each"].min()) for _, run, _ in entries), default=1.0)
    for n, (_, run, forms) in enumerate(entries):
        mean, low, high = (float(run[name]) for name in ("final_risk", "final_risk_low", "final_risk_high"))
        low = low if low > 0 else float(run["final_risk_each"].min())
        high = high if np.isfinite(high) else float(run["final_risk_each"].max())
        axis.axvspan(
            low, high, 1 - (n + 0.95) / len(entries), 1 - (n + 0.05) / len(entries), color="#0072B2", alpha=0.25
        )
        axis.plot([mean, mean], [n - 0.45, n + 0.45], color="#0072B2", linewidth=1.4, label="SGD, with its interval")
        for m, (name, settings) in enumerate(forms.items()):
            value = float(run["risk_limit"].sel(limit=name).values[-1])
            axis.plot(
                max(value, left), _place(n, m, forms), plotting_limits.marker(settings) if value > left else "<",
                markersize=3.5, color=plotting_limits.style(settings)["color"], clip_on=False,
            )  # fmt: skip
    _rows(axis, [""] * len(entries))
    axis.set_xlim(left, 3)
    axis.set_xlabel("risk at the end of the runs (at the edge: smaller)")


def _short(part: Part, parts: list[Part]) -> str:
    text = rf"$\Delta = {part.problem['separation']:g}$"
    twins = [other for other in parts if other.problem == part.problem]
    if len(twins) > 1:
        means = plotting.parameters(part.runs[0])["initial_law"]
        text += rf", $b_0 = {means['bias_mean']:g}$"
    return text


def draw(data: dict[str, xr.Dataset]) -> Figure:
    """Return the figure: risks for each separation and start, distances from the limits, and risks at the end."""
    parts = _parts(data)
    starts = [part.start for part in parts]
    parts.sort(key=lambda part: (-starts.count(part.start), part.problem["separation"]))
    columns = min(len(parts), 4) or 1
    figure = plt.figure(figsize=plotting.size(4.9, columns=2))
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.08, 1.0))
    axes = list(upper.subplots(1, columns, sharey=True, squeeze=False)[0])
    for axis, part in zip(axes, parts, strict=False):
        _risks(axis, part)
        if axis is not axes[0]:
            axis.set_ylabel("")
    axes[0].set_ylim(0.5 * min((float(run["risk_least"].min()) for part in parts for run in part.runs), default=1.0), 3)
    handles: dict = {}
    for axis in sorted(axes, key=lambda axis: -len(axis.lines)):
        handles |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    upper.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, handlelength=3)
    below = list(lower.subplots(1, 2))
    _deviations(below[0], parts)
    _ends(below[1], parts)
    handles = {}
    for axis in (below[1], below[0]):
        handles |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    lower.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5)
    plotting.panels(
        [*axes, *below],
        [*(_short(part, parts) for part in parts[:columns]), "how far from the limit", "where the runs end"],
    )
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        plotting.save(draw(plotting.load(snakemake.input.data, snakemake.params.names)), snakemake.output)
