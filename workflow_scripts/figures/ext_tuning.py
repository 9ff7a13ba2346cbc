"""Figure ext_tuning: how every optimiser was tuned on every problem: risk at the end against the step size."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from meanfield import io, plotting
from meanfield import plotting_optimisers as optimisers
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

LINES = ("-", (0, (4, 1)), ":", "-.", (0, (3, 1, 1, 1, 1, 1)))


def _value(name: str, value, named: bool) -> str:
    text = plotting.power(float(value)) if isinstance(value, int | float) else str(value)
    return f"{name.replace('_', ' ')} {text}" if named else text


def _tuning_curve(axis: Axes, sweep: xr.Dataset) -> None:
    # Lines of one value of the other hyper-parameters each.
    candidates = io.parameters(sweep)["sweep"]["candidates"]
    varied = {
        name
        for one in candidates
        for name, value in one["hyperparameters"].items()
        if value != candidates[0]["hyperparameters"][name]
    }
    groups: dict[tuple, list[int]] = {}
    for n, one in enumerate(candidates):
        groups.setdefault(tuple((name, one["hyperparameters"][name]) for name in sorted(varied)), []).append(n)
    for n, (values, members) in enumerate(groups.items()):
        members = sorted(members, key=lambda m: candidates[m]["step_size"])
        one = sweep.isel(candidate=members)
        colour = plotting.SEQUENCE[(2 * n) % len(plotting.SEQUENCE)] if len(groups) < 4 else plotting.SEQUENCE[n % 6]
        mean = one["risk_mean"].values
        error = np.nan_to_num([mean - np.maximum(one["risk_low"].values, 0.3 * mean), one["risk_high"].values - mean])
        axis.errorbar(
            one["step_size"], mean, yerr=error, color=colour, linestyle=LINES[n % len(LINES)], linewidth=0.9,
            marker=plotting.MARKERS[n % len(plotting.MARKERS)], markersize=2.4, elinewidth=0.5, capsize=1.0,
            label=", ".join(_value(*pair, named=n == 0 or len(varied) > 1) for pair in values) or None,
        )  # fmt: skip
        lost = one["diverged"].values > 0
        axis.plot(
            one["step_size"].values[lost], np.full(lost.sum(), 0.8 - 0.07 * n), "x", color=colour, markersize=3.5,
            transform=axis.get_xaxis_transform(),
        )  # fmt: skip
    best = int(sweep["best"])
    axis.plot(
        sweep["step_size"].values[best], sweep["risk_mean"].values[best], marker="*", markersize=8,
        color="none", markeredgecolor="#D55E00", markeredgewidth=1.0, linestyle="none", zorder=5,
    )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.xaxis.set_major_locator(LogLocator(numticks=4))
    plotting.short_log(axis.xaxis)
    if varied:
        legend = axis.legend(
            fontsize=4.8, loc="upper left", ncols=3 if len(varied) < 2 else 1, handlelength=2.0, columnspacing=0.8,
            handletextpad=0.4, borderaxespad=0.0,
        )  # fmt: skip
        legend.set_in_layout(False)


def draw(data: dict[str, xr.Dataset], titles: dict[str, str]) -> Figure:
    """Return the figure: a row for each optimiser and a column for each experiment."""
    sweeps = {
        name: dataset
        for name, dataset in data.items()
        if plotting.kind(dataset) == "sweep" and "escape_probability" not in dataset
    }
    columns = optimisers.experiments(sweeps)
    known = list(plotting.METHODS)
    methods = {name: io.parameters(dataset)["sweep"]["settings"]["method"] for name, dataset in sweeps.items()}
    rank = {method: known.index(method) if method in known else len(known) for method in methods.values()}
    rows = sorted({(rank[methods[name]], titles.get(name, name)) for name in sweeps})
    count = (max(len(rows), 1), max(len(columns), 1))
    figure, axes = plt.subplots(
        *count, figsize=plotting.size(1.12 * count[0] + 0.4, columns=2), squeeze=False, sharey="col"
    )
    for n, (_, title) in enumerate(rows):
        for m, experiment in enumerate(columns):
            axis = axes[n, m]
            here = [name for name in sweeps if name.split("/")[0] == experiment and titles.get(name, name) == title]
            for name in here:
                _tuning_curve(axis, sweeps[name])
            if not here:
                axis.set_visible(False)
            if n == 0:
                axis.set_title(experiment.replace("_", " "))
            if n == len(rows) - 1:
                axis.set_xlabel(r"step size $\varepsilon$")
        axes[n, 0].set_ylabel(title.replace(" (", "\n(").replace(", ", ",\n") + "\nrisk", fontsize=6.5)
    for axis in axes[0]:  # room for legends and crosses above the curves
        low, high = axis.get_ylim()
        axis.set_ylim(low, high * (high / low) ** 0.35)
        plotting.risk_labels(axis.yaxis)
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        plotting.save(draw(data, snakemake.params.titles), snakemake.output)
