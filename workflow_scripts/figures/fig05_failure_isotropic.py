"""Figure fig05_failure_isotropic: SGD from two initialisations and at several step sizes against the limit."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def _curves(axis: Axes, runs: list[xr.Dataset], limits: xr.Dataset, variable: str, limit: str, colours: dict) -> None:
    for run in runs:
        step = plotting.parameters(run)["settings"]["step_size"]
        colour, line = colours[step]
        later = run["time"].values > 0
        plotting.band(
            axis, run["time"].values[later], run[f"{variable}_mean"][later], run[f"{variable}_least"][later],
            run[f"{variable}_largest"][later], color=colour, linestyle=line,
            label=rf"SGD, $\varepsilon =${plotting.power(step)}",
        )  # fmt: skip
    time = limits["time"].values
    axis.plot(
        time[time > 0], limits[limit].isel(limit=0)[time > 0], color=plotting.COLOURS["limit"], linestyle="--",
        linewidth=1.4, label="distributional dynamics",
    )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlim(max(float(run["time"][1]) for run in runs), float(time[-1]))
    axis.set_xlabel("mean-field time $t$")


def draw(near: list[xr.Dataset], near_limits: xr.Dataset, far: list[xr.Dataset], far_limits: xr.Dataset) -> Figure:
    """Return the figure: risk and mean norm for both initialisations, and the noise floor against the step size."""
    figure, axes = plt.subplots(2, 2, figsize=plotting.size(4.6, columns=2))
    (risk_near, risk_far), (norm_near, floor) = axes
    steps = sorted({plotting.parameters(run)["settings"]["step_size"] for run in [*near, *far]})
    lines = ("-", (0, (5, 1)), "-.", ":", (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
    colours = {
        step: (plotting.SEQUENCE[n % len(plotting.SEQUENCE)], lines[n % len(lines)]) for n, step in enumerate(steps)
    }
    _curves(risk_near, near, near_limits, "risk", "risk", colours)
    _curves(risk_far, far, far_limits, "risk", "risk", colours)
    _curves(norm_near, near, near_limits, "mean_norm", "mean_norm", colours)
    for axis in (risk_near, risk_far):
        axis.set_yscale("log")
        axis.set_ylabel("population risk $R$")
        plotting.short_log(axis.yaxis)
    risk_far.legend(loc="lower left")
    risk_near.legend(loc="lower left")
    norm_near.set_yscale("log")
    norm_near.set_ylim(bottom=3e-3)
    norm_near.set_ylabel(r"mean norm $\overline{\|w_i\|}$")
    plotting.short_log(norm_near.yaxis)

    ordered = sorted(near, key=lambda run: plotting.parameters(run)["settings"]["step_size"])
    x = np.array([plotting.parameters(run)["settings"]["step_size"] for run in ordered])
    late = np.array(
        [[float(run[name]) for name in ("late_norm", "late_norm_low", "late_norm_high")] for run in ordered]
    )
    predicted = np.array([float(run["noise_floor"]) for run in ordered])
    line = np.geomspace(x.min() / 1.5, x.max() * 1.5, 50)
    if np.isfinite(predicted).all():
        floor.plot(
            line, predicted[0] / x[0] * line, color=plotting.COLOURS["formula"], linestyle="--", linewidth=1.0,
            label=rf"noise floor, {predicted[0] / x[0] / plotting.parameters(near[0])['problem']['dimension']:.1f} "
            r"$\varepsilon d$",
        )  # fmt: skip
    error = np.abs(late[:, 1:] - late[:, :1]).T
    floor.errorbar(
        x, late[:, 0], yerr=np.nan_to_num(error), fmt="o", color=plotting.COLOURS["sgd"], capsize=2, linewidth=0.9,
        label="SGD, late mean norm",
    )  # fmt: skip
    for radius, attracts in zip(near_limits["shell_radius"].values, near_limits["shell_attracts"].values, strict=True):
        floor.axhline(
            radius,
            color=plotting.COLOURS["limit"],
            linewidth=0.8,
            linestyle="-" if attracts else (0, (1, 2)),
            zorder=0,
        )
        floor.text(
            line[0], radius * 1.06, f"{'attracting' if attracts else 'repelling'} shell, $r = {radius:.3g}$",
            fontsize="x-small", va="bottom", ha="left",
        )  # fmt: skip
    floor.set_xscale("log")
    floor.set_yscale("log")
    floor.set_xlabel(r"step size $\varepsilon$")
    floor.set_ylabel(r"late mean norm")
    plotting.short_log(floor.yaxis)
    floor.legend(loc="lower right")
    scales = [plotting.parameters(runs[0])["initial_law"]["scale"] for runs in (near, far)]
    plotting.panels(
        axes.flat,
        (
            rf"risk from $\kappa = {scales[0]:g}$",
            rf"risk from $\kappa = {scales[1]:g}$",
            rf"mean norm from $\kappa = {scales[0]:g}$",
            rf"late mean norm from $\kappa = {scales[0]:g}$",
        ),
    )
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        groups: dict[str, dict] = {}
        for name, dataset in data.items():
            experiment, tail = name.split("/")
            groups.setdefault(experiment, {})[tail] = dataset
        parts = []
        for group in groups.values():
            parts += [[group[tail] for tail in group if tail != "limits"], group["limits"]]
        plotting.save(draw(*parts), snakemake.output)
