"""Rule run_flows: move ensembles, Gaussian families and densities along gradient flows towards several targets."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.intervals import mean_interval
from meanfield.kernels.streams import INITIAL_WEIGHTS, INJECTED_NOISE, TEST_POINTS, seed_sequence
from meanfield.logs import logged_to, logger
from meanfield.problems.plane import muller_brown
from meanfield.provenance import stamp
from meanfield.sampling import flows
from meanfield.sampling.targets import Banana, Gaussian, Mapped, PlaneGibbs, grid_moments

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

FLOWS = (
    "particles_wasserstein", "particles_affine", "gaussian_wasserstein", "gaussian_affine", "gaussian_fisher_rao",
    "density_fisher_rao",
)  # fmt: skip
# Errors below this are zero up to rounding.
TINY = 1e-16


def target_of(settings: dict, nodes: int):
    """Return the target that a block names."""
    if settings["kind"] == "gaussian":
        return Gaussian(np.zeros(2), np.diag([1.0, settings["condition"]]))
    if settings["kind"] == "banana":
        return Banana(settings["stiffness"])
    return PlaneGibbs(muller_brown(), settings["temperature"], tuple(settings["box"]), nodes)


def _steps(horizon: float, step_size: float, records: int) -> list[int]:
    return np.rint(np.linspace(0, horizon / step_size, records + 1)).astype(int).tolist()


def _curves(name: str, number: int, settings: dict, parameters: dict) -> dict[str, flows.Errors]:
    # Errors along every flow, shapes (record,) or (record, replicate).
    logger.info("target %s", name)
    target = target_of(settings, parameters["grid_nodes"])
    mean, covariance = np.array(settings["start_mean"]), np.diag(settings["start_variance"])
    experiment, records = parameters["experiment"], parameters["records"]
    seeds = [
        seed_sequence(parameters["seed"], experiment, number, purpose) for purpose in (INITIAL_WEIGHTS, INJECTED_NOISE)
    ]
    shape = (parameters["replicates"], parameters["particles"])
    starts = np.random.default_rng(seeds[0]).multivariate_normal(mean, covariance, shape)
    clip = settings.get("largest_gradient", np.inf)
    found = {}
    for flow, step_size in settings["step_sizes"].items():
        steps = _steps(settings["horizon"], step_size, records)
        generator = np.random.default_rng(seeds[1])
        moments = flows.run_particles(
            target, starts, flow, step_size=step_size, records=steps, generator=generator, clip=clip
        )
        found[f"particles_{flow}"] = flows.errors(target, moments)
    for flow in ("wasserstein", "affine", "fisher_rao"):
        step_size = settings["horizon"] / settings["gaussian_steps"]
        steps = _steps(settings["horizon"], step_size, records)
        moments = flows.run_gaussian(
            target, mean, covariance, flow, step_size=step_size, records=steps, nodes=parameters["quadrature_nodes"]
        )
        found[f"gaussian_{flow}"] = flows.errors(target, moments)
    if "box" in settings:
        found["density_fisher_rao"] = _density(target, mean, covariance, settings, parameters)
    return found


def _density(target, mean, covariance, settings, parameters) -> flows.Errors:
    box, nodes = settings["box"], parameters["grid_nodes"]
    xs, ys = np.linspace(box[0], box[1], nodes), np.linspace(box[2], box[3], nodes)
    points = np.stack(np.meshgrid(xs, ys), axis=-1)
    start, end = -Gaussian(mean, covariance).potential(points), -target.potential(points)
    moments = [
        grid_moments(xs, ys, flows.fisher_rao_density(start, end, time))
        for time in np.linspace(0, settings["horizon"], parameters["records"] + 1)
    ]
    return flows.errors(target, flows.Moments(*map(np.array, zip(*moments, strict=True))))


def _invariance(parameters: dict) -> np.ndarray:
    # Largest difference of error curves under random affine maps, on the first banana or Gaussian, by flow and map.
    settings = next(block for block in parameters["targets"].values() if block["kind"] != "muller_brown")
    base = target_of(settings, parameters["grid_nodes"])
    generator = np.random.default_rng(seed_sequence(parameters["seed"], parameters["experiment"], 0, TEST_POINTS))
    starts = generator.multivariate_normal(
        settings["start_mean"], np.diag(settings["start_variance"]), (2, min(parameters["particles"], 40))
    )
    gaps = np.zeros((2, parameters["maps"]))
    for m in range(parameters["maps"]):
        matrix, shift = generator.standard_normal((2, 2)) + 2 * np.eye(2), generator.standard_normal(2)
        mapped = Mapped(base, matrix, shift)
        for n, flow in enumerate(("wasserstein", "affine")):
            # Short steps: under a stretching map the Wasserstein flow must not blow up, or nothing is compared.
            step_size = settings["step_sizes"][flow] / 20
            curves = [
                flows.errors(target, flows.run_particles(target, x, flow, step_size=step_size, records=[0, 100, 400],
                                                         generator=np.random.default_rng(m)))
                for target, x in ((base, starts), (mapped, starts @ matrix.T + shift))
            ]  # fmt: skip
            gaps[n, m] = max(np.abs(a - b).max() for a, b in zip(*curves, strict=True))
    return gaps


def run(parameters: dict) -> xr.Dataset:
    """Return error curves of all flows, relaxation times against conditioning, and the check of invariance."""
    targets, records, level = parameters["targets"], parameters["records"], parameters["level"]
    ordered = sorted(targets, key=lambda name: (targets[name]["order"], name))
    shape = (len(ordered), len(FLOWS), records + 1)
    parts = {f"{part}{end}": np.full(shape, np.nan) for part in flows.Errors._fields for end in ("", "_low", "_high")}
    for t, name in enumerate(ordered):
        for flow, errors in _curves(name, t, targets[name], parameters).items():
            for part, values in errors._asdict().items():
                values = np.atleast_2d(values.T)  # (replicate, record)
                # Errors of finite ensembles fluctuate by factors: geometric means, with intervals of their logarithms.
                logs = np.log(np.maximum(values, TINY))
                means = map(np.exp, mean_interval(logs, level)) if len(values) > 1 else (values[0], np.nan, np.nan)
                for end, curve in zip(("", "_low", "_high"), means, strict=True):
                    parts[f"{part}{end}"][t, FLOWS.index(flow)] = curve
    gaussians = [settings for settings in targets.values() if settings["kind"] == "gaussian"]
    start = gaussians[0] if gaussians else next(iter(targets.values()))
    times = [
        [
            flows.relaxation_time(
                Gaussian(np.zeros(2), np.diag([1.0, condition])), np.array(start["start_mean"]),
                np.diag(start["start_variance"]), flow, parameters["threshold"],
            )
            for condition in parameters["conditions"]
        ]
        for flow in ("wasserstein", "affine", "fisher_rao")
    ]  # fmt: skip
    v = io.variable
    titles = {
        "mean": "error of the mean",
        "covariance": "error of the covariance",
        "divergence": "divergence of normal laws",
    }
    return xr.Dataset(
        {
            **{
                name: v("target flow record", values, f"{titles[name.split('_')[0]]}{_end(name, level)}")
                for name, values in parts.items()
            },
            "divergence_end": v(
                "target flow", parts["divergence"][..., -1], "divergence of normal laws at the last time"
            ),
            "time": v("target record", [np.linspace(0, targets[n]["horizon"], records + 1) for n in ordered], "time"),
            "relaxation_time": v("scheme condition", times, "time until the divergence falls below the threshold"),
            "threshold": v("", parameters["threshold"], "that threshold"),
            "invariance_gap": v(
                "moved map", _invariance(parameters), "largest change of error curves by an affine map"
            ),
            "label": v("target", [targets[n]["label"] for n in ordered], "label of the target"),
        },
        coords={
            "target": v("target", ordered, "target"),
            "flow": v("flow", list(FLOWS), "flow and what is moved along it"),
            "scheme": v("scheme", ["wasserstein", "affine", "fisher_rao"], "flow of Gaussian families"),
            "moved": v("moved", ["wasserstein", "affine"], "flow of particles"),
            "condition": v("condition", parameters["conditions"], "condition number of a Gaussian target"),
        },
    )


def _end(name: str, level: float) -> str:
    end = name.rpartition("_")[2]
    return f", {end} end of the {100 * level:g} % interval" if end in ("low", "high") else ""


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        dataset = stamp(
            run(parameters),
            title=f"Gradient flows of measures, {parameters['experiment']}",
            summary="Errors of mean and covariance along Wasserstein, affine-invariant and Fisher-Rao flows.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
        )
        io.write_dataset(dataset, snakemake.output.dataset)
