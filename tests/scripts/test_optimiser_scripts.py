"""Scripts of sweeps, width studies and the anisotropic problem, on made-up datasets with known answers."""

import math

import numpy as np
import pytest
import xarray as xr
from conftest import load
from scipy import stats

from meanfield import io, provenance
from meanfield.errors import DataError
from meanfield.problems.anisotropic import REDUCED
from meanfield.problems.factory import make_problem


def labelled(dataset):
    for name, variable in dataset.variables.items():
        assert variable.attrs["long_name"], name
        assert variable.attrs["units"] == "1", name


DIPPING_RAMP = {
    "kind": "piecewise_linear", "knots": [0.0, 0.5, 1.5], "values": [-2.5, -4.0, 7.5], "left_slope": 0.0,
    "right_slope": 0.0,
}  # fmt: skip
FAILURE = {"kind": "isotropic_gaussians", "dimension": 320, "separation": 0.5}


def sweep_of(risk, lowest=None):
    risk = np.array(risk, dtype=float)
    candidates = [{"step_size": 0.1 * n, "hyperparameters": {}} for n in range(1, len(risk) + 1)]
    parameters = {
        "problem": FAILURE, "activation": DIPPING_RAMP, "settings": {"method": "sgd"}, "candidates": candidates,
        "schedule": {"coefficient": 1.0, "exponent": 0.0},
    }  # fmt: skip
    return xr.Dataset(
        {
            "risk": (("candidate", "replicate"), risk),
            "lowest_risk": (("candidate", "replicate"), risk if lowest is None else np.array(lowest, dtype=float)),
            "mean_norm": io.variable("candidate replicate", risk + 1, "mean over neurons of norm"),
            "evaluations": io.variable("candidate", np.full(len(risk), 10), "gradients"),
        },
        coords={
            "step_size": io.variable("candidate", 0.1 * np.arange(1, len(risk) + 1), "step"),
            "replicate": io.variable("replicate", np.arange(risk.shape[1]), "replicate"),
        },
        attrs={"meanfield_parameters": provenance.canonical_json(parameters)},
    )


def test_a_sweep_is_reduced_to_its_best_candidate_and_escape_probabilities():
    # The second candidate has the smallest finite risk but diverged once; the third has the smallest mean.
    runs = sweep_of([[3.0, 4.0, 5.0, 4.0], [0.1, 0.1, math.inf, 0.1], [1.0, 2.0, 1.0, 2.0], [2.0, 2.0, 2.0, 2.0]])
    found = load("analyse_sweep").analyse(runs, "s.nc", 2.0)
    assert int(found["best"]) == 2
    assert float(found["best_step_size"]) == pytest.approx(0.3)
    assert float(found["best_risk"]) == 1.5
    assert found["diverged"].values.tolist() == [0, 1, 0, 0]
    assert found["risk_mean"].values[[0, 2, 3]].tolist() == [4.0, 1.5, 2.0]
    assert np.isnan(found["risk_mean"].values[1])
    half = 3.1824463 * math.sqrt(1 / 3) / 2  # t quantile at three degrees of freedom, variance 1/3, four replicates
    assert found["risk_high"].values[2] == pytest.approx(1.5 + half, abs=1e-6)
    assert found["escaped"].values.tolist() == [0, 3, 2, 0]  # below 2, not at it; a diverged run has not escaped
    assert found["escape_probability"].values.tolist() == [0.0, 0.75, 0.5, 0.0]
    expected = stats.binomtest(3, 4).proportion_ci(method="wilson")
    assert found["escape_low"].values[1] == pytest.approx(expected.low, abs=1e-12)
    assert found["escape_high"].values[1] == pytest.approx(expected.high, abs=1e-12)
    for name in ("probability", "low", "high"):
        assert found[f"stay_{name}"].values.tolist() == found[f"escape_{name}"].values.tolist()
    assert found["mean_norm"].equals(runs["mean_norm"])
    problem = make_problem(FAILURE, DIPPING_RAMP)
    assert found["noise_floor"].values.tolist() == [problem.noise_floor(step) for step in found["step_size"].values]
    labelled(found)


def test_a_run_that_was_below_the_threshold_has_escaped_and_stays_if_it_ends_there():
    ends, lowest = (
        [[1.0, 1.5, 1.0], [1.0, 9.0, 9.0], [9.0, 9.0, math.inf]],
        [[1.0] * 3, [1.0] * 3, [9.0, 1.9, math.inf]],
    )
    found = load("analyse_sweep").analyse(sweep_of(ends, lowest), "s.nc", 2.0)
    assert found["escaped"].values.tolist() == [3, 3, 1]
    assert found["staying"].values.tolist() == [3, 1, 0]
    expected = stats.binomtest(1, 3).proportion_ci(method="wilson")
    assert found["stay_probability"].values[1] == pytest.approx(1 / 3, abs=1e-15)
    assert found["stay_low"].values[1] == pytest.approx(expected.low, abs=1e-12)
    assert found["stay_high"].values[1] == pytest.approx(expected.high, abs=1e-12)


