"""Figure ext_anisotropic_dynamics: the reduced variables over time, SGD against the limit, and the width of the net."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meanfield import io, plotting, plotting_limits
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

SYMBOLS = {
    "output_weight": "output weight $a$",
    "bias": "bias $b$",
    "informative_norm": "informative norm $r_1$",
    "other_norm": "other norm $r_2$",
}
_RUNS = (("#0072B2", "-"), ("#56B4E9", (0, (4, 1))), ("#003A5C", (0, (1, 1))))


def _variable(axis: Axes, name: str, runs: list[xr.Dataset], limits: xr.Dataset | None) -> None:
    if limits is not None:
        time = limits["time"].values
        first, *_ = plotting_limits.blocks(limits)
        quantiles = limits["reduced_quantile"].sel(limit=first, variable=name)
        for low, high, alpha in ((0, -1, 0.14), (1, -2, 0.22)):
            axis.fill_between(
                time[time > 0], quantiles.isel(level=low)[time > 0], quantiles.isel(level=high)[time > 0],
                color=plotting.COLOURS["limit"], alpha=alpha, linewidth=0,
                label=None if low else "limit, 5 to 95 % and quartiles",
            )  # fmt: skip
        for limit, settings in plotting_limits.blocks(limits).items():
            axis.plot(
                time[time > 0], limits["reduced"].sel(limit=limit, variable=name)[time > 0], linewidth=1.1,
                label=f"mean, {plotting_limits.label(settings)}", **plotting_limits.style(settings),
            )  # fmt: skip
    for n, run in enumerate(runs):
        later = run["time"].values > 0
        x = run["time"].values[later]
        one = run.sel(variable=name)
        colour, line = _RUNS[n % len(_RUNS)]
        step = plotting.parameters(run)["settings"]["step_size"]
        plotting.band(
            axis, x, one["reduced_mean"].values[later], one["reduced_low"].values[later],
            one["reduced_high"].values[later], color=colour, linestyle=line, linewidth=1.3,
            label=rf"mean, SGD, $\varepsilon =${plotting.power(step)}",
        )  # fmt: skip
        if n == 0:
            for level in (0, -1):
                axis.plot(
                    x, one["reduced_quantile"].isel(level=level).values[later], color=colour, linestyle=":",
                    linewidth=0.9, label=None if level else "SGD, 5 % and 95 %",
                )  # fmt: skip
    axis.set_xscale("log")
    last = max((float(run["time"].values[-1]) for run in runs), default=1.0)
    axis.set_xlim(last / 1e4, last)
    plotting.short_log(axis.xaxis)
    axis.set_xlabel(r"mean-field time $t$")
    axis.set_ylabel(SYMBOLS.get(name, name))


def _widths(axis: Axes, study: xr.Dataset, settings: dict[str, dict]) -> None:
    # Distances from the limits with their fitted slopes, and the spread of the runs.
    width = study["width"].values.astype(float)
    names = [name for name in settings if name in study["limit"].values]
    for m, name in enumerate(names):
        one = study.sel(limit=name)
        mean = one["deviation_mean"].values
        colour = plotting_limits.style(settings[name])["color"]
        error = np.nan_to_num(
            [mean - np.maximum(one["deviation_low"].values, 0.2 * mean), one["deviation_high"] - mean]
        )
        axis.errorbar(
            width * 1.03 ** (m - 1), mean, yerr=error, fmt=plotting_limits.marker(settings[name]), color=colour,
            capsize=1.5, markersize=3.2, linewidth=0.8,
            label=f"to the limit, {plotting_limits.label(settings[name])}: {_slope(one, '')}",
        )  # fmt: skip
        _fitted(axis, width, mean, float(one["slope"]), colour)
    axis.plot(
        width, study["fluctuation"], "v", color="#7F7F7F", markersize=3.5,
        label=f"between the runs: {_slope(study, 'fluctuation_')}",
    )  # fmt: skip
    _fitted(axis, width, study["fluctuation"].values, float(study["fluctuation_slope"]), "#7F7F7F")
    effect = study["effect_mean"].values
    error = [effect - np.maximum(study["effect_low"].values, 0.2 * effect), study["effect_high"].values - effect]
    axis.errorbar(
        study["narrower"], effect, yerr=np.nan_to_num(error), fmt="o", color=plotting.COLOURS["sgd"], capsize=1.5,
        markersize=3.2, linewidth=0.8,
        label=rf"to $N = {width[-1]:g}$ on the same samples: {_slope(study, 'effect_')}",
    )  # fmt: skip
    # The fit is in the effective width 1 / (1/N - 1/N_max), to which the points are mapped back.
    line = np.geomspace(width[0], width[-2], 50)
    effective = study["effective_width"].values
    level = np.exp(np.log(effect).mean() - float(study["effect_slope"]) * np.log(effective).mean())
    axis.plot(
        line, level * (1 / (1 / line - 1 / width[-1])) ** float(study["effect_slope"]), "--",
        color=plotting.COLOURS["sgd"], linewidth=0.8,
    )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(width, [f"{n:g}" for n in width])
    axis.minorticks_off()
    plotting.short_log(axis.yaxis)
    axis.set_xlabel("neurons $N$")
    axis.set_ylabel("distance of risks")


def _step(study: xr.Dataset) -> float:
    return io.parameters(study)["study"]["settings"]["step_size"]


def _slope(dataset: xr.Dataset, prefix: str) -> str:
    slope, low, high = (float(dataset[f"{prefix}slope{end}"]) for end in ("", "_low", "_high"))
    text = f"slope {slope:.2f}" + (f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else "")
    return text.replace("-", "\N{MINUS SIGN}")


def _fitted(axis: Axes, width: np.ndarray, values: np.ndarray, slope: float, colour: str) -> None:
    # A line of the fitted slope through the middle of the points.
    centre, level = np.exp(np.log(width).mean()), np.exp(np.log(values).mean())
    axis.plot(width, level * (width / centre) ** slope, color=colour, linewidth=0.8, linestyle="--")


def draw(data: dict[str, xr.Dataset]) -> Figure:
    """Return the figure: the four reduced variables of the first experiment, and its width studies."""
    experiment = next((name.split("/")[0] for name in data), "")
    mine = [dataset for name, dataset in data.items() if name.split("/")[0] == experiment]
    runs = [one for one in mine if plotting.kind(one) == "simulation"]
    runs.sort(key=lambda run: -plotting.parameters(run)["settings"]["step_size"])
    limits = next((one for one in mine if plotting.kind(one) == "limits"), None)
    studies = [one for one in mine if plotting.kind(one) == "study"] if limits is not None else []
    studies.sort(key=lambda study: -_step(study))
    figure = plt.figure(figsize=plotting.size(4.0 + 3.1 * bool(studies), columns=2))
    places = figure.subfigures(1 + bool(studies), 1, height_ratios=(4.0, 3.1)[: 1 + bool(studies)], squeeze=False)
    upper = places[0, 0]
    axes = list(upper.subplots(2, 2, sharex=True).flat)
    for axis, name in zip(axes, SYMBOLS, strict=True):
        _variable(axis, name, runs, limits)
    for axis in axes[:2]:
        axis.set_xlabel("")
    handles, labels = axes[0].get_legend_handles_labels()
    upper.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=3)
    shown = list(axes)
    if studies:
        # Slopes are part of the legends: each panel has its own.
        columns = places[1, 0].subfigures(1, len(studies), squeeze=False)[0]
        for column, study in zip(columns, studies, strict=True):
            axis = column.subplots()
            _widths(axis, study, plotting_limits.blocks(limits))
            column.legend(*axis.get_legend_handles_labels(), loc="outside lower center", fontsize=6.2)
            shown.append(axis)
    titles = [rf"distance of risks, $\varepsilon =${plotting.power(_step(study))}" for study in studies]
    plotting.panels(shown, ["", "", "", "", *titles])
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        plotting.save(draw(plotting.load(snakemake.input.data, snakemake.params.names)), snakemake.output)
