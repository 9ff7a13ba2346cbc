"""Compile the kernels that the workflow's jobs call, once, before they start side by side. Arrays only, no files."""

import sys
from collections.abc import Iterable

import numpy as np

from meanfield.analysis.modality import dip
from meanfield.kernels import landscape
from meanfield.kernels.inner_blocks import InnerBlocks
from meanfield.kernels.inner_loop import InnerLoop
from meanfield.kernels.momentum import SGD, Momentum
from meanfield.kernels.sphere import Recurrence
from meanfield.kernels.sphere_inner import SphereInnerLoop
from meanfield.kernels.streams import INJECTED_NOISE, stream_key
from meanfield.limits.anisotropic import solve_reduced
from meanfield.limits.characteristics import solve_characteristics
from meanfield.limits.particle_flow import FLOWS, flow_code
from meanfield.limits.potentials import radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.problems.activations import PiecewiseLinear
from meanfield.problems.anisotropic import AnisotropicGaussians, TwoLayerLaw
from meanfield.problems.digits import DigitClassifier
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw
from meanfield.problems.plane import muller_brown
from meanfield.problems.spin3 import GaussianUnits, SigmoidUnits, Spin3

_NAMES = (0, "warm-up", 0)


def compile_kernels(precisions: Iterable[str], groups: Iterable[str] = ()) -> list[str]:
    """Run kernels once on the smallest input, so that they are in numba's cache afterwards.

    Parameters
    ----------
    precisions : iterable of str
        The precisions that simulations use, ``float32`` or ``float64``.
    groups : iterable of str
        Which kernels, keys of `GROUPS`; all if none is named.

    Returns
    -------
    list of str
        What was compiled.

    """
    precisions = sorted(set(precisions))
    return [line for group in sorted(set(groups)) or GROUPS for line in GROUPS[group](precisions)]


def compile_named(names: Iterable[str]) -> list[str]:
    """Do the same for precisions and groups in one list, as on a command line."""
    names = list(names)
    return compile_kernels([n for n in names if n not in GROUPS], [n for n in names if n in GROUPS])


_RAMP = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
# Problems of networks with laws of their initial weights.
_NETWORKS = (
    (IsotropicGaussians(4, 0.5, _RAMP), RadialLaw("gaussian", 0.8)),
    (AnisotropicGaussians(4, 2, 0.5, _RAMP), TwoLayerLaw(0.8)),
)


def _compile_networks(precisions: list[str]) -> list[str]:
    for precision in precisions:
        for problem, law in _NETWORKS:
            _run_optimisers(problem, law.sample(20, 4, *_NAMES).astype(precision))
    return [line for precision in precisions for line in (f"block SGD, {precision}", f"inner loop, {precision}")]


def _compile_limits(_precisions: list[str]) -> list[str]:
    for problem, law in _NETWORKS:
        weights = law.sample(20, 4, *_NAMES)
        problem.risk(np.concatenate([weights, weights[:1]]))
    (isotropic, radial), (anisotropic, full) = _NETWORKS
    times = np.array([0.0, 1e-3])
    clock = Schedule()
    solve_characteristics(
        radial_potentials(isotropic), radial, times, atoms=10, schedule=clock, relative_tolerance=1e-3
    )
    solve_reduced(anisotropic, full, times, limit="finite", schedule=clock, atoms=10, relative_tolerance=1e-3)
    return ["population risk", "distributional dynamics"]


def _run_optimisers(problem, weights: np.ndarray) -> None:
    # One block with and without a velocity, and one of an inner loop.
    for momentum in (SGD, Momentum(gamma=0.5)):
        state = problem.block_state(weights, momentum)
        state.advance_stream(0, 1, key=stream_key(*_NAMES), scales=problem.scales, step_size=1e-3)
    _run_inner_loop(problem, weights)


def _run_inner_loop(problem, weights: np.ndarray) -> None:
    loop = InnerLoop(np.array([0.0, 0.5, 0.5]), scope=1.0, temperature=1e-6)
    run = InnerBlocks(problem, weights, loop, _NAMES, stream_key(*_NAMES, INJECTED_NOISE))
    run.advance(0, 1, lambda _first, count: np.full(count, 1e-3))


def _compile_plane(_precisions: list[str]) -> list[str]:
    starts, key, terms = np.zeros((4, 2)), stream_key(*_NAMES), muller_brown().terms
    landscape.descend([landscape.Stage(terms, 1, 1e-4, noise=1.0)], starts, key=key)
    homogenised = landscape.HomogenisedStage(terms, 1, 1.0, 0.1, 0.0, 1e-4, 0.1)
    landscape.homogenised([homogenised], starts[None], burn_in=0, average=1, key=key)
    landscape.affine_invariant_langevin([landscape.EnsembleStage(terms, 1, 1e-4, 1.0)], starts[None], key=key)
    return ["trajectories on the plane"]


def _compile_sphere(precisions: list[str]) -> list[str]:
    # Centres on the sphere need float64.
    units = [(GaussianUnits(3, 1.0), "float64"), *((SigmoidUnits(3), precision) for precision in precisions)]
    for unit, precision in units:
        target = Spin3.random(3, *_NAMES)
        state = target.state(unit, target.initial_units(unit, 4, *_NAMES).astype(precision))
        key, loop = stream_key(*_NAMES), InnerLoop(np.array([0.0, 1.0]), temperature=1e-6)
        state.advance_stream(1, Recurrence(1e-3), key=key, batch=2)
        SphereInnerLoop(state, loop, 1e-3, key=key, noise_key=key).advance(1, 2)
        if isinstance(unit, GaussianUnits):
            for flow in FLOWS:
                code = flow_code(target, unit, flow)
                state.advance_flow(1, Recurrence(1e-3), code)
                SphereInnerLoop(state, loop, 1e-3, key=key, noise_key=key, flow=code).advance(1)
    return ["3-spin: batches and flows"]


def _compile_digits(precisions: list[str]) -> list[str]:
    for precision in precisions:
        inputs = np.ones((2, 3), precision)
        problem = DigitClassifier(inputs, np.array([1.0, -1.0]), PiecewiseLinear((0.0,), (0.0,), right_slope=1.0))
        weights = np.ones((16, 4), precision)
        problem.outputs(weights, inputs)
        for momentum in (SGD, Momentum(gamma=0.5)):
            problem.block_state(weights, momentum).advance_arrays(
                inputs, problem.labels, np.full(1, 1e-3), np.zeros(1, np.int64), np.zeros(1, precision)
            )
        _run_inner_loop(problem, weights)
    dip(np.arange(4.0))
    return ["digit classifiers"]


# By family of experiments; population risks and the equations of the limit are apart from SGD.
GROUPS = {
    "networks": _compile_networks,
    "limits": _compile_limits,
    "spin3": _compile_sphere,
    "digits": _compile_digits,
    "plane": _compile_plane,
}


if __name__ == "__main__":
    print(*compile_named(sys.argv[1:]), sep="\n")
