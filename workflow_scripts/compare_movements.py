"""Rule compare_movements: minimising movements against characteristics, and the balance of the energy."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy import integrate

from meanfield import io
from meanfield.analysis.power_law import fit_power_law
from meanfield.errors import DivergenceError
from meanfield.limits.characteristics import graded_atoms, solve_characteristics
from meanfield.limits.jko import dissipation, minimising_movements
from meanfield.limits.potentials import radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.logs import logged_to, logger
from meanfield.problems.activations import make_activation
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def _ratio(part: float, whole: float) -> float:
    # Undefined where a law is at rest and nothing falls.
    return float(part / whole) if whole > 0 else np.nan


def study(experiment: str, activation: dict, settings: dict) -> xr.Dataset:
    """Return errors of minimising movements, what energy the flow dissipates, and fitted orders."""
    s, problem = settings, settings["problem"]
    potentials = radial_potentials(
        IsotropicGaussians(problem["dimension"], problem["separation"], make_activation(activation))
    )
    law, horizon, level = RadialLaw(**s["initial_law"]), s["horizon"], s["level"]
    radius, mass = graded_atoms(law, problem["dimension"], s["atoms"])
    # All times of the movements, and those of the finest quadrature of the dissipation.
    finest = s["intervals"][-1]
    shared = np.linspace(0, horizon, s["steps"][0] + 1)
    even = np.linspace(0, horizon, finest + 1)
    times = np.union1d(shared, even)
    flow = solve_characteristics(
        potentials, law, times, atoms=s["atoms"], schedule=Schedule(), relative_tolerance=s["relative_tolerance"]
    )
    at_shared, at_even = np.searchsorted(times, shared), np.searchsorted(times, even)
    if s["atoms"] > 1 and (np.diff(flow.radius, axis=1) < 0).any():
        logger.warning("%s: characteristics lose the order of the atoms", experiment)

    rows, last = [], None
    for steps in s["steps"]:
        moved = minimising_movements(potentials, radius, mass, step=horizon / steps, steps=steps)
        pick = slice(None, None, steps // s["steps"][0])
        gap = moved.radius[pick] - flow.radius[at_shared]
        law_error = np.sqrt(gap**2 @ mass).max()
        # Two halves of a step against the step: the leading term of the error cancels.
        better = np.nan
        if last is not None and steps == 2 * last[0]:
            extrapolated = 2 * moved.radius[pick] - last[1] - flow.radius[at_shared]
            better = np.sqrt(extrapolated**2 @ mass).max()
        last = steps, moved.radius[pick]
        share = _ratio((moved.moved**2).sum() * steps / horizon, moved.risk[0] - moved.risk[-1])
        rows.append(
            [law_error, np.abs(moved.risk[pick] - flow.risk[at_shared]).max(), better, share - 1, share / 2,
             float(np.diff(moved.risk).max()), moved.residual, moved.disorder]
        )  # fmt: skip
        logger.info("%s: %d steps, largest error %.3g in W2", experiment, steps, law_error)
    columns = np.array(rows).T
    step = horizon / np.array(s["steps"])

    rate = dissipation(potentials, flow.radius[at_even], mass)
    risk = flow.risk[at_even]
    balance = []
    for count in s["intervals"]:
        every = finest // count
        released = integrate.simpson(rate[::every], x=even[::every])
        balance.append(_ratio(released, risk[0] - risk[-1]) - 1)
    # The derivative of the risk at the records, by differences of order four.
    h = even[1]
    slope = (risk[:-4] - 8 * risk[1:-3] + 8 * risk[3:-1] - risk[4:]) / (12 * h)
    pointwise = _ratio(np.abs(slope + rate[2:-2]).max(), rate.max())

    fits = {
        "law_order": fit_power_law(step, columns[0], level),
        "risk_order": fit_power_law(step, columns[1], level),
        "extrapolated_order": fit_power_law(step, columns[2], level),
        "energy_order": fit_power_law(step, np.abs(columns[3]), level),
        "balance_order": fit_power_law(horizon / np.array(s["intervals"]), np.abs(balance), level),
    }
    texts = {
        "law_order": "order of the law in the step", "risk_order": "order of the risk in the step",
        "extrapolated_order": "order of the extrapolated law in the step",
        "energy_order": "order of the dissipated energy in the step",
        "balance_order": "order of the energy balance in the interval of the quadrature",
    }  # fmt: skip
    v = io.variable
    names = (
        ("law_error", "largest W2 distance from characteristics"), ("risk_error", "largest difference of the risk"),
        ("extrapolated_error", "largest W2 distance of extrapolated movements"),
        ("energy_error", "sum of W2^2/h over the fall of the risk, minus one"),
        ("energy_share", "sum of W2^2/(2h) over the fall of the risk; at most one for minimisers"),
        ("largest_rise", "largest rise of the risk in a step"),
        ("residual", "largest violation of the first-order condition, as a speed"),
        ("disorder", "largest loss of order among atoms; 0 for minimisers in W2"),
    )  # fmt: skip
    return xr.Dataset(
        {
            **{name: v("step", column, text) for (name, text), column in zip(names, columns, strict=True)},
            **{
                f"{name}{end}": v("", getattr(fit, part), f"{texts[name]}{where}")
                for name, fit in fits.items()
                for end, part, where in (("", "exponent", ""), ("_low", "low", ", lower end of the interval"),
                                         ("_high", "high", ", upper end of the interval"))
            },
            "risk": v("record", risk, "risk of the flow"),
            "dissipation": v("record", rate, "4 int psi'^2 d rho along the flow"),
            "risk_slope": v("inner", -slope, "minus the derivative of the risk, by differences"),
            "balance_error": v("interval", balance, "dissipated energy over the fall of the risk, minus one"),
            "last_balance": v("", abs(balance[-1]), "relative violation of the balance by the finest quadrature"),
            "pointwise_error": v("", pointwise, "largest difference of dissipation and slope, over the largest"),
            "quadrature_error": v("", potentials.error, "error of the potentials"),
            "table_error": v("", flow.table_error, "error of the tabulated potentials"),
        },
        coords={
            "step": v("step", step, "step h of minimising movements"),
            "interval": v("interval", horizon / np.array(s["intervals"]), "interval of the quadrature in time"),
            "time": v("record", even, "mean-field time"),
            "inner_time": v("inner", even[2:-2], "mean-field time"),
        },
    )  # fmt: skip


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        try:
            found = study(**parameters)
        except FloatingPointError as error:
            message = (
                f"{parameters['experiment']}: {error}; likely cause: too few steps, or relative_tolerance too large"
            )
            raise DivergenceError(message) from error
        dataset = stamp(
            found,
            title=f"Minimising movements, {parameters['experiment']}",
            summary="Steps of the steepest descent of the risk in W2 against characteristics, and the energy balance.",
            rule=snakemake.rule,
            parameters=parameters,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
