"""The family of networks: what its checks refuse, and what it makes of a block of the configuration."""

import copy
import functools
import shutil
from pathlib import Path

import numpy as np
import pytest

from meanfield import config as configuration
from meanfield.errors import ConfigError
from meanfield.families import networks
from meanfield.families.common import record_iterations, simulation_chunks
from meanfield.workflow import code_digest

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "schemas/config.schema.yaml"


@pytest.fixture(scope="module")
def small():
    # The overlay of the workflow tests has every kind of entry and few of each.
    return configuration.load_config(ROOT / "config.yaml", [ROOT / "tests/tiny.yaml"], schema=SCHEMA)


def changed(config, changes):
    config = copy.deepcopy(config)
    for path, value in changes.items():
        *parents, last = path.split(".")
        block = config["experiments"]
        for part in parents:
            block = block.setdefault(part, {})
        block[last] = value
    return config


SWEEP = {
    "method": "sgd", "grid": {"step_size": [1.0e-3]}, "evaluations": 10, "replicates": 2, "first_replicate": 50,
    "precision": "float64",
}  # fmt: skip
RUN = {"iterations": 10, "replicates": 2, "records_per_decade": 2, "precision": "float64", "snapshots": {"final": 10}}
STUDY = {
    "method": "sgd", "hyperparameters": {}, "step_size": 1.0e-3, "iterations": 10, "records_per_decade": 2,
    "neurons": [10, 20], "replicates": 2, "first_replicate": 0, "precision": "float64",
}  # fmt: skip
RESTART = {"method": "nesterov_restart", "hyperparameters": {"scheme": "none", "inverse_condition": 0.0}}
VOLUME = {
    "solver": "finite_volume", "limit": "finite", "horizon": 10.0, "records_per_decade": 4, "cells_per_deviation": 4.0,
    "courant": 0.4,
}  # fmt: skip
ATOMS = {"limit": "finite", "horizon": 10.0, "records_per_decade": 4, "atoms": 40, "relative_tolerance": 1.0e-4}
NEW = "isotropic.simulate.new"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"anisotropic.problem.informative": 400},
            "anisotropic.problem.informative: 400 found, at most the dimension, 12, needed",
        ),
        (
            {"isotropic.sweeps.sgd": SWEEP},
            "isotropic: 'sgd' is both under simulate and under sweeps; names must differ",
        ),
        ({"isotropic.widths.dd": STUDY}, "isotropic: 'dd' is both under solve and under widths; names must differ"),
        ({"isotropic.sweeps.convergence": SWEEP}, "isotropic.sweeps: the name 'convergence' is reserved"),
        ({"isotropic.simulate.limits": {**RUN, "method": "sgd", "step_size": 1e-3}}, "the name 'limits' is reserved"),
        (
            {"isotropic.sweeps.sgd_1em5": SWEEP},
            "isotropic.sweeps: the name 'sgd_1em5' is taken under simulate of nonmonotone_far, nonmonotone_near",
        ),
        (
            {"isotropic.sweeps.new": {**SWEEP, "horizon": 1.0}},
            "isotropic.sweeps.new: both found, exactly one of evaluations, horizon needed",
        ),
        (
            {"isotropic.sweeps.new": {key: value for key, value in SWEEP.items() if key != "evaluations"}},
            "isotropic.sweeps.new: none found, exactly one of evaluations, horizon needed",
        ),
        (
            {"isotropic.sweeps.new": {**SWEEP, "method": "nesterov", "hyperparameters": {"momentum": 0.9},
                                      "grid": {"step_size": [0.1], "momentum": [0.5]}}},
            "isotropic.sweeps.new.hyperparameters.momentum: found in the grid too; one of them needed",
        ),
        (
            {"isotropic.sweeps.new": {**SWEEP, "grid": {"step_size": [0.1, 0.1]}}},
            "isotropic.sweeps.new.grid.step_size",
        ),
        (
            {"isotropic.sweeps.new": {**SWEEP, "method": "heavy_ball",
                                      "grid": {"step_size": [0.1], "momentum": [0, 0.0]}}},
            "isotropic.sweeps.new.grid.momentum",
        ),
        (
            {"isotropic.sweeps.new": {**{k: v for k, v in SWEEP.items() if k != "evaluations"}, "horizon": 1.0,
                                      "grid": {"step_size": [1e-300]}}},
            "isotropic.sweeps.new.horizon: 1e+300 iterations of step size 1e-300 found, at most 1e+12 allowed",
        ),
        (
            {"isotropic.sweeps.new": {**SWEEP, "method": "entropy_sgd", "evaluations": 10**9,
                                      "hyperparameters": {"scope": 0.1, "inner_steps": 10**9}}},
            "isotropic.sweeps.new.hyperparameters.inner_steps: 1000000000 found; a whole number from 1 to 1000000",
        ),
        ({"isotropic.sweeps.new": {**SWEEP, "method": "sdg"}}, "sweeps.new.method: 'sdg' found (did you mean 'sgd'?)"),
        (
            {"isotropic.sweeps.new": {**SWEEP, "grid": {"step_size": [0.1], "momentum": [0.9]}}},
            "isotropic.sweeps.new.hyperparameters: unknown key 'momentum'; sgd takes: none",
        ),
        (
            {"isotropic.sweeps.new": {**SWEEP, "method": "nesterov", "grid": {"step_size": [1.0], "momentum": [1.0]}}},
            "isotropic.sweeps.new.grid.momentum: 1.0 found; a number of at least 0 and less than 1 needed",
        ),
        (
            {"isotropic.sweeps.new": {**SWEEP, "method": "entropy_sgd", "hyperparameters": {"scope": 0.1}}},
            "isotropic.sweeps.new.evaluations: 10 found, an iteration of entropy_sgd takes 20",
        ),
        (
            {"isotropic.sweeps.new": {**{k: v for k, v in SWEEP.items() if k != "evaluations"}, "horizon": 1e-9}},
            "isotropic.sweeps.new.horizon: 1e-09 found, a step of",
        ),
        (
            {"anisotropic.widths.new": {**STUDY, "neurons": [20, 20]}},
            "anisotropic.widths.new.neurons: [20, 20] found; they must increase strictly",
        ),
        ({"anisotropic.widths.new": {**STUDY, "method": "sdg"}}, "anisotropic.widths.new.method: 'sdg' found"),
        (
            {"anisotropic.widths.new": {**STUDY, **RESTART}},
            "anisotropic.widths.new.method: 'nesterov_restart' found, which has no constant clock",
        ),
        (
            {"anisotropic.widths.new": STUDY, "anisotropic.solve": {}},
            "anisotropic.widths.new: a limit equation under experiments.anisotropic.solve is needed to compare with",
        ),
        (
            {NEW: {**RUN, "method": "sgd", "step_size": 1e-3, "tuned": "tune_nesterov"}},
            f"{NEW}: step_size, tuned found, exactly one of step_size, tuned, control_of needed",
        ),
        ({NEW: {**RUN, "method": "sgd"}}, f"{NEW}: none found, exactly one of step_size, tuned, control_of needed"),
        ({NEW: {**RUN, "step_size": 1e-3}}, f"{NEW}: key 'method' is missing"),
        (
            {NEW: {**RUN, "tuned": "tune_nestrov"}},
            f"{NEW}.tuned: 'tune_nestrov' found (did you mean 'tune_nesterov'?); known: tune_nesterov",
        ),
        (
            {NEW: {**RUN, "tuned": "tune_nesterov", "method": "sgd"}},
            f"{NEW}.method: found beside tuned, which brings it from the sweep; leave it out",
        ),
        (
            {NEW: {**RUN, "tuned": "new_sweep"}, "isotropic.sweeps.new_sweep": {**SWEEP, "first_replicate": 1}},
            f"{NEW}.replicates: 2 found, but the sweep new_sweep that tunes it has the replicates from 1 on; "
            "it needs replicates of its own",
        ),
        ({NEW: {**RUN, "method": "sgd", "control_of": "nestrov"}}, f"{NEW}.control_of: 'nestrov' found (did you mean"),
        (
            {NEW: {**RUN, "method": "sgd", "control_of": "nesterov_control"}},
            f"{NEW}.control_of: 'nesterov_control' found, which is a control itself",
        ),
        (
            {NEW: {**RUN, "method": "nesterov", "hyperparameters": {"momentum": 0.5}, "control_of": "nesterov"}},
            f"{NEW}.method: 'nesterov' found; a control is run with sgd",
        ),
        (
            {NEW: {**RUN, "method": "sgd", "control_of": "other"}, "isotropic.simulate.other": {
                **RUN, **RESTART, "step_size": 1e-3}},
            f"{NEW}.control_of: 'other' found, whose method nesterov_restart has no constant clock",
        ),
        (  # a tuned target too, before any job starts
            {
                NEW: {**RUN, "method": "sgd", "control_of": "other"},
                "isotropic.simulate.other": {**RUN, "tuned": "new_sweep"},
                "isotropic.sweeps.new_sweep": {**SWEEP, **RESTART},
            },
            f"{NEW}.control_of: 'other' found, whose method nesterov_restart has no constant clock",
        ),
        (  # the target's own slip is named, and nothing breaks on the way
            {
                NEW: {**RUN, "method": "sgd", "control_of": "other"},
                "isotropic.simulate.other": {**RUN, "step_size": 1e-3},
            },
            "isotropic.simulate.other: key 'method' is missing",
        ),
        (
            {"isotropic.solve.new": {**ATOMS, "solver": "reduced_characteristics"}},
            "isotropic.solve.new.solver: 'reduced_characteristics' found; allowed for isotropic_gaussians: "
            "characteristics, finite_volume",
        ),
        (
            {"isotropic.solve.new": {**ATOMS, "solver": "characteristics", "limit": "first_order"}},
            "isotropic.solve.new.limit: 'first_order' found; allowed for isotropic_gaussians: finite, infinite",
        ),
        (
            {"anisotropic.solve.new": VOLUME},
            "anisotropic.solve.new.solver: 'finite_volume' found; allowed for anisotropic_gaussians: "
            "reduced_characteristics",
        ),
        (
            {"anisotropic.solve.dd.horizon": 0.5},
            "anisotropic.solve.dd.horizon: 0.5 found, but a simulation runs to t = 1; at least that is needed",
        ),
        (
            {"anisotropic.convergence": {
                "atoms": [2, 4], "cells_per_deviation": [1, 2], "reference_atoms": 8, "times": [1.0]}},
            "anisotropic.convergence: found for anisotropic_gaussians; allowed for isotropic_gaussians",
        ),
        ({"isotropic.convergence.times": [1.0, 1.0]}, "convergence.times: [1.0, 1.0] found; they must increase"),
    ],
)  # fmt: skip
def test_what_a_schema_cannot_see_is_refused_in_a_line(small, changes, line):
    with pytest.raises(ConfigError) as caught:
        configuration.check(changed(small, changes), SCHEMA)
    assert f"experiments.{line}" in str(caught.value) or line in str(caught.value)
    # A figure may name what the slip has taken away.
    assert all(one.startswith(("config: experiments.", "config: figures.")) for one in str(caught.value).splitlines())