def test_a_sweep_without_threshold_counts_no_escape_and_one_of_divergence_only_is_refused():
    script = load("analyse_sweep")
    assert "escaped" not in script.analyse(sweep_of([[1.0, 2.0]]), "s.nc", None)
    with pytest.raises(DataError, match=r"s\.nc: every candidate diverged in some replicate; smaller step sizes"):
        script.analyse(sweep_of([[1.0, math.inf], [math.inf, math.inf]]), "s.nc", None)


def test_candidates_are_labelled_with_their_hyper_parameters():
    from meanfield.simulation import Sweep

    risk = np.array([[1.0], [2.0]])
    runs = Sweep(
        np.array([0.1, 0.2]), np.array([1.0, math.nan]), np.array([5, 5]), risk, risk, {"norm": risk}, np.array([7])
    )
    candidates = [{"step_size": s, "hyperparameters": {"scheme": "gradient", "momentum": 0.5}} for s in (0.1, 0.2)]
    found = load("simulate_sweep").labelled(runs, candidates)
    assert found["scheme"].values.tolist() == ["gradient", "gradient"]
    assert found["momentum"].dims == ("candidate",)
    assert found["mean_norm"].values.tolist() == [[1.0], [2.0]]
    labelled(found)


def tuning(tmp_path, method, hyperparameters):
    """Write the analysed sweep of two candidates, of which the second is the best."""
    parameters = {
        "sweep": {
            "settings": {"method": method},
            "candidates": [{"step_size": step, "hyperparameters": hyperparameters} for step in (1e-3, 3e-3)],
        }
    }
    dataset = xr.Dataset({"best": io.variable("", 1, "best")})
    io.write_dataset(
        provenance.stamp(dataset, title="t", summary="s", rule="r", parameters=parameters), tmp_path / "t.nc"
    )
    return tmp_path / "t.nc"


def test_a_tuned_job_is_completed_by_the_best_candidate(tmp_path):
    script = load("simulate_replicates")
    base = {"experiment": "e", "simulation": "s", "schedule": {"coefficient": 1.0, "exponent": 0.0}}
    path = tuning(tmp_path, "nesterov", {"momentum": 0.75})
    settings = {"tuned": "t", "precision": "float64", "snapshots": {}}
    found = script.completed({**base, "settings": settings}, path)["settings"]
    assert (found["method"], found["step_size"], found["hyperparameters"]) == ("nesterov", 3e-3, {"momentum": 0.75})
    control = script.completed({**base, "settings": {**settings, "method": "sgd", "control_of": "s"}}, path)["settings"]
    assert (control["method"], control["hyperparameters"]) == ("sgd", {})
    assert control["step_size"] == pytest.approx(12e-3, rel=1e-14)
    assert script.completed({**base, "settings": settings}, None) == {**base, "settings": settings}
    path = tuning(tmp_path, "nesterov_restart", {"scheme": "none", "inverse_condition": 0.0})
    with pytest.raises(DataError, match="e/s: the method nesterov_restart that it controls has no constant clock"):
        script.completed({**base, "settings": {**settings, "method": "sgd", "control_of": "s"}}, path)


WIDTHS = np.array([10, 40, 160])
TIMES = np.array([0.0, 1.0, 2.0, 4.0])


def study(deviations):
    """Return runs whose risk is that of the limit, 1 / (1 + t), plus deviations (width, replicate, record)."""
    risk = 1 / (1 + TIMES) + deviations
    v = io.variable
    return xr.Dataset(
        {"risk": v("width replicate record", risk, "risk")},
        coords={
            "width": v("width", WIDTHS, "width"),
            "replicate": v("replicate", np.arange(risk.shape[1]), "replicate"),
            "limit_time": v("record", TIMES, "time"),
        },
    )


def limit(times, offset=0.0):
    v = io.variable
    return xr.Dataset(
        {"risk": v("record", 1 / (1 + times) + offset, "risk")}, coords={"time": v("record", times, "time")}
    )


def test_a_width_study_finds_the_slope_that_was_put_in():
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    shape = np.array([0.5, 1.0, 0.25, 0.1])
    deviations = WIDTHS[:, None, None] ** -0.5 * signs[:, None] * shape
    limits = {"dd": limit(np.array([0.0, 0.5, 1.0, 2.0, 4.0]))}
    found = load("analyse_widths").analyse(study(deviations), limits, {"dd": "dd.nc"})
    assert found["deviation"].values[0] == pytest.approx(np.repeat(WIDTHS[:, None] ** -0.5, 4, axis=1), abs=1e-12)
    assert found["slope"].values == pytest.approx([-0.5], abs=1e-10)
    assert found["slope_low"].values == pytest.approx([-0.5], abs=1e-10)
    # Standard deviation of +1, -1, +1, -1 about their mean, at the record with the largest spread.
    assert found["fluctuation"].values == pytest.approx(WIDTHS**-0.5 * math.sqrt(4 / 3), rel=1e-10)
    assert float(found["fluctuation_slope"]) == pytest.approx(-0.5, abs=1e-10)
    labelled(found)


