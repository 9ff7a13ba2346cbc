"""What an optimiser may ask of a problem, and what the networks answer: gradients at the samples of a stream."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.streams import INJECTED_NOISE, fill_block, stream_key

Function = Callable[[NDArray], NDArray]

_LOOK_AHEAD = 256  # samples drawn at once


class Oracle(Protocol):
    """A problem as the plain definitions of the optimisers see it: full gradients, or gradients at the next sample."""

    def gradient(self, point: NDArray) -> NDArray:
        """Return the gradient, with the shape of the point: full, or at the current sample."""

    def loss(self, point: NDArray) -> NDArray:
        """Return the loss, full or at the current sample; one number per leading entry, as `inner` returns them."""

    def inner(self, a: NDArray, b: NDArray) -> NDArray:
        """Return inner products over the weights, with the axes kept at length one."""

    def normal(self, shape: tuple[int, ...]) -> NDArray:
        """Return the next standard normals to inject [1]."""

    def retract(self, point: NDArray) -> NDArray:
        """Return the nearest point that the problem allows: the same, or its projection to a sphere."""

    def next(self) -> None:
        """Go on to the next sample."""


class FullOracle:
    """A function of vectors with its full gradient, at many points at once.

    Parameters
    ----------
    gradient : callable
        Maps points, shape (…, coordinate), to gradients of the same shape.
    loss : callable
        Maps points, shape (…, coordinate), to values, shape (…,).
    key : array of uint32, shape (2,), optional
        Stream of injected noise, from `meanfield.kernels.streams.stream_key`.

    """

    def __init__(self, gradient: Function, loss: Function, key: NDArray | None = None):
        self.gradient = gradient
        self._loss, self._key, self._drawn = loss, key, 0

    def loss(self, point: NDArray) -> NDArray:
        """Return the values, shape (…, 1)."""
        return self._loss(point)[..., None]

    def inner(self, a: NDArray, b: NDArray) -> NDArray:
        """Return inner products, shape (…, 1)."""
        return (a * b).sum(axis=-1, keepdims=True)

    def normal(self, shape: tuple[int, ...]) -> NDArray:
        """Return the next standard normals."""
        z = stream_normals(self._key, self._drawn, shape)
        self._drawn += int(np.prod(shape[:-1]))
        return z

    def retract(self, point: NDArray) -> NDArray:
        """Return the point: all points are allowed."""
        return point

    def next(self) -> None:
        """Do nothing: there are no samples."""


def stream_normals(key: NDArray, first: int, shape: tuple[int, ...]) -> NDArray:
    """Return standard normals of the shape (…, coordinate), its rows numbered from `first` in the stream [1]."""
    *_, coordinates = shape
    rows = int(np.prod(shape[:-1]))
    z, sign = np.empty((-(-coordinates // 4) * 4, rows)), np.empty(rows)
    fill_block(z, sign, key, first)
    return z[:coordinates].T.reshape(shape)


class InStreams:
    """Where an oracle is in a replicate's streams: of samples, and of injected noise."""

    def __init__(self, root: int, experiment: str, replicate: int):
        self._noise_key = stream_key(root, experiment, replicate, INJECTED_NOISE)
        self._now = self._used = self._drawn = 0

    def normal(self, shape: tuple[int, ...]) -> NDArray:
        """Return the next standard normals; the last axis of the shape is a vector of the stream."""
        z = stream_normals(self._noise_key, self._drawn, shape)
        self._drawn += int(np.prod(shape[:-1]))
        return z

    def next(self) -> None:
        """Pass over the samples that the last gradient used."""
        self._now += self._used

    def snapshot(self) -> tuple[int, int, int]:
        """Return where the oracle is in its streams."""
        return self._now, self._used, self._drawn

    def restore(self, snapshot: tuple[int, int, int]) -> None:
        """Go on from a snapshot."""
        self._now, self._used, self._drawn = snapshot


class SampleOracle(InStreams):
    """A network's gradients at the samples of a replicate, one fresh sample per gradient.

    A leading axis of the point holds agents: each takes a sample of its own, in their order. `next` passes over the
    samples that the last gradient used.

    Parameters
    ----------
    problem
        Offers `samples`, `sample_gradient` and `sample_loss`.
    root, experiment, replicate
        Name the streams of samples and of injected noise; see `meanfield.kernels.streams`.

    """

    def __init__(self, problem, root: int, experiment: str, replicate: int):
        super().__init__(root, experiment, replicate)
        self._problem = problem
        self._names = (root, experiment, replicate)
        self._first, self._inputs, self._targets = 0, np.empty((0, 0)), np.empty(0)

    def _sample(self, number: int) -> tuple[NDArray, float]:
        if not self._first <= number < self._first + len(self._targets):
            self._first = number
            self._inputs, self._targets = self._problem.samples(*self._names, number, _LOOK_AHEAD)
        return self._inputs[number - self._first], self._targets[number - self._first]

    def gradient(self, point: NDArray) -> NDArray:
        """Return the gradient at the current samples, without the factor 1/N, shape of the point."""
        agents = point.reshape(-1, *point.shape[-2:])
        self._used = len(agents)
        parts = [self._problem.sample_gradient(one, *self._sample(self._now + a)) for a, one in enumerate(agents)]
        return np.reshape(parts, point.shape)

    def loss(self, point: NDArray) -> NDArray:
        """Return the squared error at the current samples, shape (…, 1, 1)."""
        agents = point.reshape(-1, *point.shape[-2:])
        parts = [self._problem.sample_loss(one, *self._sample(self._now + a)) for a, one in enumerate(agents)]
        return np.reshape(parts, (*point.shape[:-2], 1, 1))

    def inner(self, a: NDArray, b: NDArray) -> NDArray:
        """Return inner products of weights, shape (…, 1, 1)."""
        return (a * b).sum(axis=(-2, -1), keepdims=True)

    def retract(self, point: NDArray) -> NDArray:
        """Return the point: all weights are allowed."""
        return point
