"""The digits' part of the configuration: what is refused, and what follows from what is accepted."""

import copy
from pathlib import Path

import pytest
from conftest import changed

from meanfield import config as checked
from meanfield.errors import ConfigError
from meanfield.families import digits as family
from meanfield.families.common import simulation_chunks

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "schemas/config.schema.yaml"


@pytest.fixture(scope="module")
def base():
    return checked.load_config(ROOT / "config.yaml", schema=SCHEMA)


RUN = "experiments.digits.simulate.n1000"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (
            "data.digits.source",
            "minst",
            "source: 'minst' found (did you mean 'mnist'?); allowed: auto",
        ),
        ("data.digits.mirrors", ["ftp://x"], "data.digits.mirrors.0: 'ftp://x' found; it must match"),
        ("data.digits.test_share", 1.0, "data.digits.test_share: 1.0 found, less than 1 needed"),
        ("data.digits.checksums", {"a": {"content": "xyz"}}, "data.digits.checksums.a.content: 'xyz' found"),
        (f"{RUN}.activation", "tanhh", "simulate.n1000.activation: 'tanhh' found"),
        (f"{RUN}.labels", {"rule": "one_digit", "digit": 10}, "labels.digit: 10 found, at most 9 needed"),
        (f"{RUN}.labels", {"rule": "odd", "digit": 1}, "labels.rule: 'odd' found; allowed: one_digit, parity"),
        (f"{RUN}.neurons", 1, "neurons: 1 found, at least 2 needed"),
        (f"{RUN}.rate", 0, "rate: 0 found, more than 0 needed"),
        (f"{RUN}.method", "adam", "simulate.n1000.method: 'adam' found"),
        (f"{RUN}.hyperparameters", {"momentum": 0.9}, "unknown key 'momentum'; sgd takes: none"),
        (f"{RUN}.horizon", 1.0e6, None),
        ("experiments.digits.simulate.n10000.horizon", 1.0e6 + 1, "horizon: 1000001.0 found, at most 1000000 needed"),
        ("experiments.digits.problem.activation", "swish", "problem.activation: 'swish' found"),
        ("experiments.digits.compared_widths", ["n100", "n50"], "widths: 'n50' found"),
        ("experiments.digits.compared_widths", ["n300", "n100"], "widths: simulations of [300, 100] neurons found"),
        ("experiments.digits.compared_widths", ["n300"], "widths: ['n300'] found, a length of at least 2 needed"),
        ("figures.ext_digit_weights.data", ["digits/n17"], "'n17' of 'digits/n17' is unknown"),
        ("figures.ext_digit_weights.data", ["digits_choices/widths"], "'widths' of 'digits_choices/widths' is unknown"),
    ],
)
def test_a_slip_is_one_line(base, path, value, words):
    config = changed(base, path, value)
    if words is None:
        checked.check(config, SCHEMA)
        return
    with pytest.raises(ConfigError) as caught:
        checked.check(config, SCHEMA)
    lines = str(caught.value).splitlines()
    assert any(words in line for line in lines), lines
    assert all(line.startswith("config: ") for line in lines)


def test_a_run_without_end_is_refused(base):
    config = changed(base, f"{RUN}.neurons", 1_000_000)
    config["experiments"]["digits"]["simulate"]["n1000"]["horizon"] = 1.0e5
    config["experiments"]["digits"].pop("compared_widths")
    config["figures"].pop("fig07_digit_histograms")
    with pytest.raises(ConfigError, match=r"n1000: horizon \* neurons = 1e\+11 gradients found, at most 1e\+10 needed"):
        checked.check(config, SCHEMA)


def test_a_simulation_may_not_take_a_reserved_name(base):
    config = changed(base, "experiments.digits.simulate.widths", base["experiments"]["digits"]["simulate"]["n100"])
    with pytest.raises(ConfigError, match="simulate: the name 'widths' is reserved"):
        checked.check(config, SCHEMA)


def test_digits_need_to_know_where_they_come_from(base):
    config = copy.deepcopy(base)
    config.pop("data")
    with pytest.raises(ConfigError, match=r"experiments\.digits: the key 'data' of the configuration is missing"):
        checked.check(config, SCHEMA)


def test_parameters_of_a_job_hold_what_decides_it_and_nothing_else(base):
    mine = family.simulation_parameters(base, "digits_choices", "sigmoid_parity")
    assert mine["activation"]["kind"] == "logistic"
    assert mine["labels"]["rule"] == "parity"
    assert mine["iterations"] == 20_000
    inherited = family.simulation_parameters(base, "digits", "n1000")
    assert inherited["activation"]["kind"] == "tanh"
    assert inherited["labels"] == {"rule": "one_digit", "digit": 0}
    other = changed(base, "experiments.digits.simulate.n300.horizon", 7.0)
    other["data"]["digits"]["source"] = "uci"
    other["experiments"]["digits"]["analyse"]["dip_draws"] = 99
    assert family.simulation_parameters(other, "digits", "n1000") == inherited
    assert "folders" not in family.source_parameters(base)


def test_replicates_are_cut_as_the_simulation_says(base):
    assert [list(part) for part in simulation_chunks(base, "digits", "n10000")] == [[0], [1], [2]]
    assert [list(part) for part in simulation_chunks(base, "digits", "n3000")] == [[0, 1], [2, 3]]
    config = copy.deepcopy(base)
    config["experiments"]["digits"]["simulate"]["n3000"].pop("replicates_per_job")
    assert len(simulation_chunks(config, "digits", "n3000")) == 4  # the global number is one
