"""Optimisers on the spherical 3-spin: what they may ask of it, and a run seen at given iterations.

The point of an optimiser is the matrix of all units, shape (unit, parameter). Gradients are those of half the mean
squared error, or of a flow's objective, times the number of units n: without 1/n in the step, iteration k sits at the
mean-field time k epsilon for every width.
"""

from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from meanfield.checkpoints import Tree
from meanfield.kernels.sphere import Recurrence
from meanfield.kernels.sphere_inner import SphereInnerLoop
from meanfield.kernels.streams import INJECTED_NOISE, stream_key
from meanfield.limits.particle_flow import flow_code
from meanfield.methods.oracle import InStreams
from meanfield.methods.runs import Walk
from meanfield.problems.spin3 import GaussianUnits, SigmoidUnits, Spin3, sphere_samples, to_sphere

Floats = NDArray[np.float64]

SAMPLES = "samples"  # fresh samples for every gradient; any other name is a flow's, with its full gradient
_LOOK_AHEAD = 4096  # samples drawn at once


class Phase(NamedTuple):
    """A stretch of a run: its last iteration, and how many samples each gradient takes (of no matter for a flow)."""

    end: int
    batch: int


def retracted(unit: GaussianUnits | SigmoidUnits, point: Floats) -> Floats:
    """Return units with their centres put back on the sphere; sigmoid units may lie anywhere."""
    if not isinstance(unit, GaussianUnits):
        return point
    return np.concatenate([to_sphere(point[..., :-1]), point[..., -1:]], axis=-1)