def test_a_step_size_beside_a_control_is_refused(small):
    config = changed(small, {"isotropic.simulate.nesterov_control.step_size": 1e-3})
    with pytest.raises(ConfigError, match=r"step_size, control_of found, exactly one of"):
        configuration.check(config, SCHEMA)


def test_a_schedule_near_its_bound_has_no_control_instead_of_an_overflow(small):
    config = changed(small, {"isotropic.schedule.exponent": -0.9999})
    with pytest.raises(ConfigError, match="whose method nesterov has no constant clock"):
        configuration.check(config, SCHEMA)


def test_candidates_are_all_combinations_the_step_size_slowest():
    sweep = {
        "hyperparameters": {"compensation": 0.25},
        "grid": {"momentum": [0.5, 0.9], "step_size": [1e-3, 1e-2]},
    }
    found = [(one["step_size"], one["hyperparameters"]["momentum"]) for one in networks.candidates(sweep)]
    assert found == [(1e-3, 0.5), (1e-3, 0.9), (1e-2, 0.5), (1e-2, 0.9)]
    assert all(one["hyperparameters"]["compensation"] == 0.25 for one in networks.candidates(sweep))


def block(exponent=0.0):
    """An experiment with every source of a step size."""
    return {
        "schedule": {"coefficient": 2.0, "exponent": exponent},
        "simulate": {
            "given": {**RUN, "method": "nesterov", "hyperparameters": {"momentum": 0.75}, "step_size": 1e-3},
            "control": {**RUN, "method": "sgd", "control_of": "given"},
            "tuned": {**RUN, "tuned": "sweep"},
            "tuned_control": {**RUN, "method": "sgd", "control_of": "tuned"},
        },
        "sweeps": {"sweep": {**SWEEP, "method": "mass"}},
    }


