"""The 3-spin's configuration: what is refused with which line, and what each job is given."""

import copy
import itertools
from pathlib import Path

import pytest
import yaml

from meanfield import config as configuration
from meanfield.errors import ConfigError
from meanfield.families import spin3
from meanfield.families.common import chunks

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "schemas/config.schema.yaml"

SGD = {
    "method": "sgd", "hyperparameters": {}, "step_size": 1e-2, "iterations": 1000, "neurons": [16, 64],
    "gradient": "samples", "batch": {"factors": [0.2], "exponent": 1.0}, "replicates": 3, "records_per_decade": 4,
}  # fmt: skip
FLOW = {
    "flow": "batch_free", "neurons": [16, 64], "horizon": 10.0, "records_per_decade": 4, "relative_tolerance": 1e-6,
    "divergence_factor": 1e3, "replicates": 3,
}  # fmt: skip
BLOCK = {
    "description": "test",
    "problem": {
        "kind": "spherical_3spin", "dimension": 5, "couplings": "independent", "units": "gaussian_kernel",
        "inverse_squared_width": 1.0, "normalised": True,
    },
    "initial_law": {"coefficient_scale": 1.0},
    "simulate": {"sgd": SGD},
    "solve": {"flow": FLOW},
    "analyse": {"circle_points": 9, "map_points": 9, "fit_from": 1},
    "comparison": {
        "small_steps": {"flow": "flow", "simulations": ["sgd"], "neurons": 64, "horizon": 5.0},
        "reference": {"run": "flow", "neurons": 64, "times": [1.0, 3.0], "losses": [0.5, 0.1]},
    },
}  # fmt: skip


