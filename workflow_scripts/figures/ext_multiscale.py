"""Figure ext_multiscale: errors of the multiscale method against its parameters, cost, and escape on the plane."""

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

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def _bars(axis: Axes, x, data: xr.Dataset, name: str, pick=slice(None), **style) -> None:
    mean, low, high = (np.abs(data[f"{name}{end}"].values[pick]) for end in ("", "_low", "_high"))
    error = np.abs(np.sort([low, high], axis=0) - mean)
    axis.errorbar(x, mean, yerr=error, capsize=1.6, linewidth=0.9, markersize=3, **style)


def _logarithmic(*axes: Axes) -> None:
    for axis in axes:
        axis.set_xscale("log")
        axis.set_yscale("log")
        plotting.short_log(axis.xaxis)
        plotting.short_log(axis.yaxis)


def _slope(axis: Axes, x, anchor: float, order: float, label: str) -> None:
    x = np.asarray(x, float)
    axis.plot(
        x, anchor * (x / x[0]) ** order, color=plotting.COLOURS["reference"], linestyle="--", linewidth=0.8, label=label
    )


def draw(data: xr.Dataset) -> Figure:
    """Return the figure."""
    figure, axes = plt.subplots(2, 4, figsize=plotting.size(3.9, columns=2))
    macro, micro, averaging, memory, cost, scale, gradient, escape = axes.flat
    steps = data["macro_step"].values
    for n, name in enumerate(data["estimator"].values):
        _bars(macro, steps, data, "hmm_error", n, color=COLOURS[n % 4], marker=plotting.MARKERS[n % 6], label=str(name))
        _bars(
            cost, data["hmm_cost"].values[n], data, "hmm_error", n, color=COLOURS[n % 4], marker=plotting.MARKERS[n % 6]
        )
    macro.plot(steps, data["euler_error"], color="black", linewidth=0.9, linestyle=":", label="exact forces")
    macro.set_xlabel(r"macro step $\Delta t$")
    macro.set_ylabel(r"error $\sup_t E|X - \bar X|$")
    _logarithmic(macro)
    macro.set_ylim(top=6 * float(data["hmm_error"].max()))  # room for the legend

    _bars(
        micro,
        data["micro_step"].values,
        data,
        "force_bias",
        color=COLOURS[0],
        marker="o",
        linestyle="none",
        label="measured",
    )
    micro.plot(data["micro_step"], np.abs(data["force_bias_exact"]), color="black", linewidth=0.8, label="exact")
    micro.set_xlabel(r"micro step $\lambda$")
    micro.set_ylabel("bias of the force")
    averaging.plot(
        data["averaging"], data["force_spread"], color=COLOURS[0], marker="o", linestyle="none", label="measured"
    )
    _slope(averaging, data["averaging"].values, float(data["force_spread"][0]), -0.5, "order 1/2")
    averaging.set_xlabel("averaging length $N$")
    averaging.set_ylabel("spread of the force")
    _logarithmic(micro, averaging)

    _bars(
        memory,
        data["relaxation"].values,
        data,
        "force_memory",
        color=COLOURS[0],
        marker="o",
        linestyle="none",
        label="measured",
    )
    length = data["relaxation"].values
    memory.plot(
        length, abs(float(data["force_memory"][0])) * np.exp(float(data["memory_rate_exact"]) * (length - length[0])),
        color=plotting.COLOURS["reference"], linestyle="--", linewidth=0.8, label=r"$(1 - \lambda)^{n_T}$",
    )  # fmt: skip
    memory.set_yscale("log")
    plotting.short_log(memory.yaxis)
    memory.set_xlabel("relaxation length $n_T$")
    memory.set_ylabel("deviation of the force")

    _bars(cost, data["direct_cost"].values, data, "direct_error", color="black", marker="x", label="direct")
    cost.set_xlabel("micro steps")
    cost.set_ylabel(r"error $\sup_t E|X - \bar X|$")
    _bars(
        scale, data["scale"].values, data, "direct_error", color="black", marker="x", linestyle="none", label="direct"
    )
    _slope(scale, data["scale"].values, float(data["direct_error"][0]), 0.5, "order 1/2")
    scale.set_xlabel(r"scale separation $\epsilon$")
    scale.set_ylabel(r"error $\sup_t E|X - \bar X|$")
    _logarithmic(cost, scale)

    lengths = data["length"].values
    _bars(gradient, lengths, data, "gradient_error", color=COLOURS[1], marker="s", label="inner averages")
    gradient.axhline(
        float(data["gradient_size"]),
        color=plotting.COLOURS["reference"],
        linestyle="--",
        linewidth=0.8,
        label="size of the gradient",
    )
    gradient.set_xlabel("averaging length $M$")
    gradient.set_ylabel("error of the gradient")
    _logarithmic(gradient)
    _bars(escape, lengths, data, "escape_share", color=COLOURS[1], marker="s")
    escape.set_xscale("log")
    plotting.short_log(escape.xaxis)
    escape.set_ylim(0, 1)
    escape.set_xlabel("averaging length $M$")
    escape.set_ylabel("share at the lowest minimum")
    for axis in (macro, micro, averaging, memory, cost, scale, gradient):
        axis.legend(fontsize=5, loc="upper left" if axis is macro else "best")
    for axis in (macro, micro, averaging, memory, cost, scale, gradient):
        plotting.risk_labels(axis.yaxis)
    plotting.panels(
        axes.flat,
        ("macro step", "micro step", "averaging", "relaxation", "cost", "direct solution", "on the plane", "escape"),
    )
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        (dataset,) = plotting.load(snakemake.input.data, snakemake.params.names).values()
        plotting.save(draw(dataset), snakemake.output)
