"""Compile every kernel that the workflow's jobs call, once, before they start side by side. Arrays only, no files."""

import sys
from collections.abc import Iterable

import numpy as np

from meanfield.analysis.modality import dip
from meanfield.kernels.block_sgd import BlockState
from meanfield.kernels.inner_loop import InnerLoop, InnerLoopRun
from meanfield.kernels.streams import stream_key
from meanfield.limits.anisotropic import solve_reduced
from meanfield.limits.characteristics import solve_characteristics
from meanfield.limits.potentials import radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.problems.activations import PiecewiseLinear
from meanfield.problems.anisotropic import AnisotropicGaussians, TwoLayerLaw
from meanfield.problems.digits import DigitClassifier
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw


def compile_kernels(precisions: Iterable[str]) -> list[str]:
    """Run each kernel once on the smallest input, so that it is in numba's cache afterwards.

    Parameters
    ----------
    precisions : iterable of str
        The precisions that simulations use, ``float32`` or ``float64``.

    Returns
    -------
    list of str
        What was compiled.

    """
    activation = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
    problem = IsotropicGaussians(4, 0.5, activation)
    weights = RadialLaw("gaussian", 0.8).sample(20, 4, 0, "warm-up", 0)
    done = []
    for precision in sorted(set(precisions)):
        state = BlockState(weights.astype(precision), activation.kernel_code())
        state.advance_stream(0, 1, key=stream_key(0, "warm-up", 0), scales=problem.scales, step_size=1e-3)
        done.append(f"block SGD, {precision}")
    problem.risk(np.concatenate([weights, weights[:1]]))
    done.append("population risk")
    times = np.array([0.0, 1e-3])
    law = RadialLaw("gaussian", 0.8)
    solve_characteristics(
        radial_potentials(problem), law, times, atoms=10, schedule=Schedule(), relative_tolerance=1e-3
    )
    done.append("distributional dynamics")
    anisotropic = AnisotropicGaussians(4, 2, 0.5, activation)
    packed = TwoLayerLaw(0.8).sample(20, 4, 0, "warm-up", 0)
    anisotropic.risk(np.concatenate([packed, packed[:1]]))
    for precision in sorted(set(precisions)):
        state = anisotropic.block_state(packed.astype(precision))
        state.advance_stream(0, 1, key=stream_key(0, "warm-up", 0), scales=anisotropic.scales, step_size=1e-3)
        done.append(f"block SGD of all weights, {precision}")
    solve_reduced(
        anisotropic, TwoLayerLaw(0.8), times, limit="finite", atoms=10, schedule=Schedule(), relative_tolerance=1e-3
    )
    done.append("anisotropic risk and dynamics")
    network = DigitClassifier(np.ones((2, 3)), np.array([1.0, -1.0]), activation)
    trained = np.ones((16, 4))
    for precision in sorted(set(precisions)):
        network.outputs(trained.astype(precision), network.inputs.astype(precision))
        loop = InnerLoop(np.array([0.0, 1.0]), temperature=1.0)
        run = InnerLoopRun(network, trained.astype(precision), loop, (0, "warm-up", 0), stream_key(0, "warm-up", 0))
        run.advance(1e-3)
        done.append(f"digit classifier, {precision}")
    dip(np.arange(4.0))
    done.append("dip test")
    return done


if __name__ == "__main__":
    print(*compile_kernels(sys.argv[1:]), sep="\n")
