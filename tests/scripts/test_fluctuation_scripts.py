"""Scripts on rates, dependence, normal fluctuations and noisy SGD: labels, known values, figures, slips."""

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
