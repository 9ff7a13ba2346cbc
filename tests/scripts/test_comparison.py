"""Comparisons of optimisers: which runs are paired, what their differences are, what the figures find in the data."""

import copy

import numpy as np
import pytest
import xarray as xr
import yaml
from conftest import ROOT, load
from scipy import stats

from meanfield import config as configuration
from meanfield import plotting, provenance
from meanfield import plotting_optimisers as optimisers
from meanfield.errors import DataError
from meanfield.families import networks

SCHEMA = ROOT / "schemas/config.schema.yaml"


@pytest.fixture(scope="module")
def raw():
    return yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def simulation(name, *, method, step=1e-3, rate=0.0, noise=0.0, replicates=(0, 1, 2), every=1, tuned=None, target=None):
    """An analysed simulation whose log risk falls by `rate` per gradient evaluation and differs by replicate."""
    iteration = np.array([0, 1, 10, 100, 1000])
    replicate = np.array(replicates)
    evaluation = iteration * every
    wobble = noise * (replicate[:, None] - 1.0) * (evaluation > 0)
    risk = 2.0 * np.exp(-rate * evaluation[None, :] + wobble)
    clock = np.nan if method == "nesterov_restart" else step * (10 if method == "nesterov" else 1)
    settings = {"method": method, "step_size": step, "hyperparameters": {}}
    settings |= {"tuned": tuned} if tuned else {}
    settings |= {"control_of": target} if target else {}
    dataset = xr.Dataset(
        {
            "risk": (("replicate", "record"), risk),
            "risk_mean": ("record", risk.mean(axis=0)),
            "risk_low": ("record", risk.min(axis=0)),
            "risk_high": ("record", risk.max(axis=0)),
            "risk_least": ("record", risk.min(axis=0)),
            "risk_largest": ("record", risk.max(axis=0)),
        },
        coords={
            "replicate": replicate,
            "iteration": ("record", iteration),
            "evaluation": ("record", evaluation),
            "limit_time": ("record", iteration * clock),
        },
    )
    parameters = {"simulation": {"simulation": name, "settings": settings}}
    return provenance.stamp(dataset, title="t", summary="s", rule="r", parameters=parameters, seed=1)


def test_a_difference_of_log_risks_is_paired_and_has_its_interval():
    one = simulation("a", method="nesterov", rate=2e-3, noise=0.3)
    other = simulation("b", method="sgd", rate=1e-3, noise=0.2, replicates=(2, 1, 0))  # another order
    found = load("analyse_comparison").compare(one, other)
    difference = -1e-3 * 1000 + 0.1 * np.array([-1.0, 0.0, 1.0])
    half = stats.t.ppf(0.975, 2) * difference.std(ddof=1) / np.sqrt(3)
    assert found["final"] == pytest.approx(-1.0)
    assert (found["final_low"], found["final_high"]) == pytest.approx((-1 - half, -1 + half))
    assert found["late"] == pytest.approx(-(100 + 1000) / 2 * 1e-3)
    assert found["furthest"] == pytest.approx(1.0)
    assert found["replicates"] == 3


def test_methods_of_different_cost_meet_at_a_common_number_of_gradients():
    one = simulation("a", method="entropy_sgd", rate=0.0, every=10)  # 0, 10, 100, 1000, 10000 gradients
    other = simulation("b", method="sgd", rate=1e-3)
    found = load("analyse_comparison").compare(one, other)
    assert found["evaluations"] == 1000
    assert found["final"] == pytest.approx(1.0)


def test_the_shorter_run_is_compared_at_its_end_though_the_other_has_no_record_there():
    # A power law is a straight line on logarithmic axes, so that the interpolation is exact up to the one in log1p.
    one = simulation("a", method="entropy_sgd", every=0.3)  # 300 gradients at its end; the other has 100 and 1000
    other = simulation("b", method="sgd")
    other["risk"] = other["risk"] * 0 + 2.0 * (1.0 + other["evaluation"]) ** -0.5
    for first, second, sign in ((one, other, 1), (other, one, -1)):
        found = load("analyse_comparison").compare(first, second)
        assert found["evaluations"] == pytest.approx(300)
        assert found["final"] == pytest.approx(sign * 0.5 * np.log(301), rel=1e-12)


def test_runs_without_a_common_replicate_have_no_difference():
    script = load("analyse_comparison")
    one, other = simulation("a", method="sgd"), simulation("b", method="sgd", replicates=(7,))
    labelled = script.labelled([{"first": "a", "second": "b", "kind": "sgd"}], {"a": one, "b": other}, "x")
    assert np.isnan(labelled["final"].values).all()
    assert labelled["kind"].values.tolist() == ["sgd"]


def test_nothing_to_compare_is_said():
    with pytest.raises(DataError, match=r"^experiments\.mine\.simulate: no two simulations to compare; .*control_of"):
        load("analyse_comparison").labelled([], {}, "mine")


def test_pairs_are_controls_and_the_sgd_of_each_group(raw):
    pairs = {(p["first"], p["second"], p["kind"]) for p in networks.pairs(raw["experiments"]["nonmonotone_near"])}
    assert ("nesterov", "nesterov_control", "control") in pairs
    assert ("nesterov", "sgd_1em5", "sgd") in pairs  # at the same step size
    assert ("nesterov_slow", "sgd_1em6", "sgd") in pairs
    assert ("tuned_mass", "tuned_sgd", "sgd") in pairs
    assert not any(first == second or first.startswith("sgd") for first, second, _ in pairs)


