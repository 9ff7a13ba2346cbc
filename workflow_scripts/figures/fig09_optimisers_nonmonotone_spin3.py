"""Figure fig09_optimisers_nonmonotone_spin3: all optimisers where there is a bad minimum, and which of them escape."""

import string
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
    """Return the figure: a block of panels for each experiment, those on the 3-spin below those on networks."""
    spins = {name: dataset for name, dataset in data.items() if "loss_mean" in dataset}
    others = {name: dataset for name, dataset in data.items() if name not in spins}
    names, models = optimisers.experiments(others), optimisers.experiments(spins)
    heights = [5.4] * len(names) + [3.6] * len(models)
    figure = plt.figure(figsize=plotting.size(sum(heights) or 1.0, columns=2))
    if not heights:
        return figure
    places = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights).flat
    drawn = 0
    for name in names:
        drawn += len(optimisers.draw_nonmonotone(next(places), others, titles, name))
    for name in models:
        runs: dict[bool, list[xr.Dataset]] = {True: [], False: []}
        for key, dataset in spins.items():
            if key.split("/")[0] == name:
                runs[plotting_spin3.settings(dataset)["gradient"] == "samples"].append(dataset)
        axes = plotting_spin3.draw_spin3(next(places), runs[False], runs[True])
        for axis, title in zip(axes, ("3-spin, full gradient", "3-spin, fresh samples"), strict=True):
            axis.set_title(rf"$\bf{{{string.ascii_lowercase[drawn]}}}$  {title}")
            drawn += 1
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        plotting.save(draw(data, snakemake.params.titles), snakemake.output)
