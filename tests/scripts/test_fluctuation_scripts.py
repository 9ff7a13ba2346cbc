"""Scripts on rates, dependence, normal fluctuations and noisy SGD: labels, known values, figures, slips."""

import copy

import numpy as np
import pytest
import yaml
from conftest import ROOT, changed, load

from meanfield import config as configuration
from meanfield.errors import ConfigError
from meanfield.families import fluctuations, noisy

SCHEMA = ROOT / "schemas/config.schema.yaml"
NAME = "fluctuations"


def merged():
    base, tiny = (yaml.safe_load((ROOT / n).read_text(encoding="utf-8")) for n in ("config.yaml", "tests/tiny.yaml"))
    whole = configuration.merge(base, tiny)
    ours = {name: whole["experiments"][name] for name in (NAME, "noisy_sgd")}
    return {**whole, "experiments": ours, "figures": {"f": {"description": "f", "data": ["fluctuations/clt"]}}}


@pytest.fixture(scope="module")
def config():
    return configuration.check(merged(), SCHEMA)


@pytest.fixture(scope="module")
def ensembles(config):
    names = config["experiments"][NAME]["ensembles"]
    script = load("simulate_ensemble")
    return {name: script.run(**fluctuations.ensemble_parameters(config, NAME, name)) for name in names}


@pytest.fixture(scope="module")
def prediction(config):
    return load("solve_fluctuations").solve(**fluctuations.prediction_parameters(config, NAME))


