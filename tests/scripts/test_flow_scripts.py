"""Scripts of the flows of measures and of the multiscale method: labels, and values known in closed form."""

import copy

import numpy as np
import pytest
import yaml
from conftest import ROOT, load

from meanfield import config as configuration
from meanfield.errors import ConfigError, DataError, DivergenceError
from meanfield.families import multiscale, sampling
from meanfield.sampling import targets

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


MINE = {
    "order": 1, "label": "m", "kind": "gaussian", "condition": 3.0, "start_mean": [2.0, 1.0],
    "start_variance": [0.5, 2.0], "horizon": 1.0, "step_sizes": {"wasserstein": 0.19, "affine": 0.15},
    "gaussian_steps": 7,
}  # fmt: skip


def mine(changes=None, **others):
    # The experiment with one target and nothing more than is needed.
    config = merged()
    block = config["experiments"]["sampling"]
    block.update(others)
    block["targets"] = {"mine": {**MINE, **(changes or {})}}
    return load("run_flows").run(sampling.flow_parameters(configuration.check(config, SCHEMA), "sampling"))


def divergence(k, shift):
    return 0.5 * ((k - 1 - np.log(k)).sum(axis=-1) + (shift**2).sum(axis=-1))


def test_states_are_at_the_times_of_their_labels():
    # Neither 0.19, 0.15 nor 1/7 divides the interval 0.2: each takes two steps of 0.1 there.
    found = mine({"start_mean": [20.0, 10.0]}, particles=400, replicates=10).sel(target="mine")
    t, c, c0, m0 = found["time"].values[:, None], np.array([1.0, 3.0]), np.array([0.5, 2.0]), np.array([20.0, 10.0])
    assert t[:, 0].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    exact = {"wasserstein": divergence(1 + np.exp(-2 * t / c) * (c0 / c - 1), np.exp(-t / c) * m0 / np.sqrt(c))}
    for flow, share in (("affine", np.exp(-2 * t)), ("fisher_rao", np.exp(-t))):
        k = 1 / (1 + share * (c / c0 - 1))
        factor = np.sqrt(share * k * c / c0) if flow == "affine" else share * k * c / c0
        exact[flow] = divergence(k, factor * m0 / np.sqrt(c))
    for flow, expected in exact.items():
        np.testing.assert_allclose(found["divergence"].sel(flow=f"gaussian_{flow}"), expected, rtol=1e-4, err_msg=flow)
    # Euler's method has closed forms too: of the mean the factor 1 - h/c a step.
    steps = np.arange(0, 11, 2)[:, None]
    mean = np.sqrt(((((1 - 0.1 / c) ** steps) * m0) ** 2 / c).sum(axis=-1))
    np.testing.assert_allclose(found["mean"].sel(flow="particles_wasserstein"), mean, rtol=0.01)
    # Of the affine flow: m <- (1 - h C/c) m and C <- (1 - h C/c)^2 C + 2 h C, but for terms of order 1/J.
    m, v, curve = m0, c0, []
    for step in range(11):
        if step % 2 == 0:
            curve.append(np.sqrt((m**2 / c).sum()))
        m, v = (1 - 0.1 * v / c) * m, (1 - 0.1 * v / c) ** 2 * v + 0.2 * v
    # The covariances' noise adds up: only the first records are that sharp.
    np.testing.assert_allclose(found["mean"].sel(flow="particles_affine")[:3], curve[:3], rtol=0.01)


def test_fewer_gaussian_steps_than_records_are_enough():
    found = mine({"gaussian_steps": 3})["divergence"].sel(target="mine", flow="gaussian_wasserstein")
    assert found.sizes["record"] == 6
    assert np.isfinite(found).all()


def test_one_muller_brown_target_is_enough():
    config = merged()
    block = config["experiments"]["sampling"]
    whole = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    wells = whole["experiments"]["sampling"]["targets"]["wells"]
    block["targets"] = {"wells": {**wells, "horizon": 0.05, "gaussian_steps": 10}}
    found = load("run_flows").run(sampling.flow_parameters(configuration.check(config, SCHEMA), "sampling"))
    assert np.isfinite(found["divergence"].sel(target="wells")).all()
    assert (found["invariance_gap"].sel(moved="affine") < 1e-8).all()
    assert (found["invariance_gap"].sel(moved="wasserstein") > 1e-8).all()
    from matplotlib import pyplot as plt

    drawn = load("ext_sampling_flows", "workflow_scripts/figures").draw(found)
    drawn.canvas.draw()
    plt.close(drawn)


