import copy
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import changed
from hypothesis import given, settings
from hypothesis import strategies as st

from meanfield import config as configuration
from meanfield.errors import ConfigError
from meanfield.families.common import chunks, record_iterations
from meanfield.families.networks import record_times

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "schemas/config.schema.yaml"


@pytest.fixture(scope="module")
def base():
    return configuration.load_config(ROOT / "config.yaml", schema=SCHEMA)


SGD = "experiments.isotropic.simulate.sgd"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("sed", 3, "top level: unknown key 'sed' (did you mean 'seed'?)"),
        ("experiments.isotropic.neurons", -5, "experiments.isotropic.neurons: -5 found, at least 1 needed"),
        ("experiments.isotropic.neurons", 2.5, "number 2.5 found, integer needed"),
        ("experiments.isotropic.neurons", "many", "text 'many' found, integer needed"),
        ("experiments.isotropic.problem", "iso", "experiments.isotropic.problem: text 'iso' found, object needed"),
        ("experiments.isotropic.neurons", True, "boolean True found, integer needed"),
        ("experiments.isotropic.simulate.s\ngd", 3, "experiments.isotropic.simulate.s gd: integer 3 found"),
        (f"{SGD}.step_size", "1e-6", "YAML needs a dot and a signed exponent"),
        (f"{SGD}.step_size", 0.0, "0.0 found, more than 0 needed"),
        (f"{SGD}.method", "sdg", "'sdg' found (did you mean 'sgd'?); known: entropy_sgd, heavy_ball"),
        (f"{SGD}.hyperparameters", {"momentum": 0.9}, "unknown key 'momentum'; sgd takes: none"),
        (f"{SGD}.snapshots.final", 10**9, "iteration 1000000000 found, but the run ends at 10000000"),
        (f"{SGD}.step_size", 1.0, "step_size * iterations = 1e+07"),
        ("experiments.isotropic.problem.separation", 1.0, "1.0 found, less than 1 needed"),
        ("experiments.isotropic.problem.dimension", 1, "1 found, at least 2 needed"),
        ("experiments.isotropic.problem.activation", "raising_ramp", "did you mean 'rising_ramp'?"),
        ("experiments.isotropic.initial_law.kind", "cube", "'cube' found; allowed: gaussian, shell"),
        ("experiments.isotropic.solve.dd.horizon", 3.0, "horizon: 3.0 found, but a simulation runs to t = 10"),
        ("experiments.isotropic.solve.dd.solver", "characteristic", "did you mean 'characteristics'?"),
        ("experiments.isotropic.solve.dd.atoms", 1, "solve.dd.atoms: 1 found, at least 2 needed"),
        ("experiments.isotropic.solve.sgd", {"solver": "finite_volume"}, "solve.sgd: key 'limit' is missing"),
        ("activations.rising_ramp.knots", [1.5, 0.5], "[1.5, 0.5] found; they must increase strictly"),
        ("activations.rising_ramp.values", [1.0], "2 knots but 1 values found"),
        ("activations.rising_ramp.kind", "tangent", "allowed: piecewise_linear, tanh"),
        ("figures.fig02_isotropic_sgd.data", ["isotropc/sgd"], "experiment 'isotropc' of 'isotropc/sgd' is unknown"),
        ("figures.fig02_isotropic_sgd.data", ["isotropic/sdg"], "'sdg' of 'isotropic/sdg' is unknown (did you mean"),
        ("seed", math.nan, "seed"),
        (f"{SGD}.step_size", math.inf, "step_size"),
    ],
)
def test_a_slip_is_named_with_what_was_found_and_what_is_allowed(base, path, value, words):
    with pytest.raises(ConfigError) as caught:
        configuration.check(changed(base, path, value), SCHEMA)
    assert words in str(caught.value)
    for line in str(caught.value).splitlines():
        assert line.startswith("config: ")


@pytest.mark.parametrize(
    ("method", "hyperparameters", "words"),
    [
        ("nesterov", {}, "hyperparameters: key 'momentum' is missing"),
        ("nesterov", {"momentum": 1.0}, "hyperparameters.momentum: 1.0 found; a number of at least 0 and less than 1"),
        ("heavy_ball", {"momentum": "0.9"}, "hyperparameters.momentum: '0.9' found; a number"),
        ("mass", {"momentum": 0.9, "compensation": -0.1}, "hyperparameters.compensation: -0.1 found"),
        ("mass", {"momentum": True, "compensation": 0.1}, "hyperparameters.momentum: True found"),
        (
            "nesterov_restart",
            {"scheme": "fast", "inverse_condition": 0.0},
            "scheme: 'fast' found; allowed: f",
        ),
        ("nesterov_restart", {"scheme": ["gradient"], "inverse_condition": 0.0}, "scheme: ['gradient'] found"),
        ("nesterov_restart", {"scheme": "gradient", "inverse_condition": 1.5}, "inverse_condition: 1.5 found"),
        ("nesterov_restart", {"scheme": "none", "inverse_condition": math.nan}, "nan"),
    ],
)
def test_a_slip_in_a_hyperparameter_is_named(base, method, hyperparameters, words):
    settings = changed(changed(base, f"{SGD}.method", method), f"{SGD}.hyperparameters", hyperparameters)
    with pytest.raises(ConfigError) as caught:
        configuration.check(settings, SCHEMA)
    assert words in str(caught.value)
    assert "simulate.sgd" in str(caught.value)


