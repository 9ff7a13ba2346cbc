"""Figure fig09_optimisers_nonmonotone_spin3: all optimisers where there is a bad minimum, and which of them escape."""

from typing import TYPE_CHECKING

import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from meanfield import plotting, plotting_spin3
from meanfield import plotting_optimisers as optimisers
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def draw(data: dict[str, xr.Dataset], titles: dict[str, str]) -> Figure:
    """Return the figure: a block of panels for each experiment on Gaussians, and one for the 3-spin model."""
    runs = [dataset for dataset in data.values() if plotting.kind(dataset) == "simulation"]
    spins = [run for run in runs if plotting.parameters(run).get("problem", {}).get("kind") == "spherical_3spin"]
    ids = {id(run) for run in spins}
    names = optimisers.experiments({name: dataset for name, dataset in data.items() if id(dataset) not in ids})
    heights = [5.4] * len(names) + [2.9] * bool(spins) or [1.0]
    figure = plt.figure(figsize=plotting.size(sum(heights), columns=2))
    places = list(figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights).flat)
    axes, heads = [], []
    for place, name in zip(places, names, strict=False):
        more, titled = optimisers.draw_nonmonotone(place, data, titles, name)
        axes, heads = axes + more, heads + titled
    if spins:
        stochastic = [run for run in spins if plotting_spin3.settings(run)["gradient"] == "samples"]
        full = [run for run in spins if plotting_spin3.settings(run)["gradient"] != "samples"]
        axes += plotting_spin3.draw_spin3(places[-1], full, stochastic)
        heads += ["3-spin, full gradient", "3-spin, stochastic gradient"]
    plotting.panels(axes, heads)
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        plotting.save(draw(data, snakemake.params.titles), snakemake.output)