def test_the_check_of_invariance_shortens_its_steps_where_a_map_stretches():
    # Curvature 100 becomes 10^4 under this map: the largest stable step is 2e-4.
    base = targets.Gaussian(np.zeros(2), np.diag([1.0, 0.01]))
    starts, matrix = np.random.default_rng(0).normal(size=(2, 10, 2)), np.diag([1.0, 0.1])
    pairs = ((base, starts), (targets.Mapped(base, matrix, np.ones(2)), starts @ matrix + 1))
    assert 1e-3 < load("run_flows")._gap(pairs, "wasserstein", 1e-3, 0) < np.inf
    assert load("run_flows")._gap(pairs, "affine", 1e-3, 0) < 1e-9


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"condition": 0.01, "horizon": 5.0, "step_sizes": {"wasserstein": 0.05, "affine": 0.01}},
            r"^sampling, target 'mine', flow wasserstein: the particles diverged by time [\d.]+; likely cause: "
            r"targets\.mine\.step_sizes\.wasserstein = 0\.05 is too large$",
        ),
        (
            {"start_variance": [1000.0, 1000.0]},
            r"flow affine: the particles diverged .* targets\.mine\.step_sizes\.affine = 0\.15 is too large$",
        ),
        (
            {"condition": 0.01, "horizon": 0.51, "step_sizes": {"wasserstein": 0.0204, "affine": 0.005}},
            r"^sampling, target 'mine', flow wasserstein: the particles' steps of 0\.0204 are unstable, at most 0\.02 "
            r"needed; likely cause: targets\.mine\.step_sizes\.wasserstein = 0\.0204 is too large$",
        ),
        (
            {"condition": 1.0, "start_variance": [1.0, 1.0], "horizon": 15.0, "gaussian_steps": 5},
            r"^sampling, target 'mine', flow wasserstein: the moment equations' divergence rises by time 3; likely "
            r"cause: targets\.mine\.gaussian_steps = 5 are too few$",
        ),
        (
            {"condition": 3.0, "start_variance": [1000.0, 1000.0], "step_sizes": {"wasserstein": 0.1, "affine": 1e-3},
             "gaussian_steps": 20},
            r"^sampling, target 'mine', flow \w+: the moment equations diverged by time [\d.]+; likely cause: "
            r"targets\.mine\.gaussian_steps = 20 are too few$",
        ),
        (
            {"kind": "muller_brown", "temperature": 20.0, "box": [-3.5, 2.5, -2.2, 4.0], "condition": None,
             "start_mean": [900.0, 900.0]},
            r"^sampling, target 'mine': the gradient of the potential is not finite at the start; likely cause: "
            r"targets\.mine\.start_mean or start_variance is too large$",
        ),
    ],
    ids=["particles", "affine particles", "slowly", "moments slowly", "moments", "start"],
)  # fmt: skip
def test_divergence_is_one_line_with_its_key(changes, words, monkeypatch):
    if changes.get("condition", 0) is None:
        changes = {key: value for key, value in changes.items() if key != "condition"}
        monkeypatch.delitem(MINE, "condition")
    with pytest.raises(DivergenceError, match=words):
        mine(changes)


def test_a_wide_start_works_with_enough_steps():
    changes = {"start_variance": [1e3, 1e3], "step_sizes": {"wasserstein": 0.1, "affine": 1e-3}, "gaussian_steps": 2000}
    found = mine(changes)
    assert np.isfinite(found["relaxation_time"]).all()
    assert np.isfinite(found["divergence"].sel(flow="gaussian_fisher_rao")).all()


def test_the_longest_step_may_be_the_interval_up_to_rounding():
    # Three steps of 0.1 are a bit more than 0.3.
    mine({"horizon": 0.3, "step_sizes": {"wasserstein": 0.1, "affine": 0.1}}, records=3)


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


def studied(config, changes):
    """Return the study of the multiscale method with some settings changed, by their keys."""
    parameters = copy.deepcopy(multiscale.hmm_parameters(config, "multiscale"))
    for key, value in changes.items():
        *parents, last = key.split(".")
        block = parameters["settings"]
        for part in parents:
            block = block[part]
        block[last] = value
    return load("solve_multiscale").study(**parameters)


def test_macro_steps_are_those_taken(config):
    # Of .5, steps of .2 and .14 make two and four of .25 and .125.
    found = studied(config, {"horizon": 0.5, "macro_steps": [0.2, 0.14], "replicates": 2})
    assert found["macro_step"].values.tolist() == [0.25, 0.125]
    assert found["hmm_cost"].values[0].tolist() == [32, 64]
    expected = np.log2(found["euler_error"].values[0] / found["euler_error"].values[1])
    assert float(found["order_macro"]) == pytest.approx(expected, rel=1e-12)
    assert 0.7 < expected < 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"plane.temperature": 0.001},
            "experiments.multiscale.plane.temperature: 0.001 found, at least 0.00576 needed for the grid of the window "
            "at time = 0.2",
        ),
        (
            {"plane.micro_step": 0.5},
            "experiments.multiscale.plane.micro_step: 0.5 found, less than 0.000491 needed at time = 0.2: with longer "
            "ones the inner steps grow in the minima",
        ),
        (
            {"relaxations": [0, 300]},
            "experiments.multiscale.relaxations: [0, 300] found, but the memory of the start stands out from the noise "
            "at fewer than two of them; shorter ones or more force_replicates needed",
        ),
        (
            {"start": 2.0, "fast_start": 10.0, "horizon": 2.0, "macro_steps": [0.2, 0.1]},
            "experiments.multiscale.macro_steps: [0.2, 0.1] found, with which the largest mean deviation from the "
            "limit, multiscale is not finite; less is needed",
        ),
    ],
)
def test_what_is_not_finite_or_noise_alone_is_one_line(config, changes, words):
    with pytest.raises(DataError) as caught:
        studied(config, changes)
    assert str(caught.value) == words


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
        (
            "multiscale.macro_steps",
            [0.11, 0.09],
            "macro_steps.1: 0.09 found, but steps are whole shares of horizon = 0.4",
        ),
        ("multiscale.estimator.micro_step", 1.0, "estimator.micro_step: 1.0 found, less than 1 needed"),
        *(
            (f"multiscale.{name}", [value, value], f"{name}: [{value}, {value}] found; entries must differ")
            for name, value in (
                ("scales", 0.01),
                ("macro_steps", 0.1),
                ("micro_steps", 0.1),
                ("averagings", 10),
                ("relaxations", 0),
                ("plane.averagings", 50),
            )
        ),
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
