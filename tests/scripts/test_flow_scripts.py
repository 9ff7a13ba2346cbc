"""Scripts of the flows of measures and of the multiscale method: labels, and values known in closed form."""

import numpy as np
import pytest
import yaml
from conftest import ROOT, load

from meanfield import config as configuration
from meanfield.errors import ConfigError
from meanfield.families import multiscale, sampling

SCHEMA = ROOT / "schemas/config.schema.yaml"


def merged():
    base, tiny = (yaml.safe_load((ROOT / n).read_text(encoding="utf-8")) for n in ("config.yaml", "tests/tiny.yaml"))
    whole = configuration.merge(base, tiny)
    ours = {name: whole["experiments"][name] for name in ("sampling", "multiscale")}
    return {**whole, "experiments": ours, "figures": {"f": {"description": "f", "data": ["sampling/flows"]}}}


@pytest.fixture(scope="module")
def config():
    return configuration.check(merged(), SCHEMA)


@pytest.fixture(scope="module")
def flows(config):
    return load("run_flows").run(sampling.flow_parameters(config, "sampling"))


@pytest.fixture(scope="module")
def hmm(config):
    return load("solve_multiscale").study(**multiscale.hmm_parameters(config, "multiscale"))


def test_flows_have_labels_and_known_values(flows):
    assert flows["divergence"].dims == ("target", "flow", "record")
    assert list(flows["target"].values) == ["round", "banana"]
    for variable in flows.variables.values():
        assert variable.attrs["long_name"]
        assert variable.attrs["units"] == "1"
    # At the start: N((10, 10), diag(.5, 2)) against N(0, I).
    start = flows["divergence"].sel(target="round", flow="gaussian_affine").values[0]
    assert start == pytest.approx(0.5 * (2.5 - 2 - np.log(1.0) + 200))
    # Ornstein and Uhlenbeck at t = 1.
    found = flows["divergence"].sel(target="round", flow="gaussian_wasserstein").values[-1]
    c = 1 + np.exp(-2) * (np.array([0.5, 2.0]) - 1)
    assert found == pytest.approx(0.5 * (c.sum() - 2 - np.log(c).sum() + 200 * np.exp(-2)), rel=1e-6)
    assert np.isnan(flows["divergence"].sel(target="round", flow="density_fisher_rao")).all()
    assert np.isfinite(flows["divergence"].sel(target="banana", flow="density_fisher_rao")).all()


def test_only_one_flow_of_particles_is_invariant(flows):
    assert (flows["invariance_gap"].sel(moved="affine") < 1e-10).all()
    assert (flows["invariance_gap"].sel(moved="wasserstein") > 1e-6).all()


def test_conditioning_slows_one_flow_alone(flows):
    times = flows["relaxation_time"]
    assert times.sel(scheme="wasserstein", condition=100.0) > 10 * times.sel(scheme="wasserstein", condition=1.0)
    assert times.sel(scheme="affine", condition=100.0) < 1.5 * times.sel(scheme="affine", condition=1.0)


def test_the_multiscale_study_has_labels_and_known_values(hmm):
    for name, variable in hmm.variables.items():
        assert variable.attrs["long_name"], name
        assert variable.attrs["units"] == "1"
    assert hmm["hmm_error"].dims == ("estimator", "macro_step")
    # Four and eight macro steps of 16 micro steps.
    assert hmm["hmm_cost"].values[0].tolist() == [64, 128]
    assert hmm["direct_cost"].values.tolist() == [40, 80]
    # -3 (1/(2 - lambda) - 1/2) at lambda = .4.
    assert hmm["force_bias_exact"].values[0] == pytest.approx(-3 * (1 / 1.6 - 0.5))
    assert float(hmm["memory_rate_exact"]) == pytest.approx(np.log(0.9))
    assert ((hmm["escape_share"] >= 0) & (hmm["escape_share"] <= 1)).all()


@pytest.mark.parametrize("figure", ["ext_sampling_flows", "ext_multiscale"])
def test_figures_draw(figure, flows, hmm):
    from matplotlib import pyplot as plt

    drawn = load(figure, "workflow_scripts/figures").draw(flows if figure == "ext_sampling_flows" else hmm)
    drawn.canvas.draw()
    plt.close(drawn)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("sampling.targets.banana.stiffness", None, "key 'stiffness' is missing, which banana needs"),
        ("sampling.targets.round.stiffness", 1.0, "'stiffness' found, which gaussian does not take"),
        ("sampling.targets.banana.box", [1.0, 0.0, 0.0, 1.0], "box: [1.0, 0.0, 0.0, 1.0] found; least x < greatest x"),
        ("sampling.targets.round.step_sizes.affine", 0.5, "step_sizes.affine: 0.5 found, at most horizon / records"),
        ("sampling.particles", 3, "particles: 3 found, at least 4 needed"),
        (
            "multiscale.plane.budget",
            90,
            "averagings.1: 50 found, but burn_in and averaging must fit into the budget 90",
        ),
        ("multiscale.macro_steps", [0.1, 0.3], "macro_steps.1: 0.3 found, at most 0.2 needed"),
        ("multiscale.horizon", 0.08, "macro_steps.0: 0.1 found, at most horizon = 0.08 needed"),
    ],
)
def test_a_slip_is_named(path, value, words):
    config = merged()
    *parents, last = path.split(".")
    block = config["experiments"]
    for part in parents:
        block = block[part]
    block[last] = value
    with pytest.raises(ConfigError) as caught:
        configuration.check(config, SCHEMA)
    assert words in str(caught.value)
