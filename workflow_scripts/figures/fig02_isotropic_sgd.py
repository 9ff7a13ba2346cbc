"""Figure fig02_isotropic_sgd: risk of SGD against iteration, and histograms of the neuron norms."""

from typing import TYPE_CHECKING

import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def draw(sgd: xr.Dataset, limits: xr.Dataset) -> Figure:
    """Return the figure: the risk with its band and that of the limit, and one histogram per snapshot."""
    settings = plotting.parameters(sgd)
    figure = plt.figure(figsize=plotting.size(2.7, columns=2))
    grid = figure.add_gridspec(1, 2)
    left = figure.add_subplot(grid[0])
    laws = plotting.stacked(figure, grid[1], sgd.sizes["snapshot"])
    later = sgd["iteration"].values > 0
    iteration = sgd["iteration"].values[later]
    plotting.band(
        left, iteration, sgd["risk_mean"][later], sgd["risk_low"][later], sgd["risk_high"][later],
        color=plotting.COLOURS["sgd"], label=f"SGD, mean of {sgd.sizes['replicate']} runs, 95 % band",
    )  # fmt: skip
    time = limits["time"].values
    shown = time >= iteration[0] * settings["settings"]["step_size"] * (1 - 1e-9)
    shown &= time <= sgd["time"].values[-1] * (1 + 1e-9)
    left.plot(
        time[shown] / settings["settings"]["step_size"], limits["risk"].isel(limit=0)[shown],
        "--", color=plotting.COLOURS["limit"], label="distributional dynamics",
    )  # fmt: skip
    left.set_xscale("log")
    left.set_ylim(bottom=0)
    left.set_xlabel(
        rf"iteration $k$   ($t = k\varepsilon$, $\varepsilon =${plotting.power(settings['settings']['step_size'])})"
    )
    left.set_ylabel("population risk $R$")
    left.legend(loc="lower left")

    edges = sgd["edge"].values
    for n, (axis, name) in enumerate(zip(laws, sgd["snapshot"].values, strict=True)):
        colour = plotting.snapshot_colour(n)
        axis.stairs(
            sgd["histogram"].isel(snapshot=n).mean("replicate").values, edges, fill=True,
            facecolor=(*to_rgb(colour), 0.35), edgecolor=colour, linewidth=1.0,
        )  # fmt: skip
        axis.text(
            0.98, 0.92, f"{name}: $k =${plotting.power(float(sgd['snapshot_iteration'][n]))}", ha="right", va="top",
            transform=axis.transAxes,
        )  # fmt: skip
        axis.set_ylim(bottom=0)
    laws[-1].set_xlabel(r"neuron norm $\|w_i\|$")
    laws[len(laws) // 2].set_ylabel("density")
    problem = settings["problem"]
    plotting.panels(
        (left, laws[0]),
        (
            rf"$N = {settings['neurons']}$, $d = {problem['dimension']}$, $\Delta = {problem['separation']:g}$, "
            rf"$\kappa = {settings['initial_law']['scale']:g}$",
            "norms of the neurons, all runs",
        ),
    )
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        sgd, limits = data.values()
        plotting.save(draw(sgd, limits), snakemake.output)
