"""The path of a new optimiser: one file, one line of the registry, one entry of the configuration."""

import json

import numpy as np
import xarray as xr
from conftest import EXTRA

from meanfield.problems.activations import PiecewiseLinear
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw

MODULE = '''r"""Sign descent: steps of one size along each coordinate.

.. math:: w \\leftarrow w - s\\, \\mathrm{sign}(g(w)) .

Source: a test. Cost: one gradient per iteration.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

TITLE = "Sign"


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters.

    Parameters
    ----------
    dead : float
        Gradients up to this move nothing [1].

    """

    dead: float = 0.0

    def __post_init__(self):
        if self.dead < 0:
            raise ValueError(f"dead: {self.dead!r} found; at least 0 needed")


class State(NamedTuple):
    """The weights."""

    point: np.ndarray


def start(point, hyperparameters):
    """Return the state at the initial weights."""
    return State(point)


def step(state, oracle, step_size, hyperparameters):
    """Return the state after one iteration."""
    gradient = oracle.gradient(state.point)
    oracle.next()
    moved = np.sign(gradient) * (np.abs(gradient) > hyperparameters.dead)
    return State(oracle.retract(state.point - step_size * moved))


def evaluations(hyperparameters):
    """Return the gradients per iteration."""
    return 1


def clock(hyperparameters, step_size):
    """Return None: the pace does not follow the gradient."""
'''
LINE = 'METHODS = {\n    "signed": "meanfield.methods.signed",'
ENTRY = """
experiments:
  isotropic:
    simulate:
      signed:
        method: signed
        hyperparameters: {dead: 0.25}
        step_size: 1.0e-4
        iterations: 1000
        replicates: 2
        records_per_decade: 4
        precision: float64
        snapshots: {final: 1000}
"""


def signed_runs():
    """Return the weights at the end by a loop over the samples, written down independently of the package's runs."""
    problem = IsotropicGaussians(12, 0.8, PiecewiseLinear((0.5, 1.5), (-2.5, 7.5)))
    ends = []
    for replicate in range(2):
        names = (20180418, "isotropic", replicate)
        w = RadialLaw("gaussian", 0.8).sample(40, 12, *names)
        inputs, targets = problem.samples(*names, 0, 1000)
        for x, y in zip(inputs, targets, strict=True):
            z = w @ x
            residual = y - np.interp(z, [0.5, 1.5], [-2.5, 7.5]).mean()
            slope = np.where((z > 0.5) & (z < 1.5), 10.0, 0.0)
            gradient = -2 * residual * slope[:, None] * x
            w = w - 1e-4 * np.sign(gradient) * (np.abs(gradient) > 0.25)
        ends.append(w)
    return problem, np.array(ends)


def test_a_new_optimiser_is_a_file_a_line_and_an_entry_and_reruns_nothing_else(rebuilt):
    rebuilt.path("src/meanfield/methods/signed.py").write_text(MODULE, encoding="utf-8")
    rebuilt.edit("src/meanfield/registry.py", "METHODS = {", LINE)
    rebuilt.path("signed.yaml").write_text(ENTRY, encoding="utf-8")
    rebuilt.overlays.append("signed.yaml")
    # Its own run, what compares it with SGD, the figure that shows all optimisers, and the report; nothing else.
    planned = rebuilt.planned("all", *EXTRA)
    once = ("simulate_replicates", "gather_replicates", "analyse_simulation", "analyse_comparison", "plot_figure")
    assert planned == dict.fromkeys(("all", *once, "build_values", "build_report", "build_web"), 1)

    target = "results/analysis/isotropic/signed.nc"
    assert rebuilt.planned(target) == {"simulate_replicates": 1, "gather_replicates": 1, "analyse_simulation": 1}
    rebuilt.run(target)
    problem, ends = signed_runs()
    with xr.open_dataset(rebuilt.path("results/simulations/isotropic/signed.nc"), decode_times=False) as runs:
        np.testing.assert_allclose(runs["weight"].values[:, 0], ends, rtol=0, atol=1e-12)
        assert np.isnan(runs["limit_time"].values).all()
        assert runs["evaluation"].values.tolist() == runs["iteration"].values.tolist()
    with xr.open_dataset(rebuilt.path(target), decode_times=False) as analysed:
        risks = [problem.risk(end) for end in ends]
        np.testing.assert_allclose(analysed["final_risk_each"].values, risks, rtol=0, atol=1e-10)
        assert (np.abs(np.array(risks) - analysed["risk"].values[:, 0]) > 0.01).all()  # it has moved
        assert json.loads(analysed.attrs["meanfield_parameters"])["simulation"]["settings"]["method"] == "signed"


def test_its_page_and_its_bad_numbers_come_from_the_same_file(project):
    project.path("src/meanfield/methods/signed.py").write_text(MODULE, encoding="utf-8")
    project.edit("src/meanfield/registry.py", "METHODS = {", LINE)
    project.path("signed.yaml").write_text(ENTRY.replace("0.25", "-1.0"), encoding="utf-8")
    project.overlays.append("signed.yaml")
    done = project.run("--dry-run", check=False)
    assert done.returncode == 1
    assert "isotropic.simulate.signed.hyperparameters.dead: -1.0 found; at least 0 needed" in done.stderr
    page = project.python("-m", "meanfield", "methods").stdout
    assert "| `signed` | Sign | `dead` (0.0): Gradients up to this move nothing [1] | one gradient per iter" in page
