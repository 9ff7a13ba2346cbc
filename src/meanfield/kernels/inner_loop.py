r"""Optimisers with an inner loop of noisy steps, on networks: Langevin, local entropy and homogenised dynamics.

Each agent has weights x and a fast copy y. With the gradient g at a fresh sample, the step s, the scope
:math:`\gamma`, the temperature T and standard normals :math:`\xi`, one iteration runs

.. math:: y_m = y_{m-1} - s \bigl[g(y_{m-1}) + (y_{m-1} - x)/\gamma + \lambda y_{m-1}\bigr] + \sqrt{2 s T}\,\xi_m,
          \qquad m = 1 \dots L,

from :math:`y_0 = x`, or from where y was left, and moves the weights towards the average
:math:`\bar y = \sum_{m=0}^L c_m y_m` (with :math:`y_0 = x` in it) and towards the mean of the agents:

.. math:: x \leftarrow x - h \bigl[(x - \bar y)/\gamma + \eta (x - \bar x)\bigr], \qquad h = \rho \gamma .

Here every inner step is a pass over all weights, with a normal for each unless the temperature is zero: the path of the
plain definition. `meanfield.kernels.inner_blocks` has the same law for much less, and runs all but very long inner
loops. The methods in `meanfield.methods` give the sources.
"""

import math
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.activate import PIECEWISE_LINEAR, activate_smooth
from meanfield.kernels.streams import fill_four

_LOOK_AHEAD = 256  # samples drawn at once


@dataclass(frozen=True)
class InnerLoop:
    r"""Coefficients of an optimiser with an inner loop.

    Parameters
    ----------
    averaging : array, shape (step + 1,)
        Weights :math:`c_0 \dots c_L` of the average, which sum to one [1].
    scope : float
        :math:`\gamma > 0` [mean-field time]; infinite for no pull to x.
    ratio : float
        :math:`\rho = h/\gamma` in (0, 1] [1].
    agents : int
        How many copies of the network move together.
    attraction : float
        :math:`\eta \ge 0`, pull to the mean of the agents [1 / mean-field time].
    temperature : float
        T >= 0 [units of the loss that the gradient belongs to].
    regularisation : float
        :math:`\lambda \ge 0` [1].
    scoping : float
        The scope shrinks by the factor 1 - scoping with every iteration [1].
    carried : bool
        Whether y goes on from where it was left.

    """

    averaging: NDArray[np.float64]
    scope: float = math.inf
    ratio: float = 1.0
    agents: int = 1
    attraction: float = 0.0
    temperature: float = 0.0
    regularisation: float = 0.0
    scoping: float = 0.0
    carried: bool = False

    @property
    def steps(self) -> int:
        """Inner steps L of an iteration [count]."""
        return len(self.averaging) - 1

    def scope_at(self, iteration: int) -> float:
        """Return the scope in an iteration, counted from 0 [mean-field time]."""
        return self.scope * (1 - self.scoping) ** iteration

    def clock(self, step_size: float) -> float | None:
        r"""Return the factor of SGD's step that has the same effect where gradients vary slowly, without noise.

        For a constant gradient the distance y - x is a linear recursion, and the move of x per iteration follows from
        its fixed point. None where the scope changes, because the factor does, and where the inner steps diverge.
        """
        if self.scoping or step_size >= 2 * self.scope:
            return None
        if math.isinf(self.scope):
            return float(np.arange(self.steps + 1) @ self.averaging)
        decay = 1 - step_size / self.scope
        powers = decay ** np.arange(self.steps + 1)
        average, last = float(powers @ self.averaging), float(powers[-1])
        left = 0.0  # y - x when an iteration starts, in units of -gamma g
        if self.carried:
            left = ((1 - last) - self.ratio * (1 - average)) / (1 - last + self.ratio * average)
        return self.ratio * self.scope / step_size * ((1 - average) + average * left)


