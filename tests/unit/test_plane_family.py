"""What the configuration of a potential on the plane may say, and the line that a slip gets."""

import re
from pathlib import Path

import pytest
import yaml
from conftest import changed

from meanfield import config as configuration
from meanfield.errors import ConfigError
from meanfield.families import plane

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "schemas/config.schema.yaml"


@pytest.fixture(scope="module")
def base():
    whole = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    ours = {name: whole["experiments"][name] for name in ("muller_brown", "narrow_well")}
    figure = {"description": "f", "data": ["muller_brown/minima"]}
    return configuration.check({**whole, "experiments": ours, "figures": {"f": figure}}, SCHEMA)


MB = "experiments.muller_brown"
RUN = f"{MB}.simulate.mf_homsgld.phases.0"
HEAT = f"{MB}.simulate.heat_weak.phases.0"
ENTROPY = f"{MB}.simulate.local_entropy.phases.0"
INNER = f"{MB}.simulate.inner_langevin_restart.phases.0"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (f"{MB}.starts", 10005, "agents: 100 found, which does not divide starts = 10005"),
        (f"{MB}.start", 10, "unknown key 'start' (did you mean 'starts'?)"),
        (f"{MB}.window", [1.0, 0.0, 0.0, 1.0], "window: [1.0, 0.0, 0.0, 1.0] found; least x < greatest x"),
        (f"{MB}.domain", [-1.0, 1.0, -1.0, 1.0], "domain: [-1.0, 1.0, -1.0, 1.0] found; it must contain the window"),
        (f"{MB}.problem", {"kind": "narrow_well", "depth": 1.0}, "key 'centre' is missing, which narrow_well needs"),
        (f"{MB}.problem.width", 0.1, "problem: unknown key 'width'; muller_brown takes: none"),
        (f"{MB}.problem", {"kind": "plane_terms", "terms": [[1.0, 2.0]]}, "problem.terms.0"),
        (f"{MB}.problem.kind", "muller_braun", "'muller_braun' found (did you mean 'muller_brown'?)"),
        (f"{RUN}.method", "mf_homsgd", "'mf_homsgd' found (did you mean 'mf_homsgld'?); known: affine_langevin"),
        (f"{RUN}.hyperparameters.agent", 3, "unknown key 'agent' (did you mean 'agents'?)"),
        (f"{RUN}.hyperparameters.attraction", 5.0, "attraction: 5.0 found; less than (2/ratio - 1)/scope = 5 needed"),
        (f"{RUN}.gradient_noise", 1.0, "mf_homsgld takes neither smoothing nor gradient_noise"),
        (f"{RUN}.iterations", 0, "iterations: 0 found, at least 1 needed"),
        (f"{HEAT}.smoothing", {"kind": "heat"}, "smoothing: key 'variance' is missing, which heat needs"),
        (f"{HEAT}.smoothing.variance", 0.6, "smoothing.variance: 0.6 found, less than 0.5 needed"),
        (f"{HEAT}.smoothing.time", 0.6, "smoothing: unknown key 'time'; heat takes: variance"),
        (f"{HEAT}.smoothing.kind", "head", "'head' found (did you mean 'heat'?)"),
        (f"{ENTROPY}.smoothing.temperature", 0.0, "smoothing.temperature: 0.0 found, more than 0 needed"),
        (f"{ENTROPY}.smoothing.spacing", 3.0e-4, "nodes along an axis; at most 4000 allowed"),
        (f"{INNER}.smoothing.burn_in", 200, "burn_in: 200 found, less than inner_steps = 200 needed"),
        (f"{INNER}.hyperparameters.scheme", "function", "function found, but inner_langevin knows no values"),
        (f"{MB}.simulate.langevin.phases.0.hyperparameters.regularisation", 0.1, "0.1 found, 0 needed on the plane"),
        (f"{MB}.trajectories.runs", ["nestrov"], "'nestrov' found (did you mean 'nesterov'?)"),
        (f"{MB}.sensitivity.runs", ["x"], "sensitivity.runs: 'x' found"),
        (f"{MB}.sensitivity.compared", ["langevin", "x"], "sensitivity.compared: 'x' found"),
        (f"{MB}.sensitivity.starts", 15, "agents: 10 found, which does not divide sensitivity.starts = 15"),
        (f"{MB}.smoothing.shown", [0.5], "smoothing.shown.0: 0.5 found, which is not between"),
        (f"{MB}.smoothing.shown", [0.002, 0.001, 0.01], "they must increase strictly"),
        (f"{MB}.smoothing.times.greatest", 1.0e-5, "greatest: 1e-05 found, more than least = 0.0001 needed"),
        (f"{MB}.smoothing.checked_variances", [0.5], "checked_variances.0: 0.5 found, less than 0.5 needed"),
        (f"{MB}.smoothing.checked_variances", [1.0e-6], "checked_variances.0: 1e-06 found, at least 2.92e-05 needed"),
        (f"{MB}.analyse.histogram_range", [0.0, -1.0], "histogram_range: [0.0, -1.0] found; they must increase"),
        ("figures.f.data", ["muller_brown/minimum"], "'minimum' of 'muller_brown/minimum' is unknown"),
        ("figures.f.data", ["narrow_well/sensitivity"], "'sensitivity' of 'narrow_well/sensitivity' is unknown"),
    ],
)
def test_a_slip_is_named(base, path, value, words):
    with pytest.raises(ConfigError) as caught:
        configuration.check(changed(base, path, value), SCHEMA)
    assert words in str(caught.value)
    for line in str(caught.value).splitlines():
        assert line.startswith("config: ")


