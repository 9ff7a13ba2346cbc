"""Best steps on the 3-spin: gradients to a share of the initial loss, and the choice of a step."""

import numpy as np
import pytest

from meanfield.analysis.slopes import first_crossings
from meanfield.sphere_simulation import simulate_sphere
from meanfield.sphere_tuning import looks, tune

COMMON = {
    "experiment": "test", "seed": 4, "initial_law": {"coefficient_scale": 1.0},
    "problem": {
        "kind": "spherical_3spin", "dimension": 5, "couplings": "independent", "units": "gaussian_kernel",
        "inverse_squared_width": 1.0, "normalised": True,
    },
}  # fmt: skip
LEVELS = [0.5, 0.2]


def tuned(gradient="population", evaluations=200, step_sizes=(0.02, 0.05, 0.1, 5.0), **methods):
    methods = methods or {"sgd": {}, "nesterov": {"momentum": 0.9}}
    runs = {
        name: {"method": name, "hyperparameters": found, "gradient": gradient, "case": {"neurons": 12, "batch": 4}}
        for name, found in methods.items()
    }
    return tune(
        **COMMON, runs=runs, step_sizes=list(step_sizes), evaluations=evaluations, levels=LEVELS,
        tuned_on=[10, 12], compared_on=[0, 3],
    )  # fmt: skip


def test_gradients_are_those_of_a_simulation():
    found = tuned(sgd={})
    stops = looks(200)
    run = simulate_sphere(
        **COMMON, simulation="run", iterations=stops, replicates=range(3),
        cases=[{"neurons": 12, "factor": 0.0, "phases": [[200, 0]]}],
        settings={"method": "sgd", "hyperparameters": {}, "step_size": 0.1, "gradient": "population"},
    )  # fmt: skip
    loss = run.loss[:, 0]
    assert found.best_step[0, 0] == 0.1
    expected = first_crossings(run.evaluation, loss, 0.5 * loss[:, 0])
    assert found.compared[0, 0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("gradient", ["population", "samples"])
def test_the_best_step_has_the_fewest_gradients_and_a_lost_run_none(gradient):
    found = tuned(gradient)
    assert found.gradients.shape == (2, 4, 2, 2)
    assert np.isnan(found.gradients[:, 3]).all()  # this step is too large for both
    with np.errstate(invalid="ignore"):
        mean = np.log(found.gradients).mean(axis=-1)
    for run, level in np.ndindex(2, 2):
        curve, best = mean[run, :3, level], found.best_step[run, level]
        assert np.isnan(curve).all() if np.isnan(best) else best == [0.02, 0.05, 0.1][np.nanargmin(curve)]
        assert found.at_end[run, level] == (best == 0.02)
    assert np.isfinite(found.best_step).any()
    assert found.clock == pytest.approx([1.0, 10.0])


def test_what_is_never_reached_has_no_best_step():
    found = tuned(evaluations=2, step_sizes=[1e-4, 2e-4])
    assert np.isnan(found.best_step).all()
    assert np.isnan(found.compared).all()
    assert not found.at_end.any()
    assert np.isnan(found.gradients).all()


def test_looks_end_with_the_run():
    assert looks(1) == [0, 1]
    assert looks(50)[:4] == [0, 1, 2, 3]
    assert looks(1000)[-1] == 1000
    assert np.all(np.diff(looks(1000)) > 0)
