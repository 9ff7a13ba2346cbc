"""Figure ext_noisy_sgd: risk, law and free energy of noisy SGD and of its limit, and the approach to rest."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
LINES = ("-", "--", ":", "-.")
# Bars of the histogram, about.
_BARS = 80


def draw(data: xr.Dataset) -> Figure:
    """Return the figure."""
    figure, axes = plt.subplots(2, 3, figsize=plotting.size(4.3, columns=2))
    risk, difference, law, energy, rest, distance = axes.flat
    time, path = data["time"].values, data["path_time"].values
    small = path[1] if len(path) > 1 else 1.0
    edge = data["edge"].values
    centre, width = (edge[1:] + edge[:-1]) / 2, edge[1] - edge[0]
    last = float(time[-1])
    for b, beta in enumerate(data["inverse_temperature"].values):
        colour, marker, label = COLOURS[b % 6], plotting.MARKERS[b % 6], rf"$\beta = {beta:g}$"
        spots = {"color": colour, "marker": marker, "markersize": 2.8, "linestyle": "none", "elinewidth": 0.7}
        for s in range(data.sizes["start"]):
            line = {"color": colour, "linestyle": LINES[s % 4], "linewidth": 0.9}
            risk.plot(path, data["limit_risk"][b, s], label=label if s == 0 else None, **line)
            energy.plot(path, np.maximum(data["free_energy_excess"][b, s], 1e-5), **line)
            rest.plot(path, data["distance_to_rest"][b, s], **line)
        risk.axhline(float(data["stationary_risk"][b]), color=colour, linewidth=0.5, alpha=0.6)
        _bars(risk, time, data, "risk", b, **spots)
        _bars(
            difference,
            time * (1 + 0.06 * (b - 1)) + 0.05 * small * (b - 1),
            data,
            "risk_difference",
            b,
            label=label,
            **spots,
        )
        difference.plot(time, data["independent_excess"][b], color=colour, linewidth=0.7)
        _law(law, data, b, centre, width, colour, label)
        distance.plot(
            time[1:],
            data["kolmogorov"].values[b, 1:],
            color=colour,
            marker=marker,
            markersize=2.8,
            linewidth=0.7,
            label=label,
        )
    for s, name in enumerate(data["start"].values):
        energy.plot([], [], color="black", linestyle=LINES[s % 4], linewidth=0.9, label=str(name))
    distance.axhline(
        float(data["kolmogorov_bound"]), color=plotting.COLOURS["reference"], linestyle="--", linewidth=0.8,
        label="independent, 95 %",
    )  # fmt: skip
    difference.axhline(0, color="black", linewidth=0.6)
    risk.set_yscale("log")
    plotting.risk_labels(risk.yaxis)
    energy.set_yscale("log")
    plotting.short_log(energy.yaxis)
    energy.set_ylim(bottom=1e-5)
    for axis in (risk, difference, energy, rest):
        axis.set_xscale("symlog", linthresh=small)
        axis.set_xlim(-0.2 * small, 1.5 * (last if axis is difference else path[-1]))
        axis.set_xlabel("time $t$")
    distance.set_xscale("log")
    plotting.short_log(distance.xaxis)
    distance.set_xlabel("time $t$")
    distance.set_ylim(bottom=0)
    law.set_xlabel(r"norm $|w|$")
    law.set_ylabel(f"density at $t = {last:g}$, and at rest")
    risk.set_ylabel("population risk")
    difference.set_ylabel("risk of SGD − risk of the limit")
    energy.set_ylabel(r"$F(\rho_t) - F(\rho_*)$")
    rest.set_ylabel(r"distance to rest, Kolmogorov")
    distance.set_ylabel("Kolmogorov distance")
    for axis in (risk, law, energy, distance):
        axis.legend(fontsize=5)
    plotting.panels(
        axes.flat,
        ("risk", "risk, difference", "law of the norm", "free energy", "from two starts", "law, SGD and limit"),
    )
    return figure


def _bars(axis, x, data: xr.Dataset, name: str, pick, **style) -> None:
    mean, low, high = (data[f"{name}{end}"].values[pick] for end in ("", "_low", "_high"))
    axis.errorbar(x, mean, yerr=np.nan_to_num([mean - low, high - mean]), **style)


def _law(axis, data: xr.Dataset, b: int, centre, width: float, colour: str, label: str) -> None:
    # Several cells to a bar: the limit is finer than a histogram can be.
    share = data["histogram"].values[b, -1]
    bar = max(1, share.size // _BARS)
    count = share.size // bar * bar
    bars = share[:count].reshape(-1, bar).sum(axis=1) / (bar * width)
    middle = centre[:count].reshape(-1, bar).mean(axis=1)
    axis.step(middle, bars, where="mid", color=colour, linewidth=0.6, alpha=0.8, label=label)
    axis.plot(centre, data["limit_mass"].values[b, -1] / width, color=colour, linewidth=1)
    axis.plot(centre, data["stationary_mass"].values[b] / width, color="black", linewidth=0.6, linestyle=":")
    shown = np.flatnonzero(data["limit_mass"].values[:, -1].max(axis=0) > 1e-5)
    axis.set_xlim(0, centre[shown[-1]])


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        (dataset,) = plotting.load(snakemake.input.data, snakemake.params.names).values()
        plotting.save(draw(dataset), snakemake.output)
