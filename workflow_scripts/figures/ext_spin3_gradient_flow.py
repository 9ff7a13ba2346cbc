"""Figure ext_spin3_gradient_flow: the deterministic flow of the 3-spin, errors against width and batch, tuning."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from meanfield import io, plotting, registry
from meanfield import plotting_spin3 as spin3
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

_LINES = ("-", (0, (5, 1)), "-.", (0, (1, 1)))
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def _sign(axis: Axes, right: xr.Dataset, printed: list[xr.Dataset], reference: xr.Dataset | None, width: int) -> None:
    """Draw the loss under the flow with the right and with the printed sign, and reference losses."""
    one = right.isel(case=spin3.case_of(right, width))
    later = right["time"].values > 0
    plotting.band(
        axis, right["time"].values[later], one["loss_mean"].values[later], one["loss_least"].values[later],
        one["loss_largest"].values[later], color=_COLOURS[0], label="right sign",
    )  # fmt: skip
    for n, run in enumerate(printed):
        adaptive = "objective" in run
        one = run.isel(case=spin3.case_of(run, width)) if width in spin3.widths(run) else run.isel(case=0)
        later = run["time"].values > 0
        plotting.band(
            axis, run["time"].values[later], one["loss_mean"].values[later], one["loss_least"].values[later],
            one["loss_largest"].values[later], color=_COLOURS[1], linestyle=_LINES[n], zorder=4 if adaptive else 2,
            label="printed sign, adaptive" if adaptive else "printed sign, Euler steps",
        )  # fmt: skip
    if reference is not None:
        axis.plot(
            reference["reference_time"], reference["reference_loss"], "k+", markersize=5, markeredgewidth=1.0,
            zorder=5, label="reference",
        )  # fmt: skip
    axis.set_xlim(0.01, float(right["time"][-1]))
    spin3.loss_axes(axis)
    axis.set_ylim(bottom=float(right["loss_least"].min()) / 3)
    axis.set_xlabel("mean-field time $t$")
    axis.legend(loc="upper left", fontsize=5.5)


def _energy(axis: Axes, flow: xr.Dataset) -> None:
    """Draw what the flow descends, and how far it is from what has been dissipated, for every width."""
    time = flow["time"].values
    later = time > 0
    for n, neurons in enumerate(spin3.widths(flow)):
        one = flow.isel(case=spin3.case_of(flow, neurons), replicate=0)
        objective, style = one["objective"].values, spin3.width_style(n)
        defect = np.abs(objective[0] - objective - one["dissipated"].values)
        axis.plot(time[later], objective[later], label=f"$n = {neurons}$", **style)
        axis.plot(time[later], defect[later], color=style["color"], linestyle="none", marker=".", markersize=2)
    spin3.loss_axes(axis)
    axis.set_xlim(0.01, float(time[-1]))
    axis.set_xlabel("mean-field time $t$")
    axis.set_ylabel("objective (lines),\nbalance error (dots)")
    axis.legend(loc="center left", bbox_to_anchor=(0, 0.68), fontsize=5.5, ncols=2)


def _small_steps(axis: Axes, comparison: xr.Dataset) -> None:
    """Draw the distance between SGD and its flow against the step."""
    step = comparison["step_size"].values
    mean, low, high = (comparison[f"step_distance_{name}"].values for name in ("mean", "low", "high"))
    axis.errorbar(
        step, mean, yerr=np.nan_to_num([mean - low, high - mean]), fmt="o-", color=_COLOURS[0], capsize=2,
        label=_slope_text("SGD", comparison, "step_slope"),
    )  # fmt: skip
    for replicate in comparison["step_distance"].values:
        axis.plot(step, replicate, color="#BBBBBB", linewidth=0.5, zorder=0)
    line = np.array([step.min(), step.max()])
    axis.plot(line, mean[0] * (line / step[0]) ** 0.5, color="black", linestyle="--", linewidth=0.9, label="slope 1/2")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel(r"step size $\varepsilon$")
    axis.set_ylabel("distance to the flow")
    plotting.short_log(axis.xaxis)
    plotting.short_log(axis.yaxis)
    axis.legend(loc="upper left")


def _slope_text(label: str, dataset: xr.Dataset, name: str) -> str:
    mean, low, high = (float(dataset[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return _with_slope(label, mean, low, high)


def _with_slope(label: str, mean: float, low: float, high: float) -> str:
    if not np.isfinite(mean):
        return label
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"{label}: ${mean:.2f}$"
    return f"{label}: ${mean:.2f}$ [${low:.2f}$, ${high:.2f}$]"


def _whole_numbers(axis: Axes, values: set[int]) -> None:
    axis.set_xscale("log", base=2)
    ticks = sorted(values)
    axis.set_xticks(ticks if len(ticks) <= 6 else ticks[::-2][::-1])  # more labels than that would meet
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _widths(axis: Axes, runs: list[tuple[str, xr.Dataset]]) -> None:
    """Draw the final loss against the width, the slope of the two widest in the legend, and lines of slope -1."""
    top = None
    for n, (label, run) in enumerate(runs):
        kept = np.flatnonzero(run["factor"].values == run["factor"].values[0])
        kept = kept[np.argsort(run["neurons"].values[kept])]
        x = run["neurons"].values[kept]
        mean, low, high = (run[f"final_loss_{end}"].values[kept] for end in ("mean", "low", "high"))
        gaps = run.sizes["gap"]
        slope = [float(run[f"local_slope_{end}"][0, -1]) if gaps else np.nan for end in ("mean", "low", "high")]
        axis.errorbar(
            x, mean, yerr=np.nan_to_num([mean - low, high - mean]), fmt="osD^"[n % 4], color=_COLOURS[n % 4],
            linestyle=_LINES[n % 4], capsize=2, label=_with_slope(label, *slope),
        )  # fmt: skip
        top = max(top or 0.0, mean[0])
        axis.plot(x, mean[0] * x[0] / x, color=_COLOURS[n % 4], linestyle=(0, (1, 2)), linewidth=0.8, zorder=0)
    axis.plot([], [], color="black", linestyle=(0, (1, 2)), linewidth=0.8, label="slope $-1$")
    _whole_numbers(axis, {n for _, run in runs for n in spin3.widths(run)})
    axis.set_yscale("log")
    plotting.short_log(axis.yaxis)
    axis.set_xlabel("width $n$")
    axis.set_ylabel(r"final loss $\ell$")
    spin3.room_below(axis, 0.32)
    axis.legend(loc="lower left", fontsize=6)


def _batches(axis: Axes, run: xr.Dataset) -> None:
    """Draw the final loss against the batch for every width."""
    for n, neurons in enumerate(spin3.widths(run)):
        kept = np.flatnonzero(run["neurons"].values == neurons)
        kept = kept[np.argsort(run["batch"].values[kept])]
        x = run["batch"].values[kept]
        mean, low, high = (run[f"final_loss_{end}"].values[kept] for end in ("mean", "low", "high"))
        axis.errorbar(
            x,
            mean,
            yerr=np.nan_to_num([mean - low, high - mean]),
            fmt="o-",
            color=_COLOURS[n % 4],
            capsize=2,
            label=f"$n = {neurons}$",
        )
        axis.plot(x, mean[0] * x[0] / x, color=_COLOURS[n % 4], linestyle=(0, (1, 2)), linewidth=0.8, zorder=0)
    axis.plot([], [], color="black", linestyle=(0, (1, 2)), linewidth=0.8, label="slope $-1$")
    _whole_numbers(axis, {int(p) for p in run["batch"].values})
    axis.set_yscale("log")
    plotting.short_log(axis.yaxis)
    axis.set_xlabel("samples of a gradient $P$")
    axis.set_ylabel(r"final loss $\ell$")
    spin3.room_below(axis, 0.32)
    axis.legend(loc="lower left", fontsize=6)


def _tuning(axis: Axes, found: xr.Dataset) -> None:
    """Draw the gradients to the first level against the step for every optimiser; stars mark the best steps."""
    optimisers = io.parameters(found)["tuning"]["runs"]
    for name in found["run"].values:
        method = optimisers[str(name)]["method"]
        one = found.sel(run=name).isel(level=0)
        if not np.isfinite(one["tuning_mean"]).any():
            continue  # no step gets every replicate there
        style = {**plotting.method_style(method), "markersize": 2.6, "linewidth": 1.1}
        axis.plot(found["step"], one["tuning_mean"], label=registry.load(registry.METHODS, method).TITLE, **style)
        best = float(one["best_step"])
        if np.isfinite(best):
            axis.plot(best, one["tuning_mean"].sel(step=best), "*", color=style["color"], markersize=6, zorder=4)
    spin3.loss_axes(axis)
    plotting.risk_labels(axis.yaxis)
    axis.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("{x:g}")
    axis.set_xlabel(r"step size $\varepsilon$")
    axis.set_ylabel(f"gradients to {float(found['level'][0]):g} of the start")


def _is(run: xr.Dataset, flow: str) -> bool:
    return spin3.settings(run)["flow"] == flow


def _gradient(tuning: xr.Dataset) -> str:
    first = next(iter(io.parameters(tuning)["tuning"]["runs"].values()))
    return "stochastic gradient" if first["gradient"] == "samples" else "full gradient"


def _several(run: xr.Dataset) -> bool:
    return len(spin3.widths(run)) > 1


def draw(data: dict[str, xr.Dataset]) -> Figure:
    """Return the figure of the datasets by name; panels whose data are not given stay empty.

    Parameters
    ----------
    data : dict
        Analysed runs of the 3-spin and comparisons, by experiment/name.

    """
    comparisons = [one for name, one in data.items() if name.endswith("/comparison")]
    small = next((one for one in comparisons if "step_size" in one), None)
    reference = next((one for one in comparisons if "reference_time" in one), None)
    tunings = [one for one in data.values() if "best_step" in one]
    runs = {name: one for name, one in data.items() if not name.endswith("/comparison") and "best_step" not in one}
    flows = {name: one for name, one in runs.items() if "objective" in one}
    sampled = [one for one in runs.values() if spin3.settings(one).get("gradient") == "samples"]
    kernel = [one for one in sampled if plotting.parameters(one)["problem"]["units"] == "gaussian_kernel"]
    sigmoid = [one for one in sampled if plotting.parameters(one)["problem"]["units"] == "sigmoid"]
    batches = [one for one in kernel if "batch_slope_mean" in one]
    printed = {
        name: one for name, one in runs.items()
        if "batch_free_printed" in (spin3.settings(one).get("flow"), spin3.settings(one).get("gradient"))
    }  # fmt: skip
    home = {name.split("/")[0] for name in printed}
    rows = 3 if tunings else 2
    figure, axes = plt.subplots(rows, 3, figsize=plotting.size(2.3 * rows, columns=2))
    right = [(name.split("/")[0] in home, one) for name, one in flows.items() if _is(one, "batch_free")]
    if right:
        beside = max(right, key=lambda pair: pair[0])[1]  # of the experiment with the printed sign, if there is one
        width = int(reference["reference_neurons"]) if reference is not None else None
        if width not in spin3.widths(beside):
            width = spin3.common_width([beside, *printed.values()])
        _sign(axes[0, 0], beside, list(printed.values()), reference, width)
        _energy(axes[0, 1], max((one for _, one in right), key=lambda one: len(spin3.widths(one))))
    if small is not None:
        _small_steps(axes[0, 2], small)
    names = {"batch-free": "batch_free", "population": "population"}
    labelled = [(name, one) for name, key in names.items() for one in flows.values() if _is(one, key) and _several(one)]
    labelled += [("SGD", one) for one in kernel if "batch_slope_mean" not in one and _several(one)]
    if labelled:
        _widths(axes[1, 0], labelled)
    if sigmoid:
        _widths(axes[1, 1], [(f"$d = {plotting.parameters(one)['problem']['dimension']}$", one) for one in sigmoid])
    for one in batches[:1]:
        _batches(axes[1, 2], one)
    for axis, one in zip(axes[2:].flat, tunings[:2], strict=False):
        _tuning(axis, one)
    if tunings:
        found = [axis.get_legend_handles_labels() for axis in axes[2]]
        lines = {label: line for drawn, labels in found for line, label in zip(drawn, labels, strict=True)}
        axes[2, 2].legend(lines.values(), lines.keys(), loc="center", fontsize=6)
    for axis in axes.flat:
        if not axis.has_data():
            axis.set_axis_off()
    shown = [*axes[:2].flat, *(axis for axis in axes[2:].flat if axis.has_data())]
    plotting.panels(
        shown,
        (
            "sign of the kernel's exponent", "energy balance", "SGD in small steps",
            "Gaussian units", "sigmoid units", "batch size, Gaussian units",
            *(f"tuning, {_gradient(one)}" for one in tunings[:2]),
        ),
    )  # fmt: skip
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        plotting.save(draw(plotting.load(snakemake.input.data, snakemake.params.names)), snakemake.output)
