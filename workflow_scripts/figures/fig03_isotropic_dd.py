"""Figure fig03_isotropic_dd: the distributional dynamics beside SGD: density, marginals, risk and distance."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def draw(sgd: xr.Dataset, limits: xr.Dataset, convergence: xr.Dataset) -> Figure:
    """Return the figure with six panels."""
    figure = plt.figure(figsize=plotting.size(4.6, columns=2))
    grid = figure.add_gridspec(2, 3)
    image, risk = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 2])
    laws = plotting.stacked(figure, grid[0, 1], sgd.sizes["snapshot"])
    distance, difference, study = (figure.add_subplot(grid[1, n]) for n in range(3))
    names = [str(name) for name in limits["limit"].values]
    volume = next((name for name in names if "volume" in name), names[0])

    # Density over time, from the finite volumes.
    time = limits["time"].values
    shown = (time >= 1e-2 * time[-1] / 10) & (time > 0)
    density = limits["density"].sel(limit=volume).values[shown]
    edges = limits["edge"].values
    top = density.max()
    mesh = image.pcolormesh(
        time[shown], (edges[1:] + edges[:-1]) / 2, np.maximum(density.T, 1e-6), shading="nearest",
        norm=LogNorm(vmin=1e-2, vmax=min(top, 20.0)), rasterized=True,
    )  # fmt: skip
    image.set_xscale("log")
    image.set_xlabel("mean-field time $t$")
    image.set_ylabel(r"norm $r = \|w\|$")
    figure.colorbar(mesh, ax=image, label="density of $r$", extend="both", pad=0.02)

    # Marginals on top of the histograms.
    bins = sgd["edge"].values
    index = [str(name) for name in sgd["limit"].values].index(volume)
    for n, (axis, at) in enumerate(zip(laws, sgd["snapshot_time"].values, strict=True)):
        axis.stairs(
            sgd["histogram"].isel(snapshot=n).mean("replicate").values, bins, fill=True,
            facecolor=(*to_rgb(plotting.snapshot_colour(n)), 0.45), edgecolor="none", label="SGD",
        )  # fmt: skip
        axis.stairs(
            sgd["histogram_limit"].isel(limit=index, snapshot=n).values, bins, color=plotting.COLOURS["limit"],
            linewidth=0.9, label="dynamics",
        )  # fmt: skip
        axis.text(0.98, 0.92, f"$t =${plotting.power(float(at))}", ha="right", va="top", transform=axis.transAxes)
        axis.set_ylim(bottom=0)
    laws[0].legend(loc="lower right", handlelength=1.2)
    laws[-1].set_xlabel("norm $r$")
    laws[len(laws) // 2].set_ylabel("density")

    # Risk of both.
    later = sgd["time"].values > 0
    at = sgd["time"].values[later]
    plotting.band(
        risk, at, sgd["risk_mean"][later], sgd["risk_low"][later], sgd["risk_high"][later],
        color=plotting.COLOURS["sgd"], label="SGD, 95 % band",
    )  # fmt: skip
    styles = {names[0]: ("limit", "--", "characteristics"), volume: ("volume", ":", "finite volumes")}
    for name in names:
        key, line, label = styles.get(name, ("infinite", "-.", r"limit $d = \infty$"))
        risk.plot(
            time[time > 0], limits["risk"].sel(limit=name)[time > 0], line, color=plotting.COLOURS[key], label=label,
            linewidth=1.0,
        )  # fmt: skip
    risk.set_xscale("log")
    risk.set_xlim(at[0], time[-1])
    risk.set_ylim(bottom=0)
    risk.set_xlabel("mean-field time $t$")
    risk.set_ylabel("population risk $R$")
    risk.legend(loc="lower left")

    # Distance of the laws, and deviation of the risks.
    reference = [str(name) for name in sgd["limit"].values].index(names[0])
    for variable, line, label in (
        ("wasserstein_1", "-", "$W_1$"),
        ("wasserstein_2", "--", "$W_2$"),
        ("kolmogorov", ":", "Kolmogorov"),
    ):
        values = sgd[variable].isel(limit=reference)[:, later]
        distance.plot(at, values.mean("replicate"), line, color=plotting.COLOURS["sgd"], label=label)
        distance.fill_between(
            at,
            values.min("replicate"),
            values.max("replicate"),
            color=plotting.COLOURS["sgd"],
            alpha=0.2,
            linewidth=0,
        )
    distance.set_xscale("log")
    distance.set_yscale("log")
    distance.set_xlabel("mean-field time $t$")
    distance.set_ylabel("distance of SGD's law to DD's")
    distance.set_ylim(bottom=distance.get_ylim()[0] / 5)
    plotting.short_log(distance.yaxis)
    distance.legend(loc="lower left")

    deviation = (sgd["risk"] - sgd["risk_limit"].isel(limit=reference))[:, later]
    for one in deviation.values:
        difference.plot(at, one, color=plotting.COLOURS["sgd"], linewidth=0.7, alpha=0.8)
    cross = limits["risk"].sel(limit=volume) - limits["risk"].sel(limit=names[0])
    difference.plot([], [], color=plotting.COLOURS["sgd"], linewidth=0.7, label="SGD, each run")
    difference.plot(
        time[time > 0],
        cross[time > 0],
        color=plotting.COLOURS["volume"],
        linestyle=":",
        label="finite volumes",
    )
    difference.axhline(0, color=plotting.COLOURS["reference"], linewidth=0.5)
    difference.set_xscale("log")
    difference.set_xlim(at[0], time[-1])
    difference.set_xlabel("mean-field time $t$")
    difference.set_ylabel("risk minus that of characteristics")
    difference.legend(loc="best")

    # Resolution study.
    moments = convergence["time"].values
    for n, moment in enumerate(moments):
        colour = plotting.SEQUENCE[min(2 * n, len(plotting.SEQUENCE) - 2)]
        study.loglog(
            convergence["atoms"],
            convergence["error_atoms"].isel(time=n),
            "o-",
            color=colour,
            label=f"$t = {moment:g}$",
        )
        study.loglog(
            convergence["cells_per_deviation"], convergence["error_cells"].isel(time=n), "s--", color=colour,
            markerfacecolor="white",
        )  # fmt: skip
    study.plot([], [], "o-", color="black", label="atoms")
    study.plot([], [], "s--", color="black", markerfacecolor="white", label="cells")
    study.set_ylim(top=study.get_ylim()[1] * 30)
    study.set_xlabel("atoms, or cells per deviation")
    study.set_ylabel("error of the risk")
    study.legend(loc="upper right", ncols=2, columnspacing=1.0)
    plotting.short_log(study.yaxis)
    plotting.panels(
        (image, laws[0], risk, distance, difference, study),
        (
            "density, finite volumes",
            "laws of the norm",
            "risk",
            "distance of the laws",
            "risk difference",
            "solvers",
        ),
    )
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        plotting.save(draw(*data.values()), snakemake.output)
