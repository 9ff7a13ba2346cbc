"""Saved states of long simulations: whatever is killed goes on with the same bits, whatever does not belong is left."""

import logging
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from meanfield import io, registry, simulation
from meanfield.checkpoints import NONE, Checkpoint, of_job
from meanfield.digit_training import Digits, train
from meanfield.fluctuation_runs import run_ensemble
from meanfield.methods.runs import PlainWalk
from meanfield.noisy_runs import run_noisy
from meanfield.simulation import simulate, sweep
from meanfield.sphere_simulation import simulate_sphere, solve_flows


class KilledError(Exception):
    """What stands for kill -9."""


class Mortal(Checkpoint):
    """A checkpoint that saves at every look, into its file, and kills whoever has saved so often."""

    def __init__(self, path: Path, lives: int):
        super().__init__(path, "the same job")
        self.lives = lives

    def _write(self) -> None:
        super()._write()
        self.lives -= 1
        if self.lives < 0:
            raise KilledError


def brought_to_an_end(work, path: Path, lives: int = 3):
    """Return what work gives after as many kills as it takes, and how many these were."""
    for kills in range(200):
        try:
            return work(checkpoint=Mortal(path, lives)), kills
        except KilledError:
            continue
    pytest.fail("no progress from kill to kill")


def assert_equal(a, b):
    """Assert that two trees of tuples, dictionaries, lists and arrays have the same bits."""
    if isinstance(a, tuple | list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()
    else:
        assert a == b or (a != a and b != b)


def agrees(work, path: Path, lives: int = 3) -> None:
    found, kills = brought_to_an_end(work, path, lives)
    assert kills > 1
    assert_equal(found, work(checkpoint=NONE))


RAMP = {
    "kind": "piecewise_linear", "knots": [0.5, 1.5], "values": [-2.5, 7.5], "left_slope": 0.0, "right_slope": 0.0,
}  # fmt: skip
RELU = {"kind": "piecewise_linear", "knots": [0.0], "values": [0.0], "left_slope": 0.0, "right_slope": 1.0}
TANH = {"kind": "tanh", "amplitude": 1.0, "gain": 1.0, "shift": 0.0, "offset": 0.0}
# Hyper-parameters of every entry of the registry.
EXAMPLES = {
    "sgd": {},
    "heavy_ball": {"momentum": 0.8},
    "nesterov": {"momentum": 0.8},
    "nesterov_restart": {"scheme": "gradient", "inverse_condition": 0.01},
    "mass": {"momentum": 0.8, "compensation": 0.3},
    "langevin": {"temperature": 1e-3, "regularisation": 0.0},
    "entropy_sgd": {"scope": 0.05, "inner_steps": 4, "ratio": 0.8, "temperature": 1e-3, "scoping": 0.01},
    "mf_homsgld": {
        "scope": 0.05, "agents": 2, "burn_in": 1, "averaging": 3, "attraction": 2.0, "temperature": 1e-3,
        "scoping": 0.01,
    },
}  # fmt: skip
# No multiple of a block: some looks lie inside one.
STOPS = [0, 1, 30, 100, 333]


def network(method, *, precision="float64", anisotropic=False):
    problem = {"kind": "isotropic_gaussians", "dimension": 6, "separation": 0.5}
    law = {"kind": "gaussian", "scale": 0.8}
    if anisotropic:
        problem = {"kind": "anisotropic_gaussians", "dimension": 6, "informative": 2, "separation": 0.5}
        law = {"scale": 0.8, "output_deviation": 0.5}
    settings = {
        "method": method, "step_size": 1e-3, "hyperparameters": EXAMPLES[method], "precision": precision,
        "snapshots": {"middle": 30, "final": 333},
    }  # fmt: skip
    return partial(
        simulate, experiment="test", simulation=method, seed=7, problem=problem,
        activation=RELU if anisotropic else RAMP, neurons=20, initial_law=law,
        schedule={"coefficient": 1.0, "exponent": -0.25}, settings=settings, iterations=STOPS, replicates=range(2),
    )  # fmt: skip


def test_every_registered_optimiser_has_an_example_here():
    assert set(EXAMPLES) == set(registry.METHODS)


@pytest.mark.parametrize("method", EXAMPLES)
def test_a_killed_run_of_a_network_goes_on_with_the_same_bits(method, tmp_path):
    agrees(network(method), tmp_path / "0.nc.checkpoint")


@pytest.mark.parametrize("method", ["sgd", "nesterov_restart", "langevin"])
def test_so_it_does_in_single_precision_and_with_output_weights(method, tmp_path):
    agrees(network(method, precision="float32"), tmp_path / "one")
    agrees(network(method, anisotropic=True), tmp_path / "other")


@pytest.mark.parametrize("method", ["nesterov_restart", "mf_homsgld"])
def test_so_does_a_plain_definition(method, tmp_path, monkeypatch):
    def plainly(*arguments, root, experiment, replicate, **others):
        return PlainWalk(*arguments, names=(root, experiment, replicate), **others)

    monkeypatch.setattr(simulation, "trajectory", plainly)
    agrees(network(method), tmp_path / "0.nc.checkpoint")


def test_so_do_replicates_on_threads(tmp_path):
    path = tmp_path / "0.nc.checkpoint"
    agrees(partial(network("mass"), threads=2, replicates=range(4)), path)


@pytest.mark.parametrize("method", EXAMPLES)
@pytest.mark.parametrize("gradient", ["samples", "population"])
def test_a_killed_run_on_the_sphere_goes_on_with_the_same_bits(method, gradient, tmp_path):
    agrees(sphere(method, gradient), tmp_path / "0.nc.checkpoint")


def test_so_do_sigmoid_units_and_restarts_by_the_function(tmp_path):
    settings = {"step_size": 1e-2, "gradient": "samples", "precision": "float32"}
    units = {"kind": "spherical_3spin", "dimension": 5, "couplings": "independent", "units": "sigmoid"}
    agrees(
        partial(
            sphere("sgd", "samples"), problem=units, initial_law={"coefficient_scale": 1.0},
            settings={"method": "sgd", "hyperparameters": {}, **settings},
            evaluate={"log2_points": 5, "scramblings": 2},
        ),
        tmp_path / "one",
    )  # fmt: skip
    scheme = {"scheme": "function", "inverse_condition": 0.0}
    settings = {"method": "nesterov_restart", "hyperparameters": scheme, "step_size": 1e-2, "gradient": "population"}
    agrees(partial(sphere("sgd", "samples"), settings=settings), tmp_path / "other")


def sphere(method, gradient):
    problem = {
        "kind": "spherical_3spin", "dimension": 5, "couplings": "independent", "units": "gaussian_kernel",
        "inverse_squared_width": 1.0, "normalised": True,
    }  # fmt: skip
    settings = {"method": method, "hyperparameters": EXAMPLES[method], "step_size": 1e-2, "gradient": gradient}
    cases = [{"neurons": n, "factor": 0.2, "phases": [[40, max(1, n // 5)], [60, 4]]} for n in (6, 12)]
    return partial(
        simulate_sphere, experiment="test", simulation="s", seed=4, problem=problem,
        initial_law={"coefficient_scale": 1.0}, settings=settings, cases=cases, iterations=[0, 1, 37, 50, 60],
        replicates=range(2),
    )  # fmt: skip


def test_flows_that_ended_are_not_integrated_again(tmp_path):
    setting = sphere("sgd", "samples").keywords
    shared = {name: setting[name] for name in ("experiment", "simulation", "seed", "problem", "initial_law")}
    settings = {"flow": "population", "relative_tolerance": 1e-4, "divergence_factor": 1e3}
    work = partial(
        solve_flows, **shared, settings=settings, neurons=[4, 6, 8], times=[0.0, 0.1], replicates=range(2)
    )  # fmt: skip
    agrees(work, tmp_path / "0.nc.checkpoint", lives=1)


@pytest.mark.parametrize("method", ["sgd", "nesterov", "langevin"])
def test_a_killed_classifier_goes_on_with_the_same_bits(method, tmp_path):
    generator = np.random.default_rng(3)
    images = [generator.integers(0, 255, (count, 4, 4)).astype(np.uint8) for count in (60, 20)]
    labels = [generator.integers(0, 10, count).astype(np.uint8) for count in (60, 20)]
    work = partial(
        train, experiment="e", simulation="s", seed=5, digits=Digits(images[0], labels[0], images[1], labels[1]),
        activation=TANH, labels={"rule": "one_digit", "digit": 3},
        initial_law={"output_scale": 1.0, "weight_scale": 1.0}, neurons=24,
        settings={"method": method, "hyperparameters": EXAMPLES[method], "rate": 1.0, "precision": "float64"},
        iterations=300,
        records={"per_decade": 4, "first_time": 0.1, "share": 0.5, "free_operations": 1e9, "windows_per_decade": 4},
        pictures=3, replicates=range(2),
    )  # fmt: skip
    agrees(work, tmp_path / "0.nc.checkpoint")


def test_ensembles_noisy_runs_and_sweeps_keep_what_ended(tmp_path):
    problem = {"kind": "isotropic_gaussians", "dimension": 6, "separation": 0.5}
    law = {"kind": "gaussian", "scale": 0.8}
    common = {"experiment": "e", "seed": 3, "problem": problem, "activation": RAMP, "initial_law": law}
    ensemble = {"neurons": [10, 20], "noise_ratio": 0.02, "replicates": 3, "directions": 2}
    agrees(
        partial(
            run_ensemble, **common, precision="float32", times=[0.0, 0.1, 0.2], law_times=[0.2],
            test_functions=["norm", "tanh_norm"], ensemble=ensemble,
        ),
        tmp_path / "ensemble", lives=1,
    )  # fmt: skip
    agrees(
        partial(
            run_noisy, **common, times=[0.0, 0.1], last_time=0.1, inverse_temperatures=[10.0, 20.0], regularisation=0.1,
            neurons=10, step_size=1e-2, replicates=3, precision="float32", directions=4,
        ),
        tmp_path / "noisy", lives=1,
    )  # fmt: skip
    candidates = [{"step_size": step, "hyperparameters": {}} for step in (1e-3, 1e80, 2e-3)]  # one of them diverges
    agrees(
        partial(
            sweep, **common, sweep="s", neurons=10, schedule={"coefficient": 1.0, "exponent": 0.0},
            settings={"method": "sgd", "precision": "float64", "evaluations": 40}, candidates=candidates,
            replicates=range(3),
        ),
        tmp_path / "sweep", lives=1,
    )  # fmt: skip


# -- the file ----------------------------------------------------------------------------------------------------------

TREE = {
    "numbers": (1, 2**100, 0.1 + 0.2, float("inf"), True, None, "text\u00e9"),
    "arrays": [np.arange(6, dtype=np.uint32).reshape(2, 3), np.float32(0.1), np.array(2.5)],
    "nested": {"empty": [], "tuple": ((),)},
}


def saved(path, clock=lambda: 0.0, identity="the same job"):
    checkpoint = Checkpoint(path, identity, 0.0, clock)
    checkpoint.offer("run", lambda: TREE)
    return checkpoint


def test_states_come_back_as_they_were(tmp_path):
    saved(tmp_path / "c").remember("other run", lambda: (1.5, np.ones(2)))
    found = Checkpoint(tmp_path / "c", "the same job")
    assert_equal(found.state("run"), TREE)
    assert type(found.state("run")["numbers"][1]) is int
    assert found.state("other run") is None
    assert_equal(found.remember("other run", lambda: pytest.fail("done already")), (1.5, np.ones(2)))


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(TypeError, match="a set cannot be part of a checkpoint"):
        Checkpoint(tmp_path / "c").offer("run", lambda: {1})


def test_saves_keep_their_distance_in_time(tmp_path):
    now = [0.0]
    checkpoint = Checkpoint(tmp_path / "c", "job", 10.0, lambda: now[0])
    taken = []
    for now[0] in (0.0, 9.9, 10.0, 15.0, 19.9, 20.0, 29.0):
        checkpoint.offer("run", lambda: taken.append(now[0]))
    assert taken == [10.0, 20.0]


def test_without_a_file_nothing_is_kept():
    NONE.offer("run", lambda: pytest.fail("nobody wants it"))
    assert NONE.remember("run", lambda: 1) == 1
    assert NONE.remember("run", lambda: 2) == 2
    NONE.remove()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "other"])
def test_a_damaged_or_foreign_file_is_passed_over_and_said_so(damage, tmp_path, caplog):
    path = tmp_path / "c"
    saved(path)
    contents = bytearray(path.read_bytes())
    if damage == "cut":
        contents = contents[:-100]
    elif damage == "flipped":
        contents[len(contents) // 2] ^= 1
    elif damage in ("empty", "text"):
        contents = b"" if damage == "empty" else b"hello\n"
    path.write_bytes(contents)
    with caplog.at_level(logging.INFO):
        found = Checkpoint(path, "another job" if damage == "other" else "the same job")
    assert found.state("run") is None
    (line,) = caplog.messages
    assert str(path) in line
    assert line.endswith("starting anew")
    found.offer("run", lambda: 3)  # and it saves over it
    assert Checkpoint(path, "another job" if damage == "other" else "the same job").state("run") == 3


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "c"
    with path.open("wb") as stream:
        np.savez(stream, tree=np.array([{"an": "object"}], dtype=object))
    io.append_seal(path)
    assert Checkpoint(path, "the same job").state("run") is None


def test_who_cannot_save_goes_on(tmp_path):
    (tmp_path / "folder").write_text("a file where a folder is needed", encoding="utf-8")
    checkpoint = saved(tmp_path / "folder/c")
    assert checkpoint.remember("run", lambda: 1) == 1


def job(folder, **changes):
    source = folder / "input.nc"
    if not source.exists():
        source.write_text("data", encoding="utf-8")
    given = {
        "config": {"checkpoint_seconds": 0}, "params": {"parameters": {"seed": 1}, "code": "abc", "replicates": (0, 2)},
        "input": [str(source)], "output": [str(folder / "0.nc")],
    }  # fmt: skip
    return SimpleNamespace(**{**given, **changes})


def test_the_checkpoint_of_a_job_belongs_to_its_parameters_code_and_inputs(tmp_path):
    first = of_job(job(tmp_path))
    first.offer("run", lambda: 1)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".checkpoint"] == ["0.nc.checkpoint"]
    assert of_job(job(tmp_path)).state("run") == 1
    params = job(tmp_path).params
    for name, value in (("parameters", {"seed": 2}), ("code", "abd"), ("replicates", (2, 4))):
        assert of_job(job(tmp_path, params={**params, name: value})).state("run") is None
    (tmp_path / "input.nc").write_text("other data", encoding="utf-8")
    assert of_job(job(tmp_path)).state("run") is None
    first.remove()
    assert not (tmp_path / "0.nc.checkpoint").exists()
    unwanted = of_job(job(tmp_path, config={}))
    unwanted.offer("run", lambda: 1)
    assert not (tmp_path / "0.nc.checkpoint").exists()
