"""Figure ext_clt: variances of scaled fluctuations over time and width, quantiles, and tests of normality."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def _ensembles(data: xr.Dataset) -> dict[str, np.ndarray]:
    names = list(dict.fromkeys(map(str, data["ensemble"].values)))
    return {name: np.flatnonzero(data["ensemble"].values == name) for name in names}


def draw(data: xr.Dataset) -> Figure:
    """Return the figure."""
    figure, axes = plt.subplots(2, 3, figsize=plotting.size(4.3, columns=2))
    over_time, ratio, bias, quantiles, shapiro, shape = axes.flat
    ensembles, time = _ensembles(data), data["time"].values
    labels = list(map(str, data["label"].values))
    neurons = data["neurons"].values
    # A width has one marker in all ensembles; the legend of the quantiles names them.
    widths = sorted(set(map(int, neurons)))
    markers = {width: plotting.MARKERS[k % len(plotting.MARKERS)] for k, width in enumerate(widths)}

    # Variances of the first function over time, in units of time 0's where there is one.
    for n, cells in enumerate(ensembles.values()):
        colour = COLOURS[n % 5]
        over_time.plot(
            time[cells[0]], data["predicted"][0, cells[0]], color=colour, linewidth=1,
            label=rf"$N \epsilon = {float(data['noise_ratio'][cells[0]]):g}$",
        )  # fmt: skip
        for k, cell in enumerate(cells):
            spot = np.array([data[f"variance{end}"].values[0, cell] for end in ("", "_low", "_high")])
            over_time.errorbar(
                time[cell] * (1 + 0.05 * (k - len(cells) / 2)), spot[0],
                yerr=np.maximum([spot[0] - spot[1], spot[2] - spot[0]], 0),
                color=colour, marker=markers[int(neurons[cell])], markersize=2.4, linestyle="none", elinewidth=0.6,
            )  # fmt: skip
    over_time.plot(
        time[0], data["predicted_initial"][0, 0], color="black", linestyle="--", linewidth=0.8, label="initial part"
    )
    over_time.set_xscale("symlog", linthresh=min(time[time > 0], default=1.0))
    over_time.set_yscale("log")
    plotting.risk_labels(over_time.yaxis)
    over_time.set_xlabel("time $t$")
    over_time.set_ylabel(rf"$N\,\mathrm{{Var}}\langle f, \hat\rho_N \rangle$, {labels[0]}")

    shown = max(ensembles.values(), key=len)
    for f, label in enumerate(labels):
        style = {"color": COLOURS[f % 5], "marker": plotting.MARKERS[f % 6], "markersize": 2.6, "label": label}
        x = neurons[shown] * (1 + 0.05 * (f - len(labels) / 2))
        spot = np.array([data[f"ratio_at_time{end}"].values[f, shown] for end in ("", "_low", "_high")])
        ratio.errorbar(
            x, spot[0], yerr=[spot[0] - spot[1], spot[2] - spot[0]], linestyle="none", elinewidth=0.7, **style
        )
        at = int(np.abs(time[shown[0]] - float(data["shown_time"])).argmin())
        deviation = np.sqrt(data["predicted"].values[f, shown, at])
        off = np.array([data[f"bias{end}"].values[f, shown, at] for end in ("", "_low", "_high")]) / deviation
        bias.errorbar(x, off[0], yerr=[off[0] - off[1], off[2] - off[0]], linestyle="none", elinewidth=0.7, **style)
        shapiro.plot(neurons[shown], data["shapiro_p"].values[f, shown], linewidth=0.7, **style)
        shape.plot(neurons[shown], data["skewness"].values[f, shown], linewidth=0.7, **style)
    ratio.axhline(1, color="black", linewidth=0.6)
    ratio.set_ylabel("variance / predicted")
    bias.axhline(0, color="black", linewidth=0.6)
    bias.set_ylabel(r"$\sqrt{N}$ mean error / predicted deviation")
    shapiro.axhline(0.05, color=plotting.COLOURS["reference"], linestyle="--", linewidth=0.8)
    shapiro.set_yscale("symlog", linthresh=1e-3)
    shapiro.set_ylim(0, 1.5)
    shapiro.set_ylabel("p-value, Shapiro–Wilk")
    shape.axhline(0, color="black", linewidth=0.6)
    shape.set_ylabel("skewness")

    normal = data["normal_quantile"].values
    for k, cell in enumerate(shown):
        quantiles.plot(
            normal, data["scaled_quantile"][0, cell], color=plotting.SEQUENCE[k % 6],
            marker=markers[int(neurons[cell])], markersize=2, linewidth=0.6, label=f"$N = {neurons[cell]}$",
        )  # fmt: skip
    quantiles.plot(normal, normal, color="black", linewidth=0.6)
    quantiles.set_xlabel("normal quantile")
    quantiles.set_ylabel(f"quantile over predicted, {labels[0]}")
    for axis in (ratio, bias, shapiro, shape):
        axis.set_xscale("log")
        axis.set_xlabel("number of neurons $N$")
        axis.set_xticks(neurons[shown], [str(w) for w in neurons[shown]])
        axis.minorticks_off()
    for axis in (over_time, quantiles, ratio):
        axis.legend(fontsize=5)
    plotting.panels(axes.flat, ("variance over time", "collapse", "mean", "quantiles", "normality", "skewness"))
    plotting.footnote(figure, rf"b–f: $N \epsilon = {float(data['noise_ratio'][shown[0]]):g}$")
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        (dataset,) = plotting.load(snakemake.input.data, snakemake.params.names).values()
        plotting.save(draw(dataset), snakemake.output)