@pytest.fixture(scope="module")
def analysed(config, ensembles, prediction):
    def settings(dataset):
        return fluctuations.analysis_parameters(config, NAME, dataset)

    return {
        "rates": load("analyse_rates").analyse(
            ensembles["widths"], ensembles["steps"], prediction, **settings("rates")
        ),
        "chaos": load("analyse_chaos").analyse(ensembles["balanced"], prediction, **settings("chaos")),
        "clt": load("analyse_clt").analyse(
            {"balanced": ensembles["balanced"]}, prediction, **settings("clt")
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def noise(config):
    runs = load("simulate_noisy").run(**noisy.run_parameters(config, "noisy_sgd"))
    limit = load("solve_noisy").solve(**noisy.limit_parameters(config, "noisy_sgd"))
    return load("analyse_noisy").analyse(runs, limit, **noisy.analysis_parameters(config, "noisy_sgd"))


def test_everything_has_labels(ensembles, prediction, analysed, noise):
    for dataset in (*ensembles.values(), prediction, *analysed.values(), noise):
        for name, variable in dataset.variables.items():
            assert variable.attrs["long_name"], name
            assert variable.attrs["units"] == "1"


def test_ensembles_have_the_shapes_of_the_configuration(ensembles):
    balanced = ensembles["balanced"]
    assert balanced["mean"].dims == ("function", "cell", "replicate", "record")
    assert balanced["neurons"].values.tolist() == [4, 8, 16]
    np.testing.assert_allclose(balanced["step_size"] * balanced["neurons"], 0.04)
    assert balanced["norm_2"].shape == (40, 1, 16)
    assert ensembles["steps"]["iteration"].values[:, -1].tolist() == [50, 25, 10]


def test_the_prediction_is_checked(prediction):
    assert float(prediction["linearisation_error"]) < 1e-3
    assert float(prediction["step_error"]) < 1e-2
    assert prediction["function"].values.tolist() == ["norm", "tanh_norm", "risk"]


def test_rates_are_those_of_the_errors(ensembles, prediction, analysed):
    rates, widths = analysed["rates"], ensembles["widths"]
    error = np.abs(widths["mean"].values[0] - prediction["mean"].values[0]).max(axis=2).mean(axis=1)
    np.testing.assert_allclose(rates["width_largest"].values[0], error, rtol=1e-12)
    slope = np.polyfit(np.log([8, 16, 32]), np.log(error), 1)[0]
    assert float(rates["norm_width_largest_slope"]) == pytest.approx(slope)
    expected = np.sqrt(
        prediction["initial_variance"].values[0, -1] / 8 + 1e-3 * prediction["data_variance"].values[0, -1]
    )
    assert rates["width_predicted"].values[0, 0] == pytest.approx(expected)
    assert rates["function"].values.tolist() == ["norm", "tanh_norm", "risk", "averaged_risk"]
    assert (rates["width_largest_low"] <= rates["width_largest"]).all()
    assert (rates["width_largest"] <= rates["width_largest_high"]).all()


def test_the_dependence_of_pairs_is_scaled_and_predicted(analysed, prediction):
    chaos = analysed["chaos"]
    np.testing.assert_allclose(chaos["scaled_covariance"], chaos["covariance"] * chaos["width"])
    variance = prediction["initial_variance"] + 0.04 * prediction["data_variance"] - prediction["spread"]
    np.testing.assert_allclose(chaos["expected"], variance.values[:2, -1])
    np.testing.assert_allclose(chaos["covariance_path"][:, :, -1], chaos["scaled_covariance"])


def test_variances_are_beside_their_predictions(ensembles, analysed, prediction):
    clt = analysed["clt"]
    values = np.sqrt(8) * (ensembles["balanced"]["mean"].values[0, 1, :, 2] - prediction["mean"].values[0, 2])
    assert clt["variance"].values[0, 1, 2] == pytest.approx(values.var(ddof=1))
    assert clt["bias"].values[0, 1, 2] == pytest.approx(values.mean())
    ratio = clt["variance"].values[0, 1, 2] / clt["predicted"].values[0, 1, 2]
    assert clt["ratio_at_time"].values[0, 1] == pytest.approx(ratio)
    assert ((clt["shapiro_p"] >= 0) & (clt["shapiro_p"] <= 1)).all()


def test_the_limit_with_noise_is_certified(noise):
    assert float(noise["largest_rise"]) <= 1e-10
    assert float(noise["smallest_mass"]) >= 0
    assert float(noise["mass_error"]) < 1e-11
    assert float(noise["stationary_residual"]) < 1e-10
    np.testing.assert_allclose(noise["limit_mass"].sum("cell"), 1)
    # The laws at the start are the same but for the sample.
    assert (noise["kolmogorov"].values[:, 0] < 0.3).all()


def between_iterations(config):
    """Return a configuration whose times are no multiples of the steps: 0.06 and 0.1 both fall on iteration 2."""
    changes = {
        "times": [0.0, 0.04, 0.06, 0.1, 0.5], "law_times": [0.06, 0.1, 0.5],
        "ensembles": {
            "widths": {"neurons": [8, 16], "step_sizes": [0.04], "replicates": 2, "directions": 2},
            "steps": {"neurons": [16], "step_sizes": [0.04, 0.05], "replicates": 2, "directions": 2},
            "balanced": {"neurons": [4, 8], "noise_ratio": 0.32, "replicates": 8, "directions": 2},
        },
        "analyse": {
            "rates": {"widths": "widths", "steps": "steps"},
            "chaos": {"ensemble": "balanced", "time": 0.5, "levels": 4},
            "clt": {"ensembles": ["balanced"], "time": 0.5, "quantiles": 4},
        },
    }  # fmt: skip
    block = {**config["experiments"][NAME], **changes}
    return {**config, "experiments": {**config["experiments"], NAME: block}}


def test_records_have_the_times_of_their_iterations_and_the_limit_is_compared_there(config):
    config = between_iterations(config)
    script = load("simulate_ensemble")
    widths, steps, balanced = (
        script.run(**fluctuations.ensemble_parameters(config, NAME, name)) for name in ("widths", "steps", "balanced")
    )
    assert widths["iteration"].values[0].tolist() == [0, 1, 2, 2, 12]
    for runs in (widths, steps, balanced):
        np.testing.assert_allclose(runs["time"], runs["iteration"] * runs["step_size"], rtol=1e-12)
        # What falls on one iteration is one look.
        again = np.diff(runs["iteration"].values, axis=1) == 0
        for name in ("risk", "averaged_risk"):
            assert (np.diff(runs[name].values.transpose(1, 0, 2), axis=2)[:, again] == 0).all()
    parameters = fluctuations.prediction_parameters(config, NAME)
    assert set(widths["time"].values.ravel()) | set(steps["time"].values.ravel()) <= set(parameters["times"])
    assert 0.06 not in parameters["times"]
    limit = load("solve_fluctuations").solve(**parameters)
    settings = {name: fluctuations.analysis_parameters(config, NAME, name) for name in ("rates", "chaos", "clt")}
    rates = load("analyse_rates").analyse(widths, steps, limit, **settings["rates"])
    # By hand: the mean norm of each record minus that of the limit at its own time.
    at = np.searchsorted(limit["time"].values, steps["time"].values[1] - 1e-9)
    np.testing.assert_allclose(limit["time"].values[at], [0, 0.05, 0.05, 0.1, 0.5])
    error = np.abs(steps["mean"].values[0, 1] - limit["mean"].values[0, at]).max(axis=1).mean()
    assert rates["step_largest"].values[0, 1] == pytest.approx(error, rel=1e-12)
    np.testing.assert_allclose(rates["law_time"], [0.08, 0.48])
    assert rates["wasserstein"].shape == (2, 2)
    # Steps of .08 and .04 meet at .48.
    chaos = load("analyse_chaos").analyse(balanced, limit, **settings["chaos"])
    clt = load("analyse_clt").analyse({"balanced": balanced}, limit, **settings["clt"])
    for found in (chaos, clt):
        assert float(found["shown_time"]) == pytest.approx(0.48)
        np.testing.assert_allclose(found["time"], [[0, 0, 0.08, 0.08, 0.48], [0, 0.04, 0.08, 0.08, 0.48]])
    shown = int(np.flatnonzero(np.isclose(limit["time"].values, 0.48))[0])
    assert clt["predicted"].values[0, 1, 4] == pytest.approx(
        (limit["initial_variance"] + 0.32 * limit["data_variance"]).values[0, shown]
    )


def test_widths_are_seen_next_to_the_time_of_the_comparison_but_not_at_the_start(config):
    config = between_iterations(merged())
    block = config["experiments"][NAME]
    block["ensembles"]["balanced"]["neurons"] = [4, 9]  # steps of 0.08 and 0.0356
    checked = configuration.check(copy.deepcopy(config), SCHEMA)
    runs = load("simulate_ensemble").run(**fluctuations.ensemble_parameters(checked, NAME, "balanced"))
    np.testing.assert_allclose(runs["time"][:, -1], [0.48, 14 * 0.32 / 9])
    limit = load("solve_fluctuations").solve(**fluctuations.prediction_parameters(checked, NAME))
    found = load("analyse_chaos").analyse(runs, limit, **fluctuations.analysis_parameters(checked, NAME, "chaos"))
    assert float(found["shown_time"]) == pytest.approx(14 * 0.32 / 9)
    block["analyse"]["chaos"]["time"] = block["analyse"]["clt"]["time"] = 0.06
    block["ensembles"]["balanced"]["noise_ratio"] = 0.6
    with pytest.raises(ConfigError) as caught:
        configuration.check(config, SCHEMA)
    assert (
        "analyse.chaos.time: 0.06 found, but of 4 neurons in balanced, with steps of 0.15, the iteration next to it is "
        "the start; a later one needed"
    ) in str(caught.value)


def test_times_on_iterations_are_left_as_they_are(config):
    block = config["experiments"][NAME]
    assert fluctuations.prediction_parameters(config, NAME)["times"] == block["times"]
    assert noisy.limit_parameters(config, "noisy_sgd")["times"] == config["experiments"]["noisy_sgd"]["times"]


def test_noisy_runs_are_compared_at_the_times_of_their_iterations(config):
    block = config["experiments"]["noisy_sgd"]
    block = {
        **block, "times": [0.0, 0.04, 0.06, 0.1, 0.5], "inverse_temperatures": [10.0],
        "simulate": {**block["simulate"], "last_time": 0.5, "step_size": 0.04},
    }  # fmt: skip
    config = {**config, "experiments": {"noisy_sgd": block}}
    runs = load("simulate_noisy").run(**noisy.run_parameters(config, "noisy_sgd"))
    assert runs["time"].values.tolist() == [0.0, 0.04, 0.08, 12 * 0.04]
    parameters = noisy.limit_parameters(config, "noisy_sgd")
    assert parameters["times"] == [0.0, 0.04, 0.06, 0.08, 0.1, 0.48, 0.5]
    limit = load("solve_noisy").solve(**parameters)
    found = load("analyse_noisy").analyse(runs, limit, **noisy.analysis_parameters(config, "noisy_sgd"))
    difference = runs["risk"].values[0].mean(axis=0) - limit["risk"].values[0, 0, [0, 1, 3, 5]]
    np.testing.assert_allclose(found["risk_difference"].values[0], difference, rtol=1e-12)
    np.testing.assert_array_equal(found["limit_mass"][0], limit["mass"][0, 0, [0, 1, 3, 5]])


@pytest.mark.parametrize("figure", ["convergence_rate", "propagation_of_chaos", "clt", "noisy_sgd"])
def test_figures_draw(figure, analysed, noise):
    from matplotlib import pyplot as plt

    datasets = {
        "convergence_rate": analysed["rates"], "propagation_of_chaos": analysed["chaos"], "clt": analysed["clt"],
        "noisy_sgd": noise,
    }  # fmt: skip
    drawn = load(f"ext_{figure}", "workflow_scripts/figures").draw(datasets[figure])
    drawn.canvas.draw()
    plt.close(drawn)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("fluctuations.problem.activation", "rising_rampp", "did you mean 'rising_ramp'?"),
        ("fluctuations.times", [0.1, 0.2], "must begin with 0 and increase strictly"),
        ("fluctuations.law_times", [0.04], "law_times.0: 0.04 found, which is none of"),
        ("fluctuations.ensembles.balanced.step_sizes", [0.1], "exactly one of step_sizes, noise_ratio needed"),
        ("fluctuations.ensembles.widths.neurons", [8, 8], "neurons: [8, 8] found; they must increase strictly"),
        ("fluctuations.ensembles.widths.step_sizes", [1.0], "a step size of 1 found, at most the last time, 0.05"),
        ("fluctuations.ensembles.steps.step_sizes", [1.0e-16], "updates of a neuron; fewer are needed"),
        ("fluctuations.analyse.rates.widths", "balanced", "noise_ratio found, one with step_sizes needed"),
        ("fluctuations.analyse.rates.steps", "widths", "several step_sizes and nothing else varied is needed"),
        ("fluctuations.analyse.chaos.ensemble", "balancd", "did you mean 'balanced'?"),
        ("fluctuations.analyse.clt.time", 0.02, "clt.time: 0.02 found, which is none of law_times"),
        ("fluctuations.test_functions", ["cube"], "allowed: norm, squared_norm, tanh_norm, cosine_norm, bump_norm"),
        ("noisy_sgd.simulate.initial_law", "narrow", "known: standard, wide"),
        ("noisy_sgd.simulate.last_time", 0.07, "last_time: 0.07 found, which is none of"),
        ("noisy_sgd.inverse_temperatures", [50.0, 10.0], "they must increase strictly"),
        ("noisy_sgd.regularisation", 0.0, "at least 0.0001 needed"),
    ],
)
def test_a_slip_is_named(path, value, words):
    config = merged()
    config["experiments"] = changed(config["experiments"], path, value)
    with pytest.raises(ConfigError) as caught:
        configuration.check(config, SCHEMA)
    assert words in str(caught.value)