def whole(**changes):
    """The project's configuration with our experiment in place of its own; keys of changes are paths with dots."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config = {
        **config,
        "experiments": {"test": copy.deepcopy(BLOCK)},
        "figures": {"fig": {"description": "x", "data": []}},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        block = config["experiments"]["test"]
        for name in parents:
            block = block[name]
        if value is None:
            del block[last]
        else:
            block[last] = value
    return config


def check(**changes):
    return configuration.check(whole(**changes), SCHEMA)


def sigmoid(**changes):
    problem = {"kind": "spherical_3spin", "dimension": 5, "couplings": "shared", "units": "sigmoid"}
    given = {"problem": problem, "solve": {}, "comparison": None, "evaluate": {"log2_points": 5, "scramblings": 2}}
    return check(**{**given, **changes})


def test_valid_blocks_pass():
    assert check()["experiments"]["test"]["problem"]["dimension"] == 5
    sigmoid()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"simulate__flow": SGD}, "'flow' is both under simulate and under solve"),
        ({"simulate__comparison": SGD}, "simulate: the name 'comparison' is reserved"),
        ({"simulate__sgd__neurons": [16, 16]}, "sgd.neurons: [16, 16] found; entries must differ"),
        ({"simulate__sgd__batch": None}, "simulate.sgd: key 'batch' is missing"),
        ({"simulate__sgd__gradient": "population"}, "batch: only the gradient 'samples' has batches, not 'population'"),
        ({"simulate__sgd__batch": {"factors": [1.0, 1.0], "exponent": 0.0}}, "factors: [1.0, 1.0] found"),
        ({"simulate__sgd__batch": {"factors": [1e6], "exponent": 4.0}}, "their product must be at most 1000000000"),
        (
            {"simulate__sgd__batch": {"factors": [0.001, 0.002], "exponent": 0.0}},
            "whose batches at the widths repeat: (1,",
        ),
        (
            {"simulate__sgd__quench": {"iterations": 1000, "factor": 1.0, "exponent": 1.0}},
            "quench.iterations: 1000 found, but the run has 1000",
        ),
        ({"simulate__sgd__method": "sgdd"}, "method: 'sgdd' found (did you mean 'sgd'?)"),
        ({"simulate__sgd__step_size": None}, "exactly one of step_size, control_of needed"),
        ({"simulate__control": {**SGD, "control_of": "sgd"}}, "exactly one of step_size, control_of needed"),
        ({"comparison__small_steps__flow": "flaw"}, "small_steps.flow: 'flaw' found (did you mean 'flow'?)"),
        ({"comparison__small_steps__simulations": ["gd"]}, "simulations: 'gd' found"),
        ({"comparison__small_steps__neurons": 32}, "small_steps.neurons: 32 found; the run has 16, 64"),
        ({"comparison__small_steps__horizon": 11.0}, "horizon: 11.0 found, but the flow ends at t = 10.0"),
        ({"simulate__sgd__iterations": 100}, "horizon: 5.0 found, but sgd ends at t = 1"),
        ({"comparison__reference__losses": [0.5]}, "2 times but 1 losses found"),
        ({"comparison__reference__times": [1.0, 30.0]}, "times: 30.0 found, but the solution ends at t = 10.0"),
        ({"comparison__reference__run": "sgd"}, "reference.run: 'sgd' found"),
        (
            {"comparison__speed": {"levels": [0.1], "pairs": {"a": {"run": "sgd", "against": "gd"}}}},
            "comparison.speed.pairs.a.against: 'gd' found",
        ),
        (
            {"simulate__sgd__precision": "float32"},
            "precision: 'float32' found; centres stay on the sphere",
        ),
        ({"problem__coupling_seed": 3}, "coupling_seed: found beside independent couplings"),
        ({"problem__normalised": None}, "experiments.test.problem: key 'normalised' is missing"),
        ({"problem__units": "gausian_kernel"}, "did you mean 'gaussian_kernel'"),
    ],
)
def test_mistakes_are_one_line_that_names_the_key(changes, line):
    with pytest.raises(ConfigError) as caught:
        check(**changes)
    lines = [one for one in str(caught.value).splitlines() if line in one]
    assert len(lines) == 1, str(caught.value)
    assert lines[0].startswith("config: experiments.test")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"evaluate": None}, "key 'evaluate' is missing"),
        ({"solve": {"flow": FLOW}}, "flows have closed forms for gaussian_kernel units only"),
        ({"simulate__sgd__gradient": "batch_free"}, "gradient: 'batch_free' found; sigmoid units have 'samples' only"),
        ({"problem__normalised": True}, "unknown key 'normalised'"),
    ],
)
def test_sigmoid_units_have_neither_flows_nor_closed_losses(changes, line):
    if "evaluate" in changes:
        with pytest.raises(ConfigError, match=line):
            check(problem={"kind": "spherical_3spin", "dimension": 5, "couplings": "shared", "units": "sigmoid"},
                  solve={}, comparison=None)  # fmt: skip
        return
    with pytest.raises(ConfigError, match=line):
        sigmoid(**changes)


def test_a_control_takes_the_step_of_the_other_clock():
    control = {key: value for key, value in SGD.items() if key != "step_size"}
    nesterov = {**SGD, "method": "nesterov", "hyperparameters": {"momentum": 0.9}, "step_size": 1e-3}
    config = check(simulate={"sgd": SGD, "nesterov": nesterov, "control": {**control, "control_of": "nesterov"}})
    parameters = spin3.simulation_parameters(config, "test", "control")
    assert parameters["settings"]["step_size"] == pytest.approx(1e-2, rel=1e-12)
    restart = {**nesterov, "method": "nesterov_restart",
               "hyperparameters": {"scheme": "gradient", "inverse_condition": 0.0}}  # fmt: skip
    with pytest.raises(ConfigError, match="whose method nesterov_restart has no constant clock"):
        check(simulate={"sgd": SGD, "restart": restart, "control": {**control, "control_of": "restart"}})
    with pytest.raises(ConfigError, match="control_of: 'nobody' found"):
        check(simulate={"sgd": SGD, "control": {**control, "control_of": "nobody"}})
    with pytest.raises(ConfigError, match="a control is run with sgd"):
        check(simulate={"sgd": SGD, "control": {**control, "method": "nesterov", "hyperparameters": {"momentum": 0.5},
                                                "control_of": "sgd"}})  # fmt: skip


def test_batches_are_whole_and_at_least_one():
    rule = {"exponent": 1.0}
    assert [spin3.batch_size(rule, 0.2, n) for n in (1, 4, 5, 16, 64, 256)] == [1, 1, 1, 3, 12, 51]
    # floor((n/5)^2), and 0.1 * 10, which is one in spite of rounding.
    assert spin3.batch_size({"exponent": 2.0}, 0.04, 16) == 10
    assert spin3.batch_size(rule, 0.1, 30) == 3


def test_cases_are_widths_times_factors_with_phases():
    settings = {**SGD, "batch": {"factors": [1.0, 4.0], "exponent": 0.0},
                "quench": {"iterations": 100, "factor": 1.0, "exponent": 1.0}}  # fmt: skip
    found = spin3.cases(settings)
    assert [(case["neurons"], case["factor"], case["phases"]) for case in found] == [
        (16, 1.0, [[900, 1], [1000, 16]]),
        (64, 1.0, [[900, 1], [1000, 64]]),
        (16, 4.0, [[900, 4], [1000, 16]]),
        (64, 4.0, [[900, 4], [1000, 64]]),
    ]
    full = {key: value for key, value in SGD.items() if key != "batch"} | {"gradient": "population"}
    assert [case["phases"] for case in spin3.cases(full)] == [[[1000, 0]], [[1000, 0]]]


def test_flows_are_recorded_where_they_are_compared():
    block = check()["experiments"]["test"]
    times = spin3.record_times(block, "flow")
    assert times[0] == 0
    assert times[-1] == 10.0
    assert all(b > a for a, b in itertools.pairwise(times))
    for wanted in (1.0, 3.0, 0.01, 5.0):
        assert min(abs(t - wanted) for t in times) < 1e-12


def test_what_does_not_decide_numbers_is_not_among_the_parameters():
    config = check()
    one = spin3.simulation_parameters(config, "test", "sgd")
    config["experiments"]["test"]["description"] = "another"
    config["experiments"]["test"]["simulate"]["sgd"]["replicates"] = 9
    config["experiments"]["test"]["simulate"]["sgd"]["replicates_per_job"] = 2
    assert spin3.simulation_parameters(config, "test", "sgd") == one
    assert chunks(config["experiments"]["test"]["simulate"]["sgd"], 5)[0] == range(2)
    assert spin3.datasets(config["experiments"]["test"]) == ["sgd", "flow", "comparison"]
    assert spin3.comparison_runs(config, "test") == ["flow", "sgd"]
    assert spin3.job_modules(config, "test", "sgd") == ("meanfield.methods.sgd",)


TUNING = {
    "runs": ["sgd"], "against": "sgd", "step_sizes": [0.01, 0.1], "evaluations": 100, "levels": [0.1],
    "tuning_replicates": 2, "first_replicate": 100, "replicates": 3,
}  # fmt: skip


def test_a_tuning_takes_its_optimisers_from_the_simulations():
    config = check(tuning={"steps": TUNING})
    assert "steps" in spin3.datasets(config["experiments"]["test"])
    found = spin3.tuning_parameters(config, "test", "steps")
    assert found["runs"]["sgd"]["case"] == {"neurons": 16, "batch": 3}
    assert (found["tuned_on"], found["compared_on"]) == ([100, 102], [0, 3])
    assert spin3.tuning_modules(config, "test", "steps") == ("meanfield.methods.sgd",)


@pytest.mark.parametrize(
    ("name", "changes", "line"),
    [
        ("steps", {"runs": ["sdg"]}, "test.tuning.steps.runs: 'sdg' found"),
        ("steps", {"against": "flow"}, "test.tuning.steps.against: 'flow' found"),
        ("steps", {"step_sizes": [0.1, 0.01]}, "they must increase"),
        ("steps", {"first_replicate": 2}, "tuning needs others"),
        ("sgd", {}, "the name 'sgd' is taken"),
    ],
)
def test_what_is_wrong_with_a_tuning_is_told(name, changes, line):
    with pytest.raises(ConfigError, match=line):
        check(tuning={name: {**TUNING, **changes}})


def test_an_unknown_run_at_one_time_is_told():
    with pytest.raises(ConfigError, match="'nothing' found"):
        check(comparison__equal_time={"runs": ["sgd", "nothing"], "time": 5.0})


def test_one_time_is_recorded_by_all_that_are_compared():
    config = check(comparison__equal_time={"runs": ["flow", "sgd"], "time": 4.44})
    assert 444 in spin3.simulation_parameters(config, "test", "sgd")["iterations"]
    assert 4.44 in spin3.flow_parameters(config, "test", "flow")["times"]
    assert spin3.comparison_runs(config, "test") == ["flow", "sgd"]


def test_what_ends_before_the_one_time_is_not_compared():
    for equal in ({"runs": ["flow", "sgd"], "time": 11.0}, {"runs": ["sgd", "flow"], "time": 1e4}):
        config = check(comparison__equal_time=equal)
        assert "equal_time" not in spin3.comparison_settings(config, "test")
    # Between two iterations the nearest one counts.
    config = check(comparison__equal_time={"runs": ["flow", "sgd"], "time": 5.004})
    assert 500 in spin3.simulation_parameters(config, "test", "sgd")["iterations"]
    assert 5.004 in spin3.flow_parameters(config, "test", "flow")["times"]
