"""From a block of the configuration to arrays: solve one limit equation. No files."""

import numpy as np

from meanfield import registry
from meanfield.limits.potentials import radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.problems.factory import make_law, make_problem


def solve(
    *,
    problem: dict,
    activation: dict,
    initial_law: dict,
    schedule: dict,
    settings: dict,
    times: list[float],
):
    """Solve one limit equation of an experiment; returns what the solver returns.

    Parameters
    ----------
    problem, activation, initial_law, schedule, settings : dict
        Blocks of the configuration.
    times : list of float, increasing, from 0
        Mean-field times to record [1].

    """
    data = make_problem(problem, activation)
    law = make_law(problem["kind"], initial_law)
    clock = Schedule(**schedule)
    solver = registry.load(registry.SOLVERS, settings["solver"])
    numbers = {
        key: value for key, value in settings.items() if key not in ("solver", "limit", "horizon", "records_per_decade")
    }
    if problem["kind"] != "isotropic_gaussians":
        return solver(data, law, np.array(times), limit=settings["limit"], schedule=clock, **numbers)
    potentials = radial_potentials(data, infinite=settings["limit"] == "infinite")
    return solver(potentials, law, np.array(times), schedule=clock, **numbers)
