"""Figure fig04_spin3_kernel: the 3-spin learnt by Gaussian units, with fresh samples and with the units as sample."""

from typing import TYPE_CHECKING

import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield import plotting_spin3 as spin3
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def draw(fresh: xr.Dataset, reused: xr.Dataset) -> Figure:
    """Return the figure: losses over time for both, the learnt function on a great circle and on a two-sphere."""
    figure, axes = plt.subplots(2, 3, figsize=plotting.size(4.9, columns=2), height_ratios=(1.1, 1))
    (loss_fresh, loss_reused, circle), maps = axes
    spin3.loss_curves(loss_fresh, fresh)
    spin3.loss_curves(loss_reused, reused)
    low = min(axis.get_ylim()[0] for axis in (loss_fresh, loss_reused))
    high = max(axis.get_ylim()[1] for axis in (loss_fresh, loss_reused))
    for axis in (loss_fresh, loss_reused):
        axis.set_ylim(low, high)
    loss_fresh.legend(loc="lower left")
    middle = spin3.common_width((fresh, reused))
    narrow = min(spin3.widths(fresh)[0], middle)
    runs = (("fresh samples", fresh), ("units as sample", reused))
    shown = [narrow, middle] if narrow in spin3.widths(reused) and narrow < middle else [middle]
    spin3.circle(circle, runs, shown)
    circle.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2, fontsize=5.5, columnspacing=1.0)
    if "map_target" in fresh:
        case = [dataset["map_network"][spin3.case_of(dataset, middle)].values for _, dataset in runs]
        drawn = spin3.sphere_maps(maps, fresh, [fresh["map_target"].values, *case])
        figure.colorbar(drawn, ax=list(maps), location="bottom", shrink=0.4, aspect=40, label="$f$, $f_n$")
    else:
        for axis in maps:
            axis.set_axis_off()
    plotting.panels(
        axes.flat,
        (
            "fresh samples", "units as sample", "great circle $x_1 x_2$",
            "target $f$", f"fresh samples, $n = {middle}$", f"units as sample, $n = {middle}$",
        ),
    )  # fmt: skip
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        first, *_, last = [*data.values()] * 2  # fresh samples first, units as sample last
        plotting.save(draw(first, last), snakemake.output)
