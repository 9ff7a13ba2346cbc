"""Rule solve_fluctuations: the mean-field limit with the variances that its linearised equation predicts."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.errors import DataError
from meanfield.fluctuation_runs import make_problem
from meanfield.limits.characteristics import solve_characteristics
from meanfield.limits.fluctuations import RISK, TEST_FUNCTIONS, AbsorptionError, Prediction, predict, width_bias
from meanfield.limits.potentials import RadialPotentials, radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.logs import logged_to
from meanfield.problems.factory import make_law
from meanfield.problems.isotropic import RadialLaw
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# Relative displacement of the initial scale in the check by differences.
_DISPLACEMENT = 1e-3


def differences(
    potentials: RadialPotentials, law: RadialLaw, found: Prediction, names: list[str], atoms: int
) -> np.ndarray:
    """Return derivatives of all averages in the logarithm of the initial scale, by differences of the limit itself."""
    ends = []
    for sign in (1, -1):
        displaced = RadialLaw(law.kind, law.scale * (1 + sign * _DISPLACEMENT))
        limit = solve_characteristics(
            potentials, displaced, found.time, atoms=atoms, schedule=Schedule(), relative_tolerance=1e-11
        )
        ends.append([limit.risk if n == RISK else TEST_FUNCTIONS[n].value(limit.radius) @ limit.mass for n in names])
    return (np.array(ends[0]) - np.array(ends[1])) / (2 * _DISPLACEMENT)


def solve(
    *, problem: dict, activation: dict, initial_law: dict, times: list, test_functions: list, atoms: int, steps: int
) -> xr.Dataset:
    """Return limit, predicted variances, and their checks: half the steps, and differences of the limit."""
    data = make_problem(problem, activation)
    potentials = radial_potentials(data)
    law = make_law("isotropic_gaussians", initial_law)
    names = [*test_functions, RISK]
    settings = {"atoms": atoms}
    found = predict(potentials, law, np.array(times), names, steps=steps, **settings)
    coarse = predict(potentials, law, np.array(times), names, steps=max(1, steps // 2), **settings)
    by_differences = differences(potentials, law, found, names, atoms)
    size = np.abs(by_differences).max(axis=1, keepdims=True)

    def change(part: str) -> float:
        fine, rough = getattr(found, part), getattr(coarse, part)
        return float(np.max(np.abs(fine - rough) / np.maximum(fine.max(axis=1, keepdims=True), 1e-300)))

    v, dims = io.variable, "function record"
    limit = found.limit
    return xr.Dataset(
        {
            "mean": v(dims, found.mean, "average of a function over the limit law; its risk"),
            "spread": v(dims, found.spread, "variance of the function under the limit law"),
            "initial_variance": v(dims, found.initial, "N times the variance of an average by the initial weights"),
            "data_variance": v(dims, found.data, "variance of an average by the samples, over the step size"),
            "scale_derivative": v(dims, found.scale_derivative, "derivative of an average in log kappa, adjoint"),
            "scale_difference": v(dims, by_differences, "the same by differences of the limit"),
            "width_bias": v("record", width_bias(potentials, limit.radius, limit.mass), "N times the bias of the risk"),
            "risk": v("record", limit.risk, "population risk of the limit"),
            "radius": v("record atom", limit.radius, "norms of the atoms of the limit law"),
            "mass": v("atom", limit.mass, "their masses"),
            "linearisation_error": v(
                "",
                np.max(np.abs(found.scale_derivative - by_differences) / size),
                "largest relative difference of both",
            ),
            "step_error": v(
                "", max(change("initial"), change("data")), "largest relative change of a variance by half the steps"
            ),
            "table_error": v("", found.table_error, "relative error of the tabulated slopes of the features"),
            "quadrature_error": v("", found.quadrature_error, "error of the pair potential"),
        },
        coords={
            "function": v("function", names, "test function"),
            "label": v("function", [_label(name) for name in names], "its formula"),
            "time": v("record", found.time, "mean-field time"),
        },
    )


def _label(name: str) -> str:
    return "risk" if name == RISK else TEST_FUNCTIONS[name].label


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        experiment = snakemake.wildcards.experiment
        try:
            dataset = solve(**parameters)
        except (AbsorptionError, FloatingPointError) as error:
            raise DataError(f"{experiment}: {error}") from error
        dataset = stamp(
            dataset,
            title=f"Linearised fluctuations, {experiment}",
            summary="The mean-field limit, and variances of averages over neurons by the linearised equation.",
            rule=snakemake.rule,
            parameters=parameters,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