BEST = {"method": "mass", "step_size": 4e-3, "hyperparameters": {"momentum": 0.5, "compensation": 0.75}}


def test_a_control_has_the_step_at_which_sgd_keeps_pace():
    found = networks.resolved("control", block())
    assert found["method"] == "sgd"
    assert found["hyperparameters"] == {}
    assert found["step_size"] == pytest.approx(4e-3, rel=1e-14)  # 1e-3 / (1 - 0.75)
    # Under xi = 2 t^b the steps 2 eps^(1+b) k^b agree at every k if eps'^(1+b) = 4 eps^(1+b).
    found = networks.resolved("control", block(exponent=-0.5))
    assert found["step_size"] ** 0.5 == pytest.approx(4 * 1e-3**0.5, rel=1e-14)


def test_a_sweep_decides_what_it_tunes_and_the_control_of_that():
    experiment = block()
    assert networks.resolved("tuned", experiment) is None
    assert networks.resolved("tuned_control", experiment) is None
    found = networks.resolved("tuned", experiment, BEST)
    assert {key: found[key] for key in BEST} == BEST
    control = networks.resolved("tuned_control", experiment, BEST)
    assert (control["method"], control["hyperparameters"]) == ("sgd", {})
    assert control["step_size"] == pytest.approx(4e-3 * 0.25 / 0.5, rel=1e-14)
    assert [networks.tuned_by(name, experiment) for name in experiment["simulate"]] == [None, None, "sweep", "sweep"]


