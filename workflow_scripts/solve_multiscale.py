"""Rule solve_multiscale: errors and costs of the multiscale method, and its estimator on the plane."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io, words
from meanfield.analysis.counts import wilson
from meanfield.analysis.intervals import mean_interval
from meanfield.analysis.surfaces import MINIMUM, find_critical_points
from meanfield.errors import DataError
from meanfield.kernels.landscape import InnerLangevin, Stage, descend
from meanfield.kernels.streams import INITIAL_WEIGHTS, INJECTED_NOISE, seed_sequence, stream_key
from meanfield.logs import logged_to, logger
from meanfield.multiscale import fast_slow
from meanfield.plane_runs import Conditions, run
from meanfield.problems.plane import assign_to_minima, muller_brown
from meanfield.problems.smoothing import EntropyGrid, least_temperature
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


# Of the potential on the plane: least and greatest x, least and greatest y.
WINDOW = (-1.5, 1.2, -0.2, 2.0)


class _Streams:
    # A generator per study, so that none depends on what others draw.
    def __init__(self, seed: int, experiment: str):
        self._names, self._next = (seed, experiment), 0

    def __call__(self) -> np.random.Generator:
        self._next += 1
        return np.random.default_rng(seed_sequence(*self._names, self._next, INJECTED_NOISE))


def _interval(values: np.ndarray, level: float) -> tuple[float, float, float]:
    return tuple(float(part) for part in mean_interval(values, level))


# Where results that are not finite come from, by the beginning of their names: the key that is too large.
BLAMED = {
    "direct_error": "direct_micro_step", "hmm_error": "macro_steps", "euler_error": "macro_steps",
    "force_bias": "micro_steps", "force_spread": "averagings", "force_memory": "displacement",
    "gradient_error": "plane.micro_step",
}  # fmt: skip


def study(experiment: str, seed: int, settings: dict) -> xr.Dataset:
    """Return errors against every parameter of the method, costs, and the estimator on the plane.

    Raises
    ------
    DataError
        If something is not finite, or noise alone: the line names the key. Ratios of costs may be undefined.

    """
    landscape = _landscape(experiment, settings["plane"])
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is named below
        found = _study(experiment, seed, settings, landscape)
    for name, variable in found.data_vars.items():
        if not name.startswith("cost_ratio") and not np.isfinite(variable.values).all():
            key = next((key for start, key in BLAMED.items() if name.startswith(start)), "horizon")
            value = settings
            for part in key.split("."):
                value = value[part]
            what = f"experiments.{experiment}.{key}: {words.show(value)} found"
            raise DataError(f"{what}, with which the {variable.attrs['long_name']} is not finite; less is needed")
    return found


def _study(experiment: str, seed: int, settings: dict, landscape: tuple) -> xr.Dataset:
    s, streams, level = settings, _Streams(seed, experiment), settings["level"]
    start, fast_start, horizon, count = s["start"], s["fast_start"], s["horizon"], s["replicates"]
    base = s["estimator"]

    logger.info("direct solutions")
    direct = [
        fast_slow.direct(
            start, fast_start, scale, horizon=horizon, micro_step=s["direct_micro_step"], records=s["records"],
            replicates=count, generator=streams(),
        )
        for scale in s["scales"]
    ]  # fmt: skip
    direct_errors = [_interval(fast_slow.largest_error(paths, start)[1], level) for paths in direct]

    logger.info("multiscale solutions")
    errors, costs = [], []
    for estimator in s["estimators"]:
        paths = [
            fast_slow.multiscale(
                start, fast_start, horizon=horizon, macro_step=h, estimator=fast_slow.Estimator(**estimator),
                replicates=count, generator=streams(),
            )
            for h in s["macro_steps"]
        ]  # fmt: skip
        errors.append([_interval(fast_slow.largest_error(path, start)[1], level) for path in paths])
        costs.append([path.micro_steps for path in paths])
    # At the mean errors, and with all ends of their intervals for, or against, the multiscale method.
    direct_costs = [path.micro_steps for path in direct]
    ratios = np.array([
        [
            fast_slow.cost_at_equal_error(
                spent, np.array(row)[:, own], direct_costs, np.array(direct_errors)[:, of_direct]
            )
            for own, of_direct in ((0, 0), (1, 2), (2, 1))
        ]
        for spent, row in zip(costs, errors, strict=True)
    ])  # fmt: skip
    exact = [
        fast_slow.largest_error(fast_slow.euler_of_the_limit(start, horizon=horizon, macro_step=h), start)[0]
        for h in s["macro_steps"]
    ]

    logger.info("mean forces")
    bias, bias_exact = [], []
    for step in s["micro_steps"]:
        force = _forces(start, start, {**base, "micro_step": step}, s["force_replicates"], streams())
        bias.append(_interval(force - fast_slow.averaged_force(start, 0.0), level))
        bias_exact.append(fast_slow.micro_bias(start, step))
    spread = [
        _forces(start, start, {**base, "averaging": length}, s["force_replicates"], streams()).std(ddof=1)
        for length in s["averagings"]
    ]
    settled = fast_slow.averaged_force(start, 0.0) + fast_slow.micro_bias(start, base["micro_step"])
    relaxation, relaxation_errors = [], []
    for length in s["relaxations"]:
        off = {**base, "relaxation": length, "averaging": 1}
        force = _forces(start, start + s["displacement"], off, s["force_replicates"], streams())
        relaxation.append(_interval(force - settled, level))
        relaxation_errors.append(force.std(ddof=1) / np.sqrt(force.size))
    order = fast_slow.fitted_order
    # The mean of Y forgets its start by 1 - lambda in each micro step; f is a polynomial of Y.
    v = io.variable
    rate, rate_error = fast_slow.memory_rate(s["relaxations"], [mean for mean, _, _ in relaxation], relaxation_errors)
    if not np.isfinite(rate) and np.isfinite(relaxation).all():
        msg = (
            f"experiments.{experiment}.relaxations: {words.show(s['relaxations'])} found, but the memory of the start "
            "stands out from the noise at fewer than two of them; shorter ones or more force_replicates needed"
        )
        raise DataError(msg)
    macro_steps = [fast_slow.taken_step(horizon, h) for h in s["macro_steps"]]
    return xr.Dataset(
        {
            **_table("direct_error", "scale", direct_errors, "largest mean deviation from the limit, direct"),
            "direct_cost": v("scale", direct_costs, "micro steps of a direct solution"),
            **_table("hmm_error", "estimator macro_step", errors, "largest mean deviation from the limit, multiscale"),
            "hmm_cost": v("estimator macro_step", costs, "micro steps of a multiscale solution"),
            "cost_ratio_least": v("estimator", ratios[:, 0, 0], "cost by that of direct solutions, equal error, least"),
            "cost_ratio_most": v("estimator", ratios[:, 0, 1], "the same, greatest over the errors that both reach"),
            "cost_ratio_low": v("estimator", ratios[:, 1, 0], "least one with all ends of intervals for the method"),
            "cost_ratio_high": v("estimator", ratios[:, 2, 1], "greatest one with ends of intervals against it"),
            "euler_error": v("macro_step", exact, "largest deviation from the limit with exact forces"),
            **_table("force_bias", "micro_step", bias, "bias of the mean force"),
            "force_bias_exact": v("micro_step", bias_exact, "bias of the mean force by the variance of Y at rest"),
            "force_spread": v("averaging", spread, "standard deviation of the mean force"),
            **_table("force_memory", "relaxation", relaxation, "deviation of the force from its settled mean"),
            "order_scale": v("", order(s["scales"], [e[0] for e in direct_errors]), "order in epsilon"),
            "order_macro": v("", order(macro_steps, exact), "order in the macro step, exact forces"),
            "order_micro": v("", order(s["micro_steps"], np.abs(bias_exact)), "order in the micro step"),
            "order_micro_measured": v(
                "", order(s["micro_steps"], np.abs([b[0] for b in bias])), "order in the micro step, measured"
            ),
            "order_averaging": v("", order(s["averagings"], spread), "order in the averaging length"),
            "memory_rate": v("", rate, "logarithmic rate of relaxation per micro step, measured"),
            "memory_rate_error": v("", rate_error, "its standard error"),
            "memory_rate_exact": v("", np.log1p(-base["micro_step"]), "the same, exact for the mean of Y"),
            **_plane(experiment, seed, s["plane"], level, *landscape),
        },
        coords={
            "scale": v("scale", s["scales"], "epsilon"),
            "macro_step": v("macro_step", macro_steps, "macro step, a whole share of the horizon"),
            "micro_step": v("micro_step", s["micro_steps"], "micro step over epsilon"),
            "averaging": v("averaging", s["averagings"], "averaging length"),
            "relaxation": v("relaxation", s["relaxations"], "relaxation length"),
            "estimator": v("estimator", [_name(e) for e in s["estimators"]], "how mean forces are estimated"),
            "length": v("length", s["plane"]["averagings"], "averaging length on the plane"),
        },
    )  # fmt: skip


def _name(estimator: dict) -> str:
    several = f", {estimator['ensemble']} at once" if estimator["ensemble"] > 1 else ""
    return f"λ = {estimator['micro_step']:g}, {estimator['relaxation']} + {estimator['averaging']}{several}"


def _forces(x: float, y: float, estimator: dict, count: int, generator: np.random.Generator) -> np.ndarray:
    estimator = fast_slow.Estimator(**estimator)
    fast = np.full((estimator.ensemble, count), float(y))
    return fast_slow.estimate_force(np.full(count, float(x)), fast, 0.0, estimator, generator)[0]


def _table(name: str, dims: str, values: list, text: str) -> dict:
    values = np.array(values)
    return {
        f"{name}{end}": io.variable(dims, values[..., n], f"{text}{', end of the interval' if end else ''}")
        for n, end in enumerate(("", "_low", "_high"))
    }


def _landscape(experiment: str, s: dict) -> tuple:
    # The potential, its minima and the quadrature of its local entropy, if the settings allow it.
    potential, time, key = muller_brown(), s["time"], f"experiments.{experiment}.plane"
    points = find_critical_points(potential, WINDOW)
    minima = points.positions[points.kinds == MINIMUM]
    steepest = points.curvatures.max()
    least = least_temperature(WINDOW, time, steepest)
    if s["temperature"] < least:
        msg = f"{key}.temperature: {s['temperature']:g} found, at least {_up(least)} needed for the grid of the window"
        raise DataError(f"{msg} at time = {time:g}")
    bound = fast_slow.stability_bound(steepest + 1 / time)
    if s["micro_step"] >= bound:
        msg = f"{key}.micro_step: {s['micro_step']:g} found, less than {bound:.3g} needed at time = {time:g}"
        raise DataError(f"{msg}: with longer ones the inner steps grow in the minima")
    grid = EntropyGrid(potential, WINDOW, 1 / s["temperature"], (time, time), steepest)
    return potential, minima, grid


def _up(value: float) -> str:
    # Three digits that are enough.
    digits = 2 - int(np.floor(np.log10(value)))
    return f"{np.ceil(value * 10.0**digits) / 10.0**digits:.3g}"


def _plane(experiment: str, seed: int, s: dict, level: float, potential, minima: np.ndarray, grid: EntropyGrid) -> dict:
    # The effective gradient of MF-HomSGLD against quadrature, and escape from the second minimum, by averaging length.
    beta = 1 / s["temperature"]
    generator = np.random.default_rng(seed_sequence(seed, experiment, 0, INITIAL_WEIGHTS))
    at = minima[generator.integers(len(minima), size=s["points"])] + 0.2 * generator.standard_normal((s["points"], 2))
    exact = np.array([grid.jet(x, s["time"]).gradient for x in at])
    key, errors, escaped = stream_key(seed, experiment, 0, INJECTED_NOISE), [], []
    conditions = Conditions(
        seed, experiment, WINDOW, (-4.0, 4.0, -4.0, 5.0), s["largest_gradient"], 1e-5,
        {"step_size": s["micro_step"], "iterations": 20000},
    )  # fmt: skip
    for length in s["averagings"]:
        logger.info("averaging length %d on the plane", length)
        inner = InnerLangevin(s["time"], beta, s["micro_step"], steps=s["burn_in"] + length, burn_in=s["burn_in"])
        moved = descend([Stage(potential.terms, 1, 1e-3, smoothing=inner)], at, key=key, clip=0.0).ends
        errors.append(_interval(np.linalg.norm((at - moved) / 1e-3 - exact, axis=1), level))
        phase = {
            "method": "mf_homsgld", "step_size": s["micro_step"], "iterations": s["budget"] // (s["burn_in"] + length),
            "hyperparameters": {"scope": s["time"], "agents": 1, "burn_in": s["burn_in"], "averaging": length,
                                "temperature": s["temperature"]},
        }  # fmt: skip
        done = run(potential, [phase], np.repeat(minima[1:2], s["agents"], axis=0), conditions)
        escaped.append(wilson(assign_to_minima(done.polished, minima, radius=0.1) == 0, level=level))
    scale = float(np.linalg.norm(exact, axis=1).mean())
    return {
        **_table("gradient_error", "length", errors, "mean error of the effective gradient by inner averages"),
        "gradient_size": io.variable("", scale, "mean size of the effective gradient by quadrature"),
        **_table("escape_share", "length", escaped, "share of agents from the second minimum that reach the lowest"),
    }


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        dataset = stamp(
            study(**parameters),
            title=f"Heterogeneous multiscale method, {parameters['experiment']}",
            summary="Errors of a multiscale integrator against its parameters, costs, and its estimator on the plane.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
        )
        io.write_dataset(dataset, snakemake.output.dataset)