def test_limits_of_different_horizons_are_compared_up_to_the_first_end():
    deviations = np.zeros((3, 2, 4))
    deviations[..., 3] = 9.0  # after the end of the second limit
    deviations[:, 1] += 0.1
    limits = {"a": limit(TIMES), "b": limit(np.array([0.0, 1.0, 2.0]), offset=0.5)}
    found = load("analyse_widths").analyse(study(deviations), limits, {"a": "a.nc", "b": "b.nc"})
    assert found["deviation"].values[0] == pytest.approx(np.tile([0.0, 0.1], (3, 1)), abs=1e-12)
    assert found["deviation"].values[1] == pytest.approx(np.tile([0.5, 0.4], (3, 1)), abs=1e-12)


def test_a_width_study_leaves_the_first_transient_out():
    deviations = np.zeros((3, 2, 4))
    deviations[..., 0], deviations[..., 2] = 9.0, 0.25
    found = load("analyse_widths").analyse(study(deviations), {"dd": limit(TIMES)}, {"dd": "dd.nc"}, start=TIMES[1])
    assert found["deviation"].values == pytest.approx(np.full((1, 3, 2), 0.25), abs=1e-12)
    assert found["deviation_time"].values == pytest.approx(np.full((1, 3), TIMES[2]))


@pytest.mark.filterwarnings("error")
def test_one_replicate_has_a_slope_and_no_interval():
    deviations = np.ones((3, 1, 4)) / WIDTHS[:, None, None]
    found = load("analyse_widths").analyse(study(deviations), {"dd": limit(TIMES)}, {"dd": "dd.nc"})
    assert found["slope"].values == pytest.approx([-1.0], abs=1e-10)
    assert np.isnan(found["slope_low"].values).all()
    assert np.isnan(found["fluctuation"].values).all()


def reduced_limit(times, values, mass, offset=0.0):
    """Return a solution whose four variables are n + 1 times the values, constant in time."""
    v = io.variable
    atoms = {
        name: v("record atom", np.tile((n + 1) * np.asarray(values, dtype=float), (len(times), 1)), name)
        for n, name in enumerate(REDUCED)
    }
    return xr.Dataset(
        {
            "risk": v("record", 1 / (1 + times) + offset, "risk"), **atoms, "mass": v("atom", mass, "mass"),
            "remainder": v("", 1e-9, "remainder"),
        },
        coords={"time": v("record", times, "time")},
    )  # fmt: skip


def reduced_runs(risk, times):
    v = io.variable
    records = len(times)
    neurons = np.array([[1.0, 3.0], [2.0, 4.0]])  # means 2 and 3 of two replicates
    observed = {
        name: v("replicate record neuron", np.repeat((n + 1) * neurons[:, None], records, axis=1), name)
        for n, name in enumerate(REDUCED)
    }
    return xr.Dataset(
        {"risk": v("replicate record", risk, "risk"), **observed},
        coords={
            "replicate": v("replicate", [0, 1], "replicate"),
            **{name: v("record", np.arange(records), name) for name in ("iteration", "evaluation")},
            "time": v("record", times, "time"), "limit_time": v("record", times, "time"),
        },
    )  # fmt: skip


def test_a_reduced_simulation_is_compared_with_its_limits():
    risk = np.array([1 / (1 + TIMES) + 0.3, 1 / (1 + TIMES) - 0.1])
    risk[:, 1] += 5.0  # before the time from which deviations count
    limits = {"dd": reduced_limit(TIMES, [1.0, 5.0], [0.5, 0.5])}
    found = load("analyse_reduced_simulation").analyse(
        reduced_runs(risk, TIMES), limits, {"dd": "dd.nc"}, {"agreement_from": 2.0}, {"settings": {}}
    )
    assert found["risk_deviation_max"].values[0] == pytest.approx([0.3, 0.1], abs=1e-12)
    assert found["risk_deviation_mean_max"].values == pytest.approx([0.1], abs=1e-12)
    # Means 2.5 (n + 1) of the runs against 3 (n + 1) of the atoms.
    assert found["reduced_deviation_max"].values[0] == pytest.approx([0.5, 1.0, 1.5, 2.0], abs=1e-12)
    assert found["reduced_mean"].values[:, 0] == pytest.approx([2.5, 5.0, 7.5, 10.0])
    assert found["reduced"].values[1, :, 2].tolist() == [4.0, 6.0]
    assert float(found["final_risk"]) == pytest.approx(0.3)
    labelled(found)


