"""Figure ext_sampling_flows: gradient flows of measures, errors against time and conditioning, affine invariance."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# Curves of particles are wide and pale, so that those of Gaussians show where both agree.
STYLES = {
    "particles_wasserstein": ("#0072B2", "-", "Wasserstein, particles"),
    "gaussian_wasserstein": ("#0072B2", (0, (1, 1.2)), "Wasserstein, Gaussian family"),
    "particles_affine": ("#D55E00", "-", "affine-invariant, particles"),
    "gaussian_affine": ("#D55E00", (0, (1, 1.2)), "affine-invariant, Gaussian family"),
    "gaussian_fisher_rao": ("#009E73", (0, (1, 1.2)), "Fisher–Rao, Gaussian family"),
    "density_fisher_rao": ("#009E73", (0, (5, 1.5)), "Fisher–Rao, density"),
}
SCHEMES = {
    "wasserstein": ("#0072B2", "o", "Wasserstein"),
    "affine": ("#D55E00", "s", "affine-invariant"),
    "fisher_rao": ("#009E73", "^", "Fisher–Rao"),
}


def _weight(flow: str) -> dict:
    if flow.startswith("particles"):
        return {"linewidth": 2.2, "alpha": 0.5, "zorder": 2}
    return {"linewidth": 1.1, "zorder": 3}


def draw(data: xr.Dataset) -> Figure:
    """Return the figure: a panel of divergences per target, relaxation times, and the check of invariance."""
    count = data.sizes["target"] + 2
    columns = min(4, count)
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=plotting.size(1.75 * rows + 0.5, columns=2), squeeze=False)
    flat = list(axes.flat)
    for t, axis in enumerate(flat[: data.sizes["target"]]):
        time = data["time"].values[t]
        for flow, (colour, line, label) in STYLES.items():
            curves = [data[f"divergence{end}"].sel(flow=flow).values[t] for end in ("", "_low", "_high")]
            if not np.isfinite(curves[0]).any():
                continue
            mean, low, high = (np.maximum(curve, 1e-6) for curve in curves)
            plotting.band(axis, time, mean, low, high, color=colour, linestyle=line, label=label, **_weight(flow))
        axis.set_yscale("log")
        axis.set_ylim(bottom=1e-4)
        axis.set_xlabel("time $t$")
        axis.set_ylabel("divergence")
        plotting.short_log(axis.yaxis)
    times, invariance = flat[data.sizes["target"]], flat[data.sizes["target"] + 1]
    for scheme, (colour, marker, label) in SCHEMES.items():
        times.plot(
            data["condition"], data["relaxation_time"].sel(scheme=scheme), color=colour, marker=marker, label=label,
            linewidth=0.9,
        )  # fmt: skip
    times.set_xscale("log")
    times.set_yscale("log")
    times.set_xlabel("condition number")
    times.set_ylabel("relaxation time")
    times.legend(loc="upper left", fontsize=5.5)
    plotting.short_log(times.xaxis)
    plotting.short_log(times.yaxis)
    for n, scheme in enumerate(data["moved"].values):
        colour, marker, label = SCHEMES[str(scheme)]
        gaps = np.maximum(data["invariance_gap"].sel(moved=scheme).values, 1e-17)
        invariance.plot(
            np.arange(1, gaps.size + 1) + 0.1 * n, gaps, color=colour, marker=marker, linestyle="none", label=label
        )
    invariance.set_yscale("log")
    invariance.set_xlabel("random affine map")
    invariance.set_ylabel("change of error curves")
    invariance.set_xticks(np.arange(1, data.sizes["map"] + 1))
    plotting.short_log(invariance.yaxis)
    for axis in flat[count:]:
        axis.set_visible(False)
    handles = [
        plt.Line2D([], [], color=c, linestyle=line, label=label, **_weight(flow))
        for flow, (c, line, label) in STYLES.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    plotting.panels(flat[:count], [*map(str, data["label"].values), "relaxation", "invariance"])
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        (dataset,) = plotting.load(snakemake.input.data, snakemake.params.names).values()
        plotting.save(draw(dataset), snakemake.output)
