"""Figure fig09_optimisers_nonmonotone_spin3: all optimisers where there is a bad minimum, and which of them escape."""

from typing import TYPE_CHECKING

import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield import plotting_optimisers as optimisers
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def draw(data: dict[str, xr.Dataset], titles: dict[str, str]) -> Figure:
    """Return the figure: one block of panels for each experiment."""
    names = optimisers.experiments(data)
    figure = plt.figure(figsize=plotting.size(5.4 * max(len(names), 1), columns=2))
    for place, name in zip(figure.subfigures(max(len(names), 1), 1, squeeze=False).flat, names, strict=False):
        optimisers.draw_nonmonotone(place, data, titles, name)
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        plotting.save(draw(data, snakemake.params.titles), snakemake.output)