def test_times_without_a_limit_are_left_out_and_a_missing_record_is_refused():
    script = load("analyse_reduced_simulation")
    risk = np.tile(1 / (1 + TIMES), (2, 1))
    short = {"dd": reduced_limit(np.array([0.0, 1.0]), [1.0], [1.0])}
    arguments = ({"dd": "dd.nc"}, {"agreement_from": 0.5})
    found = script.analyse(reduced_runs(risk, TIMES), short, *arguments, {"settings": {}})
    assert np.isnan(found["risk_limit"].values[0]).tolist() == [False, False, True, True]
    assert found["risk_deviation_max"].values[0] == pytest.approx([0.0, 0.0], abs=1e-12)
    # A run without a clock of SGD has no times in common with any limit.
    unknown = script.analyse(
        reduced_runs(risk, np.full(4, np.nan)), {"dd": reduced_limit(TIMES, [1.0], [1.0])}, *arguments, {"settings": {}}
    )
    assert np.isnan(unknown["risk_deviation_max"].values).all()
    gaps = {"dd": reduced_limit(np.array([0.0, 1.0, 4.0]), [1.0], [1.0])}
    with pytest.raises(DataError, match=r"dd\.nc: has no record at t = 2"):
        script.analyse(reduced_runs(risk, TIMES), gaps, *arguments, {"settings": {}})
    tuned = script.analyse(reduced_runs(risk, TIMES), gaps, *arguments, {"settings": {"tuned": "t"}})
    assert np.isnan(tuned["risk_limit"].values[0]).tolist() == [False, False, True, False]


def test_reduced_limits_are_compared_at_their_common_times():
    script = load("analyse_reduced_limits")
    values = np.linspace(-1.0, 1.0, 2001)
    mass = np.full(2001, 1 / 2001)
    limits = {
        "a": reduced_limit(TIMES, values, mass),
        "b": reduced_limit(np.array([0.0, 0.7, 2.0]), values + 1, mass, offset=0.25),
    }
    found = script.analyse(limits, {name: f"{name}.nc" for name in limits})
    assert found["time"].values.tolist() == [0.0, 2.0]
    assert found["risk_difference_max"].values == pytest.approx([0.0, 0.25], abs=1e-12)
    assert found["negative_output"].values[:, 0] == pytest.approx([1000 / 2001, 0.0], abs=1e-12)
    # Quantiles of the uniform law on [-1, 1], and on twice that for the bias.
    assert found["reduced_quantile"].values[0, 0, 0] == pytest.approx([-0.9, -0.5, 0.0, 0.5, 0.9], abs=1e-3)
    assert found["reduced_quantile"].values[0, 1, 1] == pytest.approx([-1.8, -1.0, 0.0, 1.0, 1.8], abs=2e-3)
    assert found["reduced_final"].values[1] == pytest.approx([1.0, 2.0, 3.0, 4.0], abs=1e-12)
    assert float(found["time_final"]) == 2.0
    labelled(found)


def test_quantiles_weigh_the_atoms():
    # Three quarters of the mass at 0, one quarter at 1: interpolated between the middles of the masses.
    found = load("analyse_reduced_limits").weighted_quantiles(np.array([1.0, 0.0]), np.array([0.25, 0.75]))
    assert found == pytest.approx([0.0, 0.0, 0.25, 0.75, 1.0], abs=1e-12)


def test_a_width_study_runs_every_width_on_the_same_samples():
    from meanfield.simulation import simulate

    common = {
        "experiment": "e", "seed": 3,
        "problem": {"kind": "anisotropic_gaussians", "dimension": 6, "informative": 2, "separation": 0.5},
        "activation": {
            "kind": "piecewise_linear", "knots": [0.0], "values": [0.0], "left_slope": 0.0, "right_slope": 1.0,
        },
        "initial_law": {"scale": 0.8}, "schedule": {"coefficient": 1.0, "exponent": 0.0},
        "settings": {
            "method": "sgd", "step_size": 1e-3, "hyperparameters": {}, "precision": "float64", "snapshots": {},
        },
        "iterations": [0, 5, 20],
    }  # fmt: skip
    found = load("simulate_widths").run([4, 9], range(3, 5), lambda widths: None, study="w", **common)
    for n, width in enumerate((4, 9)):
        alone = simulate(**common, simulation="x", neurons=width, replicates=range(3, 5))
        assert np.array_equal(found["risk"].values[n], alone.risk)
        means = alone.observables["output_weight"].mean(axis=2)
        assert np.array_equal(found["mean_output_weight"].values[n], means)
    assert found["replicate"].values.tolist() == [3, 4]
    labelled(found)