def test_a_control_without_a_clock_is_an_error():
    with pytest.raises(ValueError, match="tuned_control: control of tuned, whose method nesterov_restart has no"):
        networks.resolved("tuned_control", block(), {**RESTART, "step_size": 1e-3})


def test_limits_are_recorded_in_both_clocks_of_every_simulation_and_study(small):
    experiment = copy.deepcopy(small["experiments"]["anisotropic"])
    experiment["simulate"]["nesterov"] = {
        **RUN, "iterations": 50, "method": "nesterov", "hyperparameters": {"momentum": 0.9}, "step_size": 3.1e-4,
    }  # fmt: skip
    times = np.array(networks.record_times(experiment, experiment["solve"]["dd"]))
    assert times[0] == 0
    assert times[-1] == experiment["solve"]["dd"]["horizon"]
    assert (np.diff(times) > 1e-12 * times[1:]).all()
    # eps'^(3/4) = 10 eps^(3/4) under the exponent -1/4.
    steps = [(experiment["simulate"]["nesterov"], s) for s in (3.1e-4, 3.1e-4 * 10 ** (4 / 3))]
    steps += [(experiment["simulate"]["sgd"], 1e-3), (experiment["widths"]["width_study"], 1e-3)]
    for settings, step in steps:
        for k in record_iterations(settings):
            if k * step <= times[-1]:
                assert np.abs(times - k * step).min() <= 1e-12 * k * step, (settings, step, k)


def test_a_horizon_cuts_the_records_of_another_clock(small):
    experiment = small["experiments"]["isotropic"]
    assert networks.resolved("nesterov_control", experiment)["step_size"] * 1000 < 2.0
    times = networks.record_times(experiment, {**experiment["solve"]["dd"], "horizon": 0.5})
    assert max(times) == 0.5


def test_replicates_per_job_of_a_simulation_come_before_those_of_all(small):
    config = copy.deepcopy(small)
    config["replicates_per_job"] = 3
    run = config["experiments"]["isotropic"]["simulate"]["sgd"]
    run["replicates"] = 7
    assert [list(part) for part in simulation_chunks(config, "isotropic", "sgd")] == [
        [0, 1, 2], [3, 4, 5], [6],
    ]  # fmt: skip
    run["replicates_per_job"] = 5
    assert [list(part) for part in simulation_chunks(config, "isotropic", "sgd")] == [[0, 1, 2, 3, 4], [5, 6]]


