"""Rule run_flows: move ensembles, Gaussian families and densities along gradient flows towards several targets."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.intervals import mean_interval
from meanfield.errors import DivergenceError
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
# The check of invariance halves its steps at most so many times.
HALVINGS = 30


def target_of(settings: dict, nodes: int):
    """Return the target that a block names."""
    if settings["kind"] == "gaussian":
        return Gaussian(np.zeros(2), np.diag([1.0, settings["condition"]]))
    if settings["kind"] == "banana":
        return Banana(settings["stiffness"])
    return PlaneGibbs(muller_brown(), settings["temperature"], tuple(settings["box"]), nodes)


def _curves(name: str, number: int, settings: dict, parameters: dict) -> dict[str, flows.Errors]:
    # Errors along every flow at equidistant times, shapes (record,) or (record, replicate).
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
    with np.errstate(over="ignore", invalid="ignore"):
        slopes = (
            target.gradient(starts),
            *flows.expectations(target, mean, covariance, parameters["quadrature_nodes"]),
        )
    if not all(np.isfinite(slope).all() for slope in slopes):
        raise DivergenceError(
            f"{experiment}, target {name!r}: the gradient of the potential is not finite at the start; likely cause: "
            f"targets.{name}.start_mean or start_variance is too large"
        )
    found = {}
    for flow, longest in settings["step_sizes"].items():
        each, step_size = flows.divided(settings["horizon"] / records, longest)
        generator = np.random.default_rng(seeds[1])
        with _named(parameters, name, flow, f"step_sizes.{flow} = {longest:g} is too large"):
            moments = flows.run_particles(
                target, starts, flow, step_size=step_size, records=[each * n for n in range(records + 1)],
                generator=generator, clip=clip,
            )  # fmt: skip
            if flow == "wasserstein" and isinstance(target, Gaussian):
                _demand_stability(target, step_size)
        found[f"particles_{flow}"] = flows.errors(target, moments)
    each = -(-settings["gaussian_steps"] // records)
    for flow in ("wasserstein", "affine", "fisher_rao"):
        step_size = settings["horizon"] / (each * records)
        with _named(parameters, name, flow, f"gaussian_steps = {settings['gaussian_steps']} are too few"):
            moments = flows.run_gaussian(
                target, mean, covariance, flow, step_size=step_size, records=[each * n for n in range(records + 1)],
                nodes=parameters["quadrature_nodes"],
            )  # fmt: skip
            errors = flows.errors(target, moments)
            if isinstance(target, Gaussian):
                _demand_descent(errors.divergence, each * step_size)
        found[f"gaussian_{flow}"] = errors
    if "box" in settings:
        found["density_fisher_rao"] = _density(target, mean, covariance, settings, parameters)
    return found


@contextmanager
def _named(parameters: dict, name: str, flow: str, cause: str) -> Iterator[None]:
    # Turn a flow that diverged into one line.
    try:
        yield
    except FloatingPointError as error:
        raise DivergenceError(
            f"{parameters['experiment']}, target {name!r}, flow {flow}: {error}; likely cause: targets.{name}.{cause}"
        ) from error


def _demand_stability(target: Gaussian, step_size: float) -> None:
    # Instability too slow to carry the particles away before the horizon still leaves wrong numbers.
    largest = 2 * np.linalg.eigvalsh(target.covariance)[0]
    if step_size > largest * (1 + 1e-12):
        raise FloatingPointError(f"the particles' steps of {step_size:g} are unstable, at most {largest:g} needed")


def _demand_descent(divergence: np.ndarray, interval: float) -> None:
    # Every flow descends the divergence from a normal law; where the moment equations do not, their steps are unstable.
    rises = np.flatnonzero(np.diff(divergence) > 1e-6 * divergence[:-1] + 1e-9)
    if rises.size:
        raise FloatingPointError(f"the moment equations' divergence rises by time {interval * (rises[0] + 1):.4g}")


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
    # Largest difference of error curves under random affine maps, on the first banana or Gaussian if there is one, by
    # flow and map.
    targets = parameters["targets"]
    name = next((name for name, block in targets.items() if block["kind"] != "muller_brown"), next(iter(targets)))
    settings = targets[name]
    base = target_of(settings, parameters["grid_nodes"])
    generator = np.random.default_rng(seed_sequence(parameters["seed"], parameters["experiment"], 0, TEST_POINTS))
    starts = generator.multivariate_normal(
        settings["start_mean"], np.diag(settings["start_variance"]), (2, min(parameters["particles"], 40))
    )
    gaps = np.zeros((2, parameters["maps"]))
    for m in range(parameters["maps"]):
        matrix, shift = generator.standard_normal((2, 2)) + 2 * np.eye(2), generator.standard_normal(2)
        pairs = ((base, starts), (Mapped(base, matrix, shift), starts @ matrix.T + shift))
        for n, flow in enumerate(("wasserstein", "affine")):
            gap = _gap(pairs, flow, settings["step_sizes"][flow] / 20, m)
            if gap is None:
                raise DivergenceError(
                    f"{parameters['experiment']}, target {name!r}, flow {flow}: the check of invariance diverges "
                    f"with any step; likely cause: targets.{name}.start_mean or start_variance is too large"
                )
            gaps[n, m] = gap
    return gaps


def _gap(pairs: tuple, flow: str, step_size: float, seed: int) -> float | None:
    # Short steps: under a stretching map the Wasserstein flow must not blow up, or nothing is compared. A map that
    # stretches more than most gets shorter ones.
    for halvings in range(HALVINGS):
        try:
            curves = [
                flows.errors(target, flows.run_particles(target, x, flow, step_size=step_size / 2**halvings,
                                                         records=[0, 100, 400], generator=np.random.default_rng(seed)))
                for target, x in pairs
            ]  # fmt: skip
        except FloatingPointError:
            continue
        return max(np.abs(a - b).max() for a, b in zip(*curves, strict=True))
    return None


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
            **{
                f"divergence_end{end}": v(
                    "target flow",
                    parts[f"divergence{end}"][..., -1],
                    f"divergence of normal laws at the last time{_end(end, level)}",
                )
                for end in ("", "_low", "_high")
            },
            "late_change": v(
                "target flow",
                np.abs(parts["divergence"][..., -1] / parts["divergence"][..., _late(records)] - 1),
                "relative change of the divergence over the last fifth of the time",
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


def _late(records: int) -> int:
    return records * 4 // 5


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
