"""Figure ext_gradient_flow: minimising movements against characteristics, and the balance of the energy."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def _guide(axis: Axes, x: np.ndarray, y: float, order: int) -> None:
    axis.plot(x, y * (x / x.max()) ** order, color=plotting.COLOURS["reference"], linestyle="--", linewidth=0.8)
    axis.annotate(
        f"order {order}",
        (x.max(), y),
        xytext=(3, 0),
        textcoords="offset points",
        fontsize=5.5,
        color="#555555",
        ha="left",
        va="center",
    )


def _logarithmic(axis: Axes) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    plotting.short_log(axis.xaxis)
    plotting.short_log(axis.yaxis)


def _steps(axis: Axes, data: dict, titles: dict) -> None:
    for n, (name, one) in enumerate(data.items()):
        style = {"color": _COLOURS[n % 5], "marker": plotting.MARKERS[n % 6], "linewidth": 0.9}
        order, low, high = (float(one[f"law_order{end}"]) for end in ("", "_low", "_high"))
        label = f"{titles.get(name, name)}: {order:.2f} [{low:.2f}, {high:.2f}]"
        axis.plot(one["step"], one["law_error"], label=label, **style)
        axis.plot(one["step"], one["extrapolated_error"], markerfacecolor="none", **{**style, "linewidth": 0.6})
    first = next(iter(data.values()))
    _guide(axis, first["step"].values, 0.4 * float(first["law_error"].max()), 1)
    if np.isfinite(first["extrapolated_error"]).any():
        x = first["step"].values[np.isfinite(first["extrapolated_error"].values)]
        _guide(axis, x, 0.3 * float(first["extrapolated_error"].max()), 2)
    _logarithmic(axis)
    axis.set_xlabel("step $h$")
    axis.set_ylabel(r"largest $W_2$ to characteristics")
    handles, _ = axis.get_legend_handles_labels()
    hollow = Line2D(
        [], [], color="black", marker="o", markerfacecolor="none", linewidth=0.6, label="extrapolated from two steps"
    )
    axis.legend(
        handles=[*handles, hollow],
        fontsize=5.5,
        loc="upper left",
        title="fitted order [interval]",
        title_fontsize=5.5,
        alignment="left",
    )
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * (high / low) ** 0.3)  # room for it


def _energy(axis: Axes, data: dict) -> None:
    for n, one in enumerate(data.values()):
        time, top = one["time"].values, float(one["dissipation"].max())
        horizon = float(time[-1])
        axis.plot(
            time / horizon,
            one["dissipation"] / top,
            color=_COLOURS[n % 5],
            linewidth=0.9,
            label=r"$4\int|\psi'|^2 d\rho$" if n == 0 else None,
        )
        every = max(one.sizes["inner"] // 24, 1)
        pick = one.isel(inner=slice(None, None, every))
        axis.plot(
            pick["inner_time"] / horizon,
            pick["risk_slope"] / top,
            color=_COLOURS[n % 5],
            linestyle="none",
            marker=plotting.MARKERS[n % 6],
            markersize=2.6,
            markerfacecolor="none",
            markeredgewidth=0.6,
            label="$-dR/dt$, differences" if n == 0 else None,
        )
    axis.set_xlabel("time over the last time")
    axis.set_ylabel("rate over its largest")
    axis.set_ylim(bottom=-0.03)
    axis.legend(fontsize=5.5, loc="center", bbox_to_anchor=(0.5, 0.55))


def _balance(axis: Axes, data: dict) -> None:
    for n, one in enumerate(data.values()):
        axis.plot(
            one["interval"] / float(one["time"][-1]),
            np.abs(one["balance_error"]),
            color=_COLOURS[n % 5],
            marker=plotting.MARKERS[n % 6],
            linewidth=0.9,
        )
    first = next(iter(data.values()))
    x = first["interval"].values / float(first["time"][-1])
    _guide(axis, x, 3 * float(np.abs(first["balance_error"]).max()), 4)
    _logarithmic(axis)
    axis.set_xlabel("interval over the last time")
    axis.set_ylabel("relative violation of the balance")


def _movements(axis: Axes, data: dict) -> None:
    for n, one in enumerate(data.values()):
        axis.plot(
            one["step"], 0.5 - one["energy_share"], color=_COLOURS[n % 5], marker=plotting.MARKERS[n % 6], linewidth=0.9
        )
    first = next(iter(data.values()))
    _guide(axis, first["step"].values, 0.45 * float((0.5 - first["energy_share"]).max()), 1)
    _logarithmic(axis)
    axis.set_xlabel("step $h$")
    axis.set_ylabel("½ − share of the energy")


def draw(data: dict[str, xr.Dataset], titles: dict[str, str]) -> Figure:
    """Return the figure."""
    figure, axes = plt.subplots(2, 2, figsize=plotting.size(4.4, columns=2))
    _steps(axes[0, 0], data, titles)
    _movements(axes[0, 1], data)
    _energy(axes[1, 0], data)
    _balance(axes[1, 1], data)
    plotting.panels(
        axes.flat,
        (
            "minimising movements",
            "energy of minimising movements",
            "dissipation along the flow",
            "balance of the energy",
        ),
    )
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        datasets = plotting.load(snakemake.input.data, snakemake.params.names)
        plotting.save(draw(datasets, snakemake.params.titles), snakemake.output)