# Rows of weights, over neurons; short loops over whole arrays, so that LLVM makes vectors of them.


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _add_rows(total, rows, factors, c):
    # Four at a time: the sum is read and written a quarter as often.
    r0, r1, r2, r3 = rows[c], rows[c + 1], rows[c + 2], rows[c + 3]
    f0, f1, f2, f3 = factors[c], factors[c + 1], factors[c + 2], factors[c + 3]
    for i in range(total.size):
        total[i] += (f0 * r0[i] + f1 * r1[i]) + (f2 * r2[i] + f3 * r3[i])


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _add_row(row, values, factor):
    for i in range(row.size):
        row[i] += factor * values[i]


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _drift_row(row, fixed, push, factor, pull, keep):
    for i in range(row.size):
        row[i] = keep * row[i] + (factor * push[i] + pull * fixed[i])


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _free_row(row, push, factor, keep):
    for i in range(row.size):
        row[i] = keep * row[i] + factor * push[i]


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _predict(y, x, z):
    z[:] = 0
    whole = y.shape[0] - y.shape[0] % 4
    for c in range(0, whole, 4):
        _add_rows(z, y, x, c)
    for c in range(whole, y.shape[0]):
        _add_row(z, y[c], x[c])


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _piecewise_linear(z, value, slope, knots, slopes, intercepts):
    for i in range(z.size):
        n = 0
        for knot in knots:
            n += z[i] > knot
        value[i] = intercepts[n] + slopes[n] * z[i]
        slope[i] = slopes[n]