def test_runs_come_in_the_order_they_say(base):
    labels = plane.labels(base, "muller_brown", "minima")
    assert next(iter(labels)) == "gradient_descent"
    assert list(labels)[-1] == "mf_homsgld_annealed"
    chosen = plane.labels(base, "muller_brown", "trajectories")
    assert list(chosen) == [name for name in labels if name in chosen]


def test_noisy_runs_have_the_same_budget(base):
    # Gradients per start of the methods that are compared at equal budget.
    from meanfield import registry

    for experiment, budget in (("muller_brown", 24000), ("narrow_well", 96000)):
        for name in ("noisy_descent", "entropy_sgd", "inner_langevin_restart", "langevin", "langevin_annealed",
                     "informed_langevin", "informed_affine", "homsgld", "mf_homsgld", "homsgld_annealed",
                     "mf_homsgld_annealed"):  # fmt: skip
            spent = 0
            for phase in base["experiments"][experiment]["simulate"][name]["phases"]:
                module = registry.load(registry.PLANE_METHODS, phase["method"])
                each = module.evaluations(module.Hyperparameters(**phase["hyperparameters"])) / plane.agents_of(phase)
                spent += each * phase.get("smoothing", {}).get("inner_steps", 1) * phase["iterations"]
            assert spent == budget, (experiment, name)


def test_any_sum_of_terms_is_a_potential(base):
    problem = {"kind": "plane_terms", "terms": [[-1.0, -1.0, 0.0, -1.0, 0.0, 0.0]]}
    config = configuration.check(changed(base, f"{MB}.problem", problem), SCHEMA)
    assert plane.simulation_parameters(config, "muller_brown", "langevin")["problem"] == problem
    assert plane.datasets(config["experiments"]["muller_brown"]) == [
        "surface", "minima", "smoothing", "sensitivity", "trajectories",
    ]  # fmt: skip


def test_every_dataset_that_the_report_reads_belongs_to_a_figure(configuration):
    # The report's numbers come from the datasets of figures; one that no figure lists would leave dashes.
    listed = {name for figure in configuration["figures"].values() for name in figure["data"]}
    section = (ROOT / "report/sections/80_landscapes.typ").read_text(encoding="utf-8")
    read = set(re.findall(r'analysis, (?:name|standard) \+ "/([a-z_]+)"', section))
    assert read == {"minima", "surface", "smoothing", "sensitivity"}
    for name in ("muller_brown", "narrow_well"):
        assert {f"{name}/{part}" for part in read if part in plane.datasets(configuration["experiments"][name])} - {
            "narrow_well/sensitivity"
        } <= listed