def test_a_part_of_an_experiment_stands_for_all_its_entries(raw):
    config = copy.deepcopy(raw)
    block = config["experiments"]["isotropic"]["simulate"]
    block["another"] = {**block["nesterov"], "title": "Another one"}
    config["figures"] = {"fig08_optimisers_gaussian": {"description": "d", "data": ["isotropic/simulate"]}}
    data = configuration.check(config, SCHEMA)["figures"]["fig08_optimisers_gaussian"]["data"]
    assert set(data) == {f"isotropic/{name}" for name in block}
    assert networks.title(config["experiments"]["isotropic"], "another") == "Another one"
    assert networks.title(config["experiments"]["isotropic"], "tuned_mass") == "MaSS"
    assert "reconstruction" in networks.title(config["experiments"]["isotropic"], "mf_homsgld")
    assert networks.title(config["experiments"]["isotropic"], "limits") is None


def test_an_untitled_control_is_called_by_its_clock():
    runs = {"nesterov": {"method": "nesterov"}, "control": {"method": "sgd", "control_of": "nesterov"}}
    assert networks.title({"simulate": runs}, "control") == "SGD, clock of Nesterov"


def test_parts_are_reserved_names(raw):
    config = copy.deepcopy(raw)
    simulate = config["experiments"]["isotropic"]["simulate"]
    simulate["comparison"] = simulate["nesterov"]
    with pytest.raises(configuration.ConfigError, match="the name 'comparison' is reserved"):
        configuration.check(config, SCHEMA)


@pytest.mark.parametrize(
    ("escaped", "expected"),
    [
        ([0, 0, 2, 4], (2.0, 4.0)),
        ([0, 1, 0, 4], (1.0, 4.0)),  # not stuck above a step that escapes
        ([0, 0, 0, 0], (4.0, np.nan)),
        ([4, 4, 4, 4], (np.nan, 1.0)),
    ],
)
def test_the_transition_is_between_none_and_all(escaped, expected):
    # Two candidates of one step count together, in whatever order.
    for both in ([0, 4], [4, 0]):
        alone = load("analyse_sweep").transition(np.array([1.0, 1.0]), np.array(both), 4)
        assert np.isnan(alone).all()
    found = load("analyse_sweep").transition(np.array([4.0, 3.0, 2.0, 1.0]), np.array(escaped[::-1]), 4)
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.fixture
def data():
    return {
        "p/sgd": simulation("sgd", method="sgd"),
        "p/sgd_large": simulation("sgd_large", method="sgd", step=1e-2),
        "p/nesterov": simulation("nesterov", method="nesterov", rate=1e-3),
        "p/nesterov_control": simulation("nesterov_control", method="sgd", step=1e-2, target="nesterov"),
        "p/restart": simulation("restart", method="nesterov_restart"),
        "p/newcomer": simulation("newcomer", method="dummy", step=7e-3),
        "p/tuned_sgd": simulation("tuned_sgd", method="sgd", step=0.1, tuned="tune_sgd"),
    }


def test_runs_are_grouped_by_step_size_and_tuning(data):
    runs = optimisers.runs_of(data, {}, "p")
    assert optimisers.common_step(runs) == 1e-3
    # SGD of another step is left out, an optimiser with a step of its own is not.
    assert {run.name for run in optimisers.same_step(runs)} == {
        "sgd", "nesterov", "nesterov_control", "restart", "newcomer",
    }  # fmt: skip
    assert [run.name for run in optimisers.tuned(runs)] == ["tuned_sgd"]


def test_controls_are_dashed_and_unknown_methods_have_a_style(data):
    styles = {run.name: run.style for run in optimisers.runs_of(data, {}, "p")}
    assert styles["nesterov_control"]["linestyle"] == "--"
    assert all(line != "--" for _, line, _ in plotting.METHODS.values())
    assert len({(s["color"], str(s["linestyle"])) for s in styles.values()}) >= 5
    assert styles["newcomer"]["color"] not in {colour for colour, _, _ in plotting.METHODS.values()}


def test_figures_of_optimisers_draw_whatever_is_listed(data):
    from matplotlib import pyplot as plt

    figure = load("fig08_optimisers_gaussian", "workflow_scripts/figures").draw(data, {"p/newcomer": "Newcomer"})
    drawn = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert {"Newcomer", "nesterov"} <= drawn
    assert len(figure.axes) == 6
    plt.close(figure)
    figure = load("fig09_optimisers_nonmonotone_spin3", "workflow_scripts/figures").draw(data, {})
    assert len(figure.axes) == 3  # no sweeps, no escapes
    plt.close(figure)


def test_the_effect_of_the_width_is_free_of_what_the_widths_share():
    rng = np.random.default_rng(5)
    widths = np.array([50.0, 100.0, 200.0, 400.0])
    noise = rng.normal(size=(1, 6, 30))  # of the samples, common to all widths
    risk = 1 + 0.1 * noise + 0.6 / widths[:, None, None] * (1 + 0.01 * rng.normal(size=(1, 6, 1)))
    effective, effect, slope = load("analyse_widths").width_effects(widths, risk)
    assert effective == pytest.approx([1 / (1 / 50 - 1 / 400), 1 / (1 / 100 - 1 / 400), 400])
    assert effect.mean == pytest.approx(0.6 / effective, rel=0.02)
    assert slope.mean == pytest.approx(-1, abs=1e-6)
    assert slope.low <= slope.mean <= slope.high
