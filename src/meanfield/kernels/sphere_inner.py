r"""Optimisers with an inner loop of noisy steps on the spherical 3-spin: compiled, vector lanes over units.

The iteration is that of `meanfield.kernels.inner_loop`, with the nearest point of the sphere taken after every inner
step and after the move of the weights where centres are bound to it, and with batches of samples, or the full gradient
of a flow, in place of single samples. Gradients and work arrays are those of `meanfield.kernels.sphere`. Each agent of
each inner step takes a batch and a normal number per parameter of its own, in the order of the agents.

Arrays in, arrays out; no files.
"""

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.inner_loop import InnerLoop
from meanfield.kernels.sphere import (
    GAUSSIAN,
    SphereState,
    _batch_velocity,
    _copy,
    _cubic,
    _flow_velocity,
    _project,
    _retract,
)
from meanfield.kernels.streams import fill_block


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _noisy_step(y, x, v, noise, rates, units, constrained, normal, scale):
    # y <- y + s v - (s / gamma) (y - x) - s lambda y + amplitude xi, on the sphere; v is tangent on return.
    step, pull, decay, amplitude = rates[0], rates[1], rates[2], rates[3]
    rows, width = y.shape
    if constrained > 0:
        _project(v, y, constrained, normal)
    for j in range(rows):
        for i in range(width):
            scale[i] = step * v[j, i] - pull * (y[j, i] - x[j, i]) - decay * y[j, i]
        for i in range(width):
            y[j, i] += scale[i]
        if amplitude > 0:
            for i in range(units):
                y[j, i] += amplitude * noise[j, i]
    if constrained > 0:
        _retract(y, constrained, scale)


@nb.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _iterate(
    agents,
    fast,
    means,
    iterations,
    done,
    loop,
    averaging,
    batch,
    source,
    units,
    unit,
    terms,
    flow,
    work,
    samples,
    noise,
):
    # `source` has the keys of samples and of injected noise, and the number of the first sample; `loop` has (step,
    # scope, ratio, attraction, temperature, regularisation, scoping, carried). All work arrays are the caller's.
    sample_key, noise_key, sample = source
    step, scope0, ratio, attraction, temperature, regularisation, scoping, carried = loop
    z, sign, x, f, norm, middle, inner = samples
    xi, noise_sign, y_rows, force, v, centre = noise
    count, rows, width = agents.shape
    dimension = terms.shape[0]
    constrained = dimension if unit[0] == GAUSSIAN else 0
    inner_steps = averaging.size - 1
    per_fill = x.shape[0] // batch
    slot = per_fill  # batches used of the samples that were drawn last: all
    rates = np.empty(4, agents.dtype)
    for k in range(done, done + iterations):
        scope = scope0 * (1 - scoping) ** k
        rates[0], rates[1], rates[2] = step, step / scope, step * regularisation
        rates[3] = math.sqrt(2 * step * temperature)
        towards = 0.0 if math.isinf(scope) else ratio * scope * attraction
        centre[:] = 0
        for a in range(count):
            if not carried:
                _copy(agents[a], fast[a])
            for j in range(rows):
                for i in range(width):
                    means[a, j, i] = averaging[0] * agents[a, j, i]
                    centre[j, i] += agents[a, j, i] / count
        for m in range(inner_steps):
            for a in range(count):
                number = (k * inner_steps + m) * count + a
                y, weight = fast[a], averaging[m + 1]
                if flow is None:
                    if slot == per_fill:
                        fill_block(z, sign, sample_key, sample)
                        _retract(z, dimension, norm)
                        _cubic(z, terms, f, middle, inner)
                        for p in range(x.shape[0]):
                            for j in range(dimension):
                                x[p, j] = z[j, p]
                        slot = 0
                    _batch_velocity(y, v, x, f, slot * batch, batch, unit, units, work)
                    slot += 1
                    sample += batch
                else:
                    _flow_velocity(y, v, y_rows, force, units, flow, work)
                if rates[3] > 0:
                    fill_block(xi, noise_sign, noise_key, number * units)
                _noisy_step(y, agents[a], v, xi, rates, units, constrained, work[4], work[5])
                if weight > 0:
                    for j in range(rows):
                        for i in range(width):
                            means[a, j, i] += weight * y[j, i]
        for a in range(count):
            u = agents[a]
            for j in range(rows):
                for i in range(width):
                    way = ratio * (u[j, i] - means[a, j, i]) + towards * (u[j, i] - centre[j, i])
                    u[j, i] -= way
            if constrained > 0:
                _retract(u, constrained, work[5])


class SphereInnerLoop:
    """A replicate's run of an optimiser with an inner loop on the 3-spin; made once, then advanced.

    Parameters
    ----------
    state : SphereState
        Initial units of every agent; its arrays are used.
    loop : InnerLoop
        Coefficients.
    step_size : float
        s > 0 [mean-field time].
    key, noise_key : array of uint32, shape (2,)
        Keys of the streams of samples and of injected noise.
    flow : tuple, optional
        Full gradients of this flow, from `meanfield.problems.spin3`, in place of samples.

    """

    def __init__(
        self, state: SphereState, loop: InnerLoop, step_size: float, *,
        key: NDArray, noise_key: NDArray, flow: tuple | None = None,
    ):  # fmt: skip
        self._state, self._keys = state, (key, noise_key)
        self._flow = None if flow is None else state._flow(flow)
        self._averaging = loop.averaging.astype(state.dtype)
        self._loop = (
            float(step_size), float(loop.scope), float(loop.ratio), float(loop.attraction), float(loop.temperature),
            float(loop.regularisation), float(loop.scoping), loop.carried,
        )  # fmt: skip
        self._agents = np.repeat(state._u[None], loop.agents, axis=0)
        self._fast, self._means = self._agents.copy(), np.empty_like(self._agents)
        rows, width = state._shape
        noise = np.zeros((-(-rows // 4) * 4, state.units_count), state.dtype)
        self._noise = (
            noise, noise[0].copy(), *state._flow_work, np.zeros((rows, width), state.dtype),
            np.zeros((rows, width), state.dtype),
        )  # fmt: skip
        self._done = self._samples = 0

    @property
    def point(self) -> NDArray:
        """The mean of the agents, shape (unit, parameter) [1]; its centres need not lie on the sphere."""
        return np.ascontiguousarray(self._agents.mean(axis=0)[:, : self._state.units_count].T)

    def advance(self, iterations: int, batch: int = 1) -> None:
        """Run iterations, every gradient on the next `batch` samples of the stream, or full."""
        state = self._state
        _iterate(
            self._agents, self._fast, self._means, iterations, self._done, self._loop, self._averaging,
            batch, (*self._keys, self._samples), state.units_count, state._unit, state._terms, self._flow, state._work,
            state._samples_of(batch), self._noise,
        )  # fmt: skip
        self._done += iterations
        self._samples += iterations * len(self._agents) * (len(self._averaging) - 1) * batch

    def snapshot(self) -> dict:
        """Return everything that the next iterations depend on."""
        arrays = {"agents": self._agents, "fast": self._fast, "means": self._means}
        return {"counters": (self._done, self._samples), **{name: array.copy() for name, array in arrays.items()}}

    def restore(self, snapshot: dict) -> None:
        """Go on from a snapshot of a run of the same shape: the same bits as without the interruption."""
        self._done, self._samples = snapshot["counters"]
        for own, name in ((self._agents, "agents"), (self._fast, "fast"), (self._means, "means")):
            own[...] = snapshot[name]