def test_a_name_may_not_stand_for_a_simulation_and_a_limit(base):
    config = changed(base, "experiments.isotropic.solve.sgd", base["experiments"]["isotropic"]["solve"]["dd"])
    with pytest.raises(ConfigError, match="both under simulate and under solve"):
        configuration.check(config, SCHEMA)


def test_every_problem_gets_a_line(base):
    config = changed(base, "experiments.isotropic.neurons", 0)
    config["experiments"]["isotropic"]["problem"]["dimension"] = 0
    with pytest.raises(ConfigError) as caught:
        configuration.check(config, SCHEMA)
    assert len(str(caught.value).splitlines()) == 2


def test_null_removes_an_entry(base):
    config = changed(base, "figures.fig05_failure_isotropic", None)
    assert "fig05_failure_isotropic" not in configuration.check(config, SCHEMA)["figures"]


def test_the_order_of_keys_does_not_matter(base):
    turned = {key: base[key] for key in reversed(list(base))}
    assert list(configuration.check(turned, SCHEMA)) == list(base)


def test_overlays_merge_deeply(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("experiments: {isotropic: {problem: {separation: 0.3}}}", encoding="utf-8")
    config = configuration.load_config(ROOT / "config.yaml", [overlay], schema=SCHEMA)
    assert config["experiments"]["isotropic"]["problem"]["separation"] == 0.3
    assert config["experiments"]["isotropic"]["problem"]["dimension"] == 40


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [1\nb: 2", "is not YAML"), ("- 1\n- 2", "a mapping is needed"), (None, "cannot be read")],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line(tmp_path, text, words):
    file = tmp_path / "mine.yaml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as caught:
        configuration.load_config(ROOT / "config.yaml", [file], schema=SCHEMA)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_overlays_of_the_repository_are_valid():
    for overlay in [*sorted((ROOT / "config").glob("*.yaml")), ROOT / "tests/tiny.yaml"]:
        configuration.load_config(ROOT / "config.yaml", [overlay], schema=SCHEMA)


def test_records_are_log_spaced_and_hold_the_ends_and_the_snapshots():
    simulation = {"iterations": 1000, "records_per_decade": 2, "snapshots": {"x": 500}}
    round_ones = {m * 10**n for n in range(3) for m in range(1, 10)}
    assert record_iterations(simulation) == sorted({0, 32, 316, 1000} | round_ones)
    simulation["snapshots"]["x"] = 777
    assert 777 in record_iterations(simulation)


def test_a_single_iteration_is_recorded_at_both_ends():
    simulation = {"iterations": 1, "records_per_decade": 5, "snapshots": {"x": 0}}
    assert record_iterations(simulation) == [0, 1]


def test_limits_are_recorded_at_every_time_of_every_simulation(base):
    experiment = base["experiments"]["isotropic"]
    times = record_times(experiment, experiment["solve"]["dd"])
    step = experiment["simulate"]["sgd"]["step_size"]
    found = np.array(times)
    for k in record_iterations(experiment["simulate"]["sgd"]):
        assert np.abs(found - k * step).min() <= 1e-12 * k * step
    assert (np.diff(found) > 0).all()
    assert 4.0 in times
    assert times[0] == 0.0


def test_chunks_cover_the_replicates_once():
    parts = chunks({"replicates": 7}, 3)
    assert [list(part) for part in parts] == [[0, 1, 2], [3, 4, 5], [6]]


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10**13),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)


def paths(value, prefix=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*prefix, key)
            yield from paths(item, (*prefix, key))


# Every kind of entry, and few of each: an example takes a tenth of the time of the full configuration.
SMALL = configuration.load_config(ROOT / "config.yaml", [ROOT / "tests/tiny.yaml"], schema=SCHEMA)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(data=st.data())
def test_any_mutation_is_valid_or_refused_in_lines(data):
    config = copy.deepcopy(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(sorted(paths(config), key=str)))
        block = config
        for part in path[:-1]:
            block = block[part]
        block[path[-1]] = data.draw(st.one_of(LEAVES, st.just({}), st.just({"x": 1})))
    try:
        configuration.check(config, SCHEMA)
    except ConfigError as error:
        for line in str(error).splitlines():
            assert line.startswith("config: ")
            assert len(line) < 500


def test_the_page_of_parameters_is_current():
    page = (ROOT / "docs/parameters.md").read_text(encoding="utf-8")
    assert page == configuration.parameter_page(SCHEMA), "python -m meanfield parameters > docs/parameters.md"


def test_a_whole_number_with_a_point_is_an_integer(base):
    config = changed(changed(base, f"{SGD}.iterations", 1.0e7), "experiments.isotropic.problem.dimension", 40.0)
    checked = configuration.check(config, SCHEMA)
    run = checked["experiments"]["isotropic"]
    assert type(run["simulate"]["sgd"]["iterations"]) is int
    assert type(run["problem"]["dimension"]) is int
    assert checked == base
    assert type(run["simulate"]["sgd"]["step_size"]) is float


def test_whole_numbers_do_not_hide_other_slips(base):
    config = changed(changed(base, f"{SGD}.iterations", 1.0e7), "experiments.isotropic.neurons", 2.5)
    with pytest.raises(ConfigError) as caught:
        configuration.check(config, SCHEMA)
    assert str(caught.value) == "config: experiments.isotropic.neurons: number 2.5 found, integer needed"


def test_a_problem_of_the_wrong_type_is_one_line(base):
    with pytest.raises(ConfigError) as caught:
        configuration.check(changed(base, "experiments.isotropic.problem", "iso"), SCHEMA)
    assert len(str(caught.value).splitlines()) == 1