@nb.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _inner_steps(y, anchor, mean, samples, targets, averaging, rates, extra, activation, work, room, key, numbers):
    # The inner steps of one agent; all weights are arrays (weight, neuron), samples rows of shape (step, weight).
    step, pull, decay, amplitude = rates[0], rates[1], rates[2], rates[3]
    kind, knots, slopes, intercepts, parameters = activation
    z, value, slope = work[0], work[1], work[2]
    noise, words, radius = room[0], room[1], room[2]
    rows, neurons = y.shape
    keep = 1 - pull - decay
    for m in range(samples.shape[0]):
        x, weight = samples[m], averaging[m]
        first = min(extra, 1)
        _predict(y[first:], x[first:], z)  # the bias is a weight of the input one
        if kind == PIECEWISE_LINEAR:
            _piecewise_linear(z, value, slope, knots, slopes, intercepts)
        else:
            activate_smooth(z, value, slope, kind, parameters)
        prediction = 0.0
        for i in range(neurons):
            prediction += value[i] * y[0, i] if extra else value[i]
        factor = y.dtype.type(2 * step * (targets[m] - prediction / neurons))
        for i in range(neurons):
            slope[i] *= factor * y[0, i] if extra else factor
            value[i] *= factor
        for c in range(rows):
            if amplitude > 0 and c % 4 == 0:
                fill_four(noise, key, numbers[m], c // 4, words, radius)
            output = extra > 0 and c == 0
            push, along = (value, y.dtype.type(1)) if output else (slope, x[c])
            if pull > 0:
                _drift_row(y[c], anchor[c], push, along, pull, keep)
            else:
                _free_row(y[c], push, along, keep)
            if amplitude > 0:
                _add_row(y[c], noise[c % 4], amplitude)
            if weight > 0:
                _add_row(mean[c], y[c], weight)


@nb.njit(cache=True, nogil=True)
def _begin(x, y, mean, weight, carried):
    # An agent's fast copy starts where the agent is, unless it is carried over, and its average with what that weighs.
    for c in range(x.shape[0]):
        for i in range(x.shape[1]):
            if not carried:
                y[c, i] = x[c, i]
            mean[c, i] = weight * x[c, i]


@nb.njit(cache=True, nogil=True)
def _move(x, mean, centre, ratio, pull):
    # The agent goes to the average, and to the centre of all agents if it is pulled there.
    for c in range(x.shape[0]):
        for i in range(x.shape[1]):
            way = ratio * (x[c, i] - mean[c, i])
            if pull != 0:
                way += pull * (x[c, i] - centre[c, i])
            x[c, i] -= way


class SampleRows:
    """Samples of a replicate's stream as rows of what multiplies each weight, drawn in advance.

    Parameters
    ----------
    problem
        A network's problem, see `InnerLoopRun`.
    names : tuple
        Root seed, experiment, replicate, of the stream of samples.
    columns : int
        Number of weights of a neuron.
    dtype : dtype
        Of the rows.

    """

    def __init__(self, problem, names: tuple, columns: int, dtype):
        self._problem, self._names, self._columns, self._dtype = problem, names, columns, dtype
        self._first, self._rows, self._targets = 0, np.empty((0, 0)), np.empty(0)

    def take(self, first: int, count: int) -> tuple[NDArray, NDArray]:
        """Return rows and targets of samples `first` …: nothing for the output weight, one for the bias."""
        if not self._first <= first <= self._first + len(self._targets) - count:
            self._first = first
            inputs, self._targets = self._problem.samples(*self._names, first, max(count, _LOOK_AHEAD))
            extra = self._problem.extra_columns
            self._rows = np.ones((len(inputs), self._columns), self._dtype)
            self._rows[:, extra:] = inputs
        place = first - self._first
        return self._rows[place : place + count], self._targets[place : place + count]


class InnerLoopRun:
    """A replicate's run of an optimiser with an inner loop; made once, then advanced.

    Parameters
    ----------
    problem
        A network's problem: `samples`, `activation`, and `extra_columns`, how many columns of its weights come before
        the input weights: none, the output weight, or the output weight and the bias.
    weights : array, shape (neuron, weight)
        Initial weights of every agent [1]; their dtype is that of all arithmetic. Not modified.
    loop : InnerLoop
        Coefficients.
    names : tuple
        Root seed, experiment, replicate, of the stream of samples.
    noise_key : array of uint32, shape (2,)
        Key of the stream of injected noise.

    """

    def __init__(self, problem, weights: NDArray, loop: InnerLoop, names: tuple, noise_key: NDArray):
        self._problem, self._loop, self._key = problem, loop, noise_key
        self._x = np.repeat(np.ascontiguousarray(weights.T)[None], loop.agents, axis=0)
        self._y = self._x.copy()
        self._mean = np.empty_like(self._x[0])
        neurons = len(weights)
        self._work = np.zeros((3, neurons), weights.dtype)
        noise, words = np.zeros((4, neurons), np.float32), np.zeros((4, neurons), np.uint32)
        self._room = noise, words, np.zeros(neurons, np.float32)
        kind, *tables = problem.activation.kernel_code()
        self._activation = (kind, *(np.ascontiguousarray(table, weights.dtype) for table in tables))
        self.iteration = 0
        self._samples = SampleRows(problem, names, weights.shape[1], weights.dtype)

    @property
    def point(self) -> NDArray:
        """The mean of the agents, shape (neuron, weight) [1]."""
        return np.ascontiguousarray(self._x.mean(axis=0).T)

    def advance(self, step_size: float) -> None:
        """Run one iteration with the given step size [1]."""
        loop, dtype = self._loop, self._x.dtype
        scope = loop.scope_at(self.iteration)
        first = self.iteration * loop.steps
        neurons = self._x.shape[2]
        rates = np.array(
            [step_size, step_size / scope, step_size * loop.regularisation,
             math.sqrt(2 * step_size * loop.temperature)], dtype,
        )  # fmt: skip
        averaging = loop.averaging.astype(dtype)
        samples, targets = self._samples.take(first * loop.agents, loop.steps * loop.agents)
        pull = 0.0 if math.isinf(scope) else loop.ratio * scope * loop.attraction
        centre = self._x.mean(axis=0) if pull else self._x[0]
        for agent in range(loop.agents):
            x, y = self._x[agent], self._y[agent]
            _begin(x, y, self._mean, averaging[0], loop.carried)
            numbers = (np.arange(first, first + loop.steps) * loop.agents + agent) * neurons
            _inner_steps(
                y, x, self._mean, samples[agent :: loop.agents], targets[agent :: loop.agents], averaging[1:], rates,
                self._problem.extra_columns, self._activation, self._work, self._room, self._key, numbers,
            )  # fmt: skip
            _move(x, self._mean, centre, dtype.type(loop.ratio), dtype.type(pull))
        self.iteration += 1

    def snapshot(self) -> dict:
        """Return everything that the next iterations depend on."""
        arrays = {"x": self._x, "y": self._y, "mean": self._mean}
        return {"iteration": self.iteration, **{name: array.copy() for name, array in arrays.items()}}

    def restore(self, snapshot: dict) -> None:
        """Go on from a snapshot of a run of the same shape: the same bits as without the interruption."""
        self.iteration = snapshot["iteration"]
        self._x[...], self._y[...], self._mean[...] = snapshot["x"], snapshot["y"], snapshot["mean"]