class SphereOracle(InStreams):
    """Gradients of the 3-spin network as the plain definitions of the optimisers see them.

    A leading axis of the point holds agents: each takes a batch of its own, in their order. `next` passes over the
    samples that the last gradient used.

    Parameters
    ----------
    problem : Spin3
        The target.
    unit : GaussianUnits or SigmoidUnits
        The units; the centres of Gaussian units are kept on the sphere.
    gradient : str
        ``samples``, or a flow of `meanfield.limits.particle_flow` (Gaussian units only).
    batch : int
        Samples P of a gradient; may be changed between iterations.
    root, experiment, replicate
        Name the streams of samples and of injected noise; see `meanfield.kernels.streams`.

    """

    def __init__(
        self, problem: Spin3, unit: GaussianUnits | SigmoidUnits, gradient: str, batch: int,
        root: int, experiment: str, replicate: int,
    ):  # fmt: skip
        super().__init__(root, experiment, replicate)
        self._problem, self._unit, self.batch = problem, unit, batch
        self._constrained = isinstance(unit, GaussianUnits)
        self._flow = None if gradient == SAMPLES else flow_code(problem, unit, gradient)
        self._state = None
        self._key = stream_key(root, experiment, replicate)
        self._first, self._inputs, self._targets = 0, np.empty((0, problem.dimension)), np.empty(0)

    def gradient(self, point: Floats) -> Floats:
        """Return the gradient, shape of the point; tangent to the sphere where the centres are bound to it."""
        if self._flow is not None:
            return self._flow_terms(point)[0]
        x, f = self._samples(point)
        value, slope = self._values(point, x)
        count, c = point.shape[-2], point[..., -1]
        residual = f - np.einsum("...pi,...i->...p", value, c) / count
        gradient = np.empty_like(point)
        weighted = residual[..., None] * slope
        gradient[..., : self._problem.dimension] = -c[..., None] * (np.swapaxes(weighted, -1, -2) @ x) / self.batch
        if not self._constrained:
            gradient[..., -2] = -c * weighted.sum(axis=-2) / self.batch
        gradient[..., -1] = -np.einsum("...p,...pi->...i", residual, value) / self.batch
        return self._tangent(gradient, point)

    def loss(self, point: Floats) -> Floats:
        """Return half the mean squared error of the current batch, or a flow's energy, shape (…, 1, 1)."""
        if self._flow is not None:
            return self._flow_terms(point)[1][..., None, None]
        x, f = self._samples(point)
        value, _ = self._values(point, x)
        residual = f - np.einsum("...pi,...i->...p", value, point[..., -1]) / point.shape[-2]
        return np.mean(residual**2, axis=-1)[..., None, None] / 2

    def inner(self, a: Floats, b: Floats) -> Floats:
        """Return inner products over all units, shape (…, 1, 1)."""
        return (a * b).sum(axis=(-2, -1), keepdims=True)

    def retract(self, point: Floats) -> Floats:
        """Return the point with its centres put back on the sphere; sigmoid units may lie anywhere."""
        return retracted(self._unit, point)

    def _samples(self, point: Floats) -> tuple[Floats, Floats]:
        # A batch for each agent: inputs (…, sample, coordinate) and targets (…, sample).
        agents = point.shape[:-2]
        self._used = self.batch * int(np.prod(agents))
        if not self._first <= self._now <= self._first + len(self._targets) - self._used:
            self._first = self._now
            ahead = self._used * max(1, _LOOK_AHEAD // self._used)
            self._inputs = sphere_samples(self._key, self._now, ahead, self._problem.dimension)
            self._targets = self._problem.target(self._inputs)
        here = slice(self._now - self._first, self._now - self._first + self._used)
        return self._inputs[here].reshape(*agents, self.batch, -1), self._targets[here].reshape(*agents, self.batch)

    def _values(self, point: Floats, x: Floats) -> tuple[Floats, Floats]:
        # Values of the units at the samples, (…, sample, unit), and their slopes in the inner product.
        z = x @ np.swapaxes(point[..., : self._problem.dimension], -1, -2)
        if self._constrained:
            value = self._unit.amplitude * np.exp(self._unit.alpha * (z - self._problem.dimension))
            return value, self._unit.alpha * value
        value = special.expit(z + point[..., None, :, -2])
        return value, value * (1 - value)

    def _flow_terms(self, point: Floats) -> tuple[Floats, Floats]:
        # One agent after the other, by the compiled right-hand side.
        agents = point.reshape(-1, *point.shape[-2:])
        if self._state is None:
            self._state = self._problem.state(self._unit, agents[0])
        gradient, energy = np.empty_like(agents), np.empty(len(agents))
        for a, units in enumerate(agents):
            self._state.set_units(units)
            velocity, energy[a] = self._state.flow_velocity(self._flow)
            gradient[a] = -velocity
        return gradient.reshape(point.shape), energy.reshape(point.shape[:-2])

    def _tangent(self, gradient: Floats, point: Floats) -> Floats:
        if self._constrained:
            centers = point[..., :-1]
            radial = np.sum(gradient[..., :-1] * centers, axis=-1, keepdims=True) / self._problem.dimension
            gradient[..., :-1] -= radial * centers
        return gradient


def sphere_trajectory(
    method: ModuleType,
    hyperparameters,
    problem: Spin3,
    unit: GaussianUnits | SigmoidUnits,
    units: Floats,
    *,
    gradient: str,
    phases: list[Phase],
    step_size: float,
    stops: list[int],
    names: tuple[int, str, int],
) -> Walk:
    """Return the run of an optimiser, seen at each stop: the point where the next gradient is taken.

    An optimiser that is linear in a point and a velocity (`recurrence`), or has an inner loop of noisy steps
    (`inner_loop`), runs compiled, any other by its plain definition (`start`, `step`).

    Parameters
    ----------
    method : module
        A module of `meanfield.methods`.
    hyperparameters
        An instance of its `Hyperparameters`.
    problem, unit
        The target and the units.
    units : array, shape (unit, parameter)
        Initial units [1]. Not modified.
    gradient : str
        ``samples``, or a flow of `meanfield.limits.particle_flow`.
    phases : list of Phase
        Batch sizes, in the order of the iterations; the last ends with the run.
    step_size : float
        epsilon [mean-field time per iteration].
    stops : list of int, increasing
        Iterations at which the units are wanted; 0 is the initial state. The values do not depend on the other stops.
    names : tuple
        Root seed, experiment and replicate, which name the streams.

    """
    if hasattr(method, "inner_loop"):
        loop = method.inner_loop(hyperparameters)
        engine = _InnerLoopEngine(loop, problem, unit, units, gradient, step_size, names)
    elif has_compiled_form(method, hyperparameters):
        recurrence = Recurrence.of(method.recurrence(hyperparameters), step_size)
        engine = _CompiledEngine(recurrence, problem, unit, units, gradient, names)
    else:
        oracle = SphereOracle(problem, unit, gradient, phases[0].batch, *names)
        engine = _PlainEngine(method, hyperparameters, oracle, units, step_size)
    return _SphereWalk(engine, phases, stops)


def has_compiled_form(method: ModuleType, hyperparameters) -> bool:
    """Tell whether the compiled kernels can run an optimiser."""
    if hasattr(method, "inner_loop"):
        return True
    return hasattr(method, "recurrence") and method.recurrence(hyperparameters).rule != "function_restart"


class _SphereWalk(Walk):
    # The run of an engine, phase by phase.
    def __init__(self, engine, phases: list[Phase], stops: list[int]):
        super().__init__(stops)
        self._engine, self._phases = engine, phases
        self._now = self._phase = 0

    def _go_to(self, stop: int) -> Floats:
        while self._now < stop:
            until = min(stop, self._phases[self._phase].end)
            if until > self._now:
                self._engine.advance(until - self._now, self._phases[self._phase].batch)
                self._now = until
            self._phase += self._now < stop
        return self._engine.point

    def _state(self) -> Tree:
        return {"now": self._now, "phase": self._phase, "engine": self._engine.snapshot()}

    def _put_back(self, state: Tree) -> None:
        self._now, self._phase = state["now"], state["phase"]
        self._engine.restore(state["engine"])


class _CompiledEngine:
    def __init__(self, recurrence: Recurrence, problem, unit, units, gradient: str, names):
        self._state, self._recurrence, self._key = problem.state(unit, units), recurrence, stream_key(*names)
        self._flow = None if gradient == SAMPLES else flow_code(problem, unit, gradient)
        self.snapshot, self.restore = self._state.snapshot, self._state.restore

    def advance(self, iterations: int, batch: int) -> None:
        if self._flow is None:
            self._state.advance_stream(iterations, self._recurrence, key=self._key, batch=batch)
        else:
            self._state.advance_flow(iterations, self._recurrence, self._flow)

    @property
    def point(self) -> Floats:
        return self._state.lookahead


class _InnerLoopEngine:
    def __init__(self, loop, problem, unit, units, gradient: str, step_size: float, names):
        self._unit = unit
        self._run = SphereInnerLoop(
            problem.state(unit, units), loop, step_size,
            key=stream_key(*names), noise_key=stream_key(*names, INJECTED_NOISE),
            flow=None if gradient == SAMPLES else flow_code(problem, unit, gradient),
        )  # fmt: skip
        self.snapshot, self.restore = self._run.snapshot, self._run.restore

    def advance(self, iterations: int, batch: int) -> None:
        self._run.advance(iterations, max(1, batch))  # a full gradient has no batch

    @property
    def point(self) -> Floats:
        return retracted(self._unit, self._run.point)


class _PlainEngine:
    def __init__(self, method, hyperparameters, oracle: SphereOracle, units, step_size: float):
        self._method, self._hyperparameters, self._oracle = method, hyperparameters, oracle
        self._step_size, self._iterate = step_size, method.start(units, hyperparameters)
        self._point = getattr(method, "point", lambda state: state.point)

    def advance(self, iterations: int, batch: int) -> None:
        self._oracle.batch = batch
        for _ in range(iterations):
            self._iterate = self._method.step(self._iterate, self._oracle, self._step_size, self._hyperparameters)

    @property
    def point(self) -> Floats:
        return self._oracle.retract(self._point(self._iterate))

    def snapshot(self) -> Tree:
        return {"iterate": tuple(self._iterate), "oracle": self._oracle.snapshot()}

    def restore(self, snapshot: Tree) -> None:
        self._iterate = type(self._iterate)(*snapshot["iterate"])
        self._oracle.restore(snapshot["oracle"])