def test_parameters_of_a_job_hold_what_decides_its_numbers_and_nothing_else(small):
    def parameters(**changes):
        config = changed(small, {f"isotropic.simulate.nesterov.{key}": value for key, value in changes.items()})
        return networks.simulation_parameters(config, "isotropic", "nesterov")

    assert parameters(title="Other", replicates=9, replicates_per_job=3) == parameters()
    assert parameters(step_size=2e-4) != parameters()
    tuned = networks.simulation_parameters(small, "isotropic", "tuned_nesterov_control")["settings"]
    assert tuned["tuned"] == "tune_nesterov"
    assert "step_size" not in tuned
    # The control of a given step has it in its parameters: another momentum of its target is another run.
    other = changed(small, {"isotropic.simulate.nesterov.hyperparameters": {"momentum": 0.5}})
    steps = [
        networks.simulation_parameters(config, "isotropic", "nesterov_control")["settings"]["step_size"]
        for config in (small, other)
    ]
    assert steps == pytest.approx([1e-3, 2e-4], rel=1e-14)
    sweep = networks.sweep_parameters(small, "isotropic", "tune_nesterov")
    assert sweep["replicates"] == [1000, 1002]
    assert len(sweep["candidates"]) == 4
    titled = changed(small, {"isotropic.sweeps.tune_nesterov.title": "x"})
    assert networks.sweep_parameters(titled, "isotropic", "tune_nesterov") == sweep


def test_datasets_and_entries_of_each_method(small):
    experiment = small["experiments"]["isotropic"]
    assert set(networks.datasets(experiment)) == {
        "sgd", "nesterov", "nesterov_control", "mf_homsgld", "tuned_nesterov", "tuned_nesterov_control",
        "tune_nesterov", "limits", "convergence", "comparison",
    }  # fmt: skip
    assert networks.datasets(small["experiments"]["anisotropic"])[-2:] == ["width_study", "limits"]
    assert networks.method_entries(experiment) == {
        "sgd": ["nesterov_control", "sgd", "tuned_nesterov_control"],
        "nesterov": ["nesterov", "tuned_nesterov", "tune_nesterov"],
        "mf_homsgld": ["mf_homsgld"],
    }


SCRIPTS = {"simulate": "simulate_replicates.py", "sweeps": "simulate_sweep.py", "widths": "simulate_widths.py"}


def digests(config, folder):
    """Return the digest of the code of every job that runs an optimiser or a solver."""
    digest = functools.cache(
        lambda script, modules: code_digest(folder / "workflow_scripts" / script, modules, source=folder / "src")
    )
    return {
        f"{experiment}/{name}": digest(
            {**SCRIPTS, "solve": "solve_limit.py"}[part], networks.job_modules(config, experiment, part, name)
        )
        for experiment, block in config["experiments"].items()
        if block["problem"]["kind"] in networks.SOLVERS
        for part in (*SCRIPTS, "solve")
        for name in block.get(part, {})
    }


def test_an_edited_optimiser_reruns_its_runs_their_controls_and_its_sweeps(small, tmp_path):
    for part in ("src", "workflow_scripts"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    before = digests(small, tmp_path)

    def edited(module):
        file = tmp_path / "src/meanfield" / module
        text = file.read_text(encoding="utf-8")
        file.write_text(f"{text}\nEDITED = 1\n", encoding="utf-8")
        after = digests(small, tmp_path)
        file.write_text(text, encoding="utf-8")
        return {job for job in before if before[job] != after[job]}

    names = ("nesterov", "nesterov_control", "tuned_nesterov", "tuned_nesterov_control", "tune_nesterov")
    assert edited("methods/nesterov.py") == {f"isotropic/{name}" for name in names}
    assert edited("registry.py") == set()
    assert edited("limits/finite_volume.py") == {"isotropic/dd_volume"}


def test_a_width_study_is_compared_with_no_limit_of_another_step(configuration):
    assert networks.study_limits(configuration, "anisotropic", "width_study") == [
        "dd", "dd_first_order", "dd_infinite", "dd_noise",
    ]  # fmt: skip
    configuration["experiments"]["anisotropic"]["widths"]["width_study"]["step_size"] = 2e-5
    assert networks.study_limits(configuration, "anisotropic", "width_study") == ["dd", "dd_first_order", "dd_infinite"]
