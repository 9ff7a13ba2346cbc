r"""Optimisers with an inner loop of noisy steps, on networks: Langevin, local entropy and homogenised dynamics.

Each agent has weights x and a fast copy y. With the gradient g at a fresh sample, the step s, the scope
:math:`\gamma`, the temperature T and standard normals :math:`\xi`, one iteration runs

.. math:: y_m = y_{m-1} - s \bigl[g(y_{m-1}) + (y_{m-1} - x)/\gamma + \lambda y_{m-1}\bigr] + \sqrt{2 s T}\,\xi_m,
          \qquad m = 1 \dots L,

from :math:`y_0 = x`, or from where y was left, and moves the weights towards the average
:math:`\bar y = \sum_{m=0}^L c_m y_m` (with :math:`y_0 = x` in it) and towards the mean of the agents:

.. math:: x \leftarrow x - h \bigl[(x - \bar y)/\gamma + \eta (x - \bar x)\bigr], \qquad h = \rho \gamma .

Injected noise leaves the span of the samples, so that no block of samples can be put off: an iteration costs a pass
over all weights and a normal for each, unless the temperature is zero. The methods in `meanfield.methods` give the
sources.
"""

import math
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.streams import fill_block

_TILE = 64  # neurons whose noise is drawn at once
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
        its fixed point. None where the scope changes, because the factor does.
        """
        if self.scoping:
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


@nb.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _move(y, anchor, mean, push, output_push, x, rates, noise, key, first):
    # One inner step of one agent, all arrays (weight, neuron): y += push x - pull (y - anchor) - decay y + noise, and
    # mean += weight y. Tiles of neurons, so that the noise stays in the first cache.
    pull, decay, amplitude, weight = rates
    rows, neurons = y.shape
    sign = np.empty(_TILE, noise.dtype)
    for start in range(0, neurons, _TILE):
        stop = min(start + _TILE, neurons)
        if amplitude > 0:
            fill_block(noise, sign, key, first + start)
        for c in range(rows):
            row, fixed, average, z = y[c], anchor[c], mean[c], noise[c]
            factor = x[c]
            for i in range(start, stop):
                row[i] += factor * push[i] - pull * (row[i] - fixed[i]) - decay * row[i]
            if c == 0 and output_push.size:
                for i in range(start, stop):
                    row[i] += output_push[i]
            if amplitude > 0:
                for i in range(start, stop):
                    row[i] += amplitude * z[i - start]
            if weight > 0:
                for i in range(start, stop):
                    average[i] += weight * row[i]


class InnerLoopRun:
    """A replicate's run of an optimiser with an inner loop; made once, then advanced.

    Parameters
    ----------
    problem
        A network's problem: `samples`, `activation`, and `extra_columns`, how many columns of its weights come before
        the input weights: none, or the output weight and the bias.
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
        self._problem, self._loop, self._names, self._key = problem, loop, names, noise_key
        self._x = np.repeat(np.ascontiguousarray(weights.T)[None], loop.agents, axis=0)
        self._y = self._x.copy()
        self._mean = np.empty_like(self._x[0])
        self._noise = np.zeros((-(-weights.shape[1] // 4) * 4, _TILE), np.float32)
        self._iteration = 0
        self._first, self._inputs, self._targets = 0, np.empty((0, 0)), np.empty(0)

    @property
    def point(self) -> NDArray:
        """The mean of the agents, shape (neuron, weight) [1]."""
        return np.ascontiguousarray(self._x.mean(axis=0).T)

    def advance(self, step_size: float) -> None:
        """Run one iteration with the given step size [1]."""
        loop = self._loop
        scope = loop.scope_at(self._iteration)
        first = self._iteration * loop.steps
        centre = self._x.mean(axis=0)
        for agent in range(loop.agents):
            x, y = self._x[agent], self._y[agent]
            if not loop.carried:
                y[...] = x
            self._mean[...] = loop.averaging[0] * x
            for m in range(loop.steps):
                self._inner_step(y, x, (first + m) * loop.agents + agent, step_size, scope, loop.averaging[m + 1])
            pull = 0.0 if math.isinf(scope) else loop.ratio * scope * loop.attraction
            x -= loop.ratio * (x - self._mean) + pull * (x - centre)
        self._iteration += 1

    def _inner_step(self, y: NDArray, x: NDArray, number: int, step_size: float, scope: float, weight: float) -> None:
        sample, target = self._sample(number)
        extra, activation, dtype = self._problem.extra_columns, self._problem.activation, y.dtype
        row = np.zeros(len(y), dtype)
        row[extra:] = sample
        row[1:extra] = 1
        z = row @ y
        value = activation(z)
        output = y[0] if extra else 1.0
        move = 2 * step_size * (target - (output * value).mean())
        push = (move * output * activation.derivative(z)).astype(dtype)
        output_push = (move * value if extra else np.empty(0)).astype(dtype)
        rates = np.array(
            [step_size / scope, step_size * self._loop.regularisation,
             math.sqrt(2 * step_size * self._loop.temperature), weight], dtype,
        )  # fmt: skip
        _move(y, x, self._mean, push, output_push, row, rates, self._noise, self._key, number * y.shape[1])

    def _sample(self, number: int) -> tuple[NDArray, float]:
        if not self._first <= number < self._first + len(self._targets):
            self._first = number
            ahead = _LOOK_AHEAD * self._loop.agents
            self._inputs, self._targets = self._problem.samples(*self._names, number, ahead)
        return self._inputs[number - self._first], self._targets[number - self._first]
