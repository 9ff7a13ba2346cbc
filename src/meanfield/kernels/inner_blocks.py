r"""Optimisers with an inner loop of noisy steps, a block of samples at a time: the law of `inner_loop`, much faster.

The fast copy of an agent follows :math:`y_m = \kappa_m y_{m-1} + \pi_m x + e_m c_m x_m + \sigma_m \xi_m`, a linear
recursion whose coefficients all weights share (`meanfield.kernels.inner_loop`). So, as in
`meanfield.kernels.block_sgd`, a neuron's preactivations within a block of K samples are scalars:

.. math:: \langle y_k, x_{k+1}\rangle = A_k \langle y_0, x_{k+1}\rangle + B_k \langle x, x_{k+1}\rangle
          + \sum_{l \le k} H_{kl}\, e_l c_l \langle x_l, x_{k+1}\rangle + \langle n_k, x_{k+1}\rangle,

and the weights at the end of the block, their average, or both, are sums of the old weights, the samples and the noise
:math:`n_k = \sum_l H_{kl} \sigma_l \xi_l`. Without noise this is the plain algorithm with its sums in another order.

**Noise** is drawn for what is needed of it only. In every coordinate the ends that are kept, :math:`n_K` or
:math:`\bar n = \sum_m c_m n_m` or both, are linear in one or two standard normals g. The rest of the path,
:math:`n_k - E[n_k | g]`, is independent of g with a covariance :math:`C_{kl}` between inner steps, the same in every
coordinate, and enters through its products with the samples alone: a neuron's K products are jointly normal with the
covariance :math:`C_{kl} \langle x_{k+1}, x_{l+1}\rangle`, and one Cholesky factor serves all neurons. So a block takes
d + K (or 2 d + K) normals for each neuron in place of d K, and has exactly the law of the plain algorithm, which draws
them all; it is not the same path, unless the temperature is zero. Output weights take a normal per step as they stand.

A look inside a block (of the Langevin algorithm, whose iterations are the steps of a block) needs the noise there in
every coordinate. It is drawn given everything that the block uses: a path with the prior law is corrected by the
difference of its products from those used (Matheron's rule). Looks change no bit of the run.
"""

from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from meanfield.kernels import lanes
from meanfield.kernels.activate import PIECEWISE_LINEAR
from meanfield.kernels.block_sgd import block_size
from meanfield.kernels.inner_loop import InnerLoop, SampleRows
from meanfield.kernels.lanes import WIDTH, aligned_copy
from meanfield.kernels.streams import fill_rows
from meanfield.kernels.sweeps import correct_strip, step_in_strip, step_weighted, tables_of
from meanfield.kernels.tiles import (
    ROWS,
    STRIP,
    TILE,
    inner_products,
    layout,
    padded,
    predict,
    prepare,
    scale_rows,
    update,
)

# Inner loops of more steps than this run step by step: corrections cost half as many products per neuron and step.
LONGEST = 128
# Least number of samples in a block of the Langevin algorithm: fewer would leave more noise to draw.
_LEAST = 32


# -- coefficients of a block -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Recursion:
    # y_m = first[m] y_0 + anchor[m] x + sum_l response[m, l] (e_l c_l x_l + amplitude_l xi_l), for m = 0 … K.
    first: NDArray
    anchor: NDArray
    response: NDArray
    noise: NDArray  # response times amplitude
    basis: NDArray  # shape (step, normal): the normals g are basis^T xi
    regression: NDArray  # shape (K + 1, normal): E[n_m | g] = regression[m] g
    covariance: NDArray  # of n_m - E[n_m | g], shape (K + 1, K + 1)


def _recursion(keep: NDArray, pull: NDArray, amplitude: NDArray, kept: list[NDArray]) -> _Recursion:
    """Return the coefficients; `kept` has a row of weights c_0 … c_K for each end of the noise that is kept."""
    steps = len(keep)
    first, anchor, response = np.ones(steps + 1), np.zeros(steps + 1), np.zeros((steps + 1, steps))
    for m in range(steps):
        first[m + 1] = keep[m] * first[m]
        anchor[m + 1] = keep[m] * anchor[m] + pull[m]
        response[m + 1] = keep[m] * response[m]
        response[m + 1, m] = 1
    noise = response * amplitude
    if not kept:
        nothing = np.zeros((steps + 1, 0))
        return _Recursion(first, anchor, response, noise, nothing[1:], nothing, np.zeros((steps + 1, steps + 1)))
    basis, _ = np.linalg.qr((np.array(kept) @ noise).T)
    regression = noise @ basis
    rest = noise - regression @ basis.T
    return _Recursion(first, anchor, response, noise, basis, regression, rest @ rest.T)


# -- compiled --------------------------------------------------------------------------------------------------------


@nb.njit(nogil=True)
def _draw(target, pitch, rows, count, key, number, words, radius):
    # Standard normals for the first `count` numbers of each row, four rows at a time; rows start `pitch` apart.
    for quad in range((rows + 3) // 4):
        start = 4 * quad * pitch
        fill_rows(
            target[start : start + count], target[start + pitch : start + pitch + count],
            target[start + 2 * pitch : start + 2 * pitch + count],
            target[start + 3 * pitch : start + 3 * pitch + count], key, number, quad, words, radius,
        )  # fmt: skip


@nb.njit(nogil=True)
def _add_field(p, q, factors, count, place, neurons, fresh):
    # p[k] (+)= factors[k] q[k] for one tile.
    width = lanes.width(p)
    zero = lanes.splat(p.dtype.type(0))
    for k in range(count):
        for lane in range(k * TILE, k * TILE + neurons, width):
            before = zero if fresh else lanes.load(p, place + lane)
            lanes.store(p, place + lane, lanes.fma_scalar(factors[k], lanes.load(q, lane), before))


@nb.njit(nogil=True, error_model="numpy", fastmath=False)
def _factorise(covariance, gram, size, block, factor):
    # The lower Cholesky factor of covariance[k, l] <x_k, x_l>, row after row; a row that depends on those before it
    # gets a zero on the diagonal. Rows start at multiples of `block`.
    for k in range(size):
        for m in range(k + 1):
            total = np.float64(covariance[k, m]) * np.float64(gram[m * block + k])
            for j in range(m):
                total -= factor[k, j] * factor[m, j]
            if m < k:
                factor[k, m] = total / factor[m, m] if factor[m, m] > 0 else 0.0
            else:
                whole = np.float64(covariance[k, k]) * np.float64(gram[k * block + k])
                factor[k, k] = np.sqrt(total) if total > 1e-12 * whole else 0.0


@nb.njit(nogil=True)
def _add_products(p, z, factor, count, block, tile, chunk, neurons, stride):
    # p[k] += sum_{m <= k} factor[k, m] z[m] for one tile: the products of the noise with the samples.
    width = lanes.width(p)
    for lane in range(0, neurons, width):
        start = tile * TILE + lane
        for k in range(1, count):
            place = tile * chunk + k * TILE + lane
            pi = lanes.load(p, place)
            for m in range(1, k + 1):
                pi = lanes.fma_at(factor, k * block + m, lanes.load(z, m * stride + start), pi)
            lanes.store(p, place, pi)


@nb.njit(nogil=True, fastmath={"contract"})
def _step_outputs(a, anchor, mean, value, noise, neurons, e, keep, pull, amplitude, weight):
    # The output weights of the fast copy take their step at once: the next sample sees them as they are.
    for i in range(neurons):
        a[i] = keep * a[i] + (pull * anchor[i] + e * value[i])
    if amplitude > 0:
        for i in range(neurons):
            a[i] += amplitude * noise[i]
    for i in range(neurons):
        mean[i] += weight * a[i]


@nb.njit(nogil=True)
def _sweep(count, y, rates, shape, network, work, outputs, response):
    # The steps of one block: fills e, puts slopes in the place of preactivations, and moves the output weights.
    neurons, chunk, block = shape
    kind, tables, weighted, trained = network
    p, gram, g, e, bits, moved, value, slope = work
    a, anchor, mean, noise = outputs
    pitch = a.size
    steps, keep, pull, amplitude, averaging = rates
    moved[:] = 0
    for k in range(count):
        first = k - k % STRIP
        if k == first and first > 0:
            correct_strip(p, p, g, first, chunk, block, moved.size, neurons)
        if kind == PIECEWISE_LINEAR and not weighted:
            total = step_in_strip(k - first, p, p, g, k, chunk, block, neurons, tables, bits, moved)
        else:
            total = step_weighted(p, p, g, k, first, chunk, block, neurons, kind, tables, a, value, slope, bits, moved)
        e[k] = 2 * steps[k] * (y[k] - total / neurons)
        for m in range(k + 1, block):
            g[k * block + m] = gram[k * block + m] * response[m, k] * e[k]
        if trained:
            _step_outputs(
                a,
                anchor,
                mean,
                value,
                noise[k * pitch : k * pitch + neurons],
                neurons,
                e[k],
                keep[k],
                pull[k],
                amplitude[k],
                averaging[k + 1],
            )


@nb.njit(nogil=True)
def _mix(fields, weights, states, first, last):
    # fields[f] <- sum_h weights[f, h] fields[h] for the states f, elementwise; whole vectors, one or two states.
    one, two = fields[0], fields[min(1, fields.shape[0] - 1)]
    width = lanes.width(one)
    own, other = lanes.splat(weights[0, 0]), lanes.splat(weights[0, min(1, weights.shape[1] - 1)])
    if states == 1 and fields.shape[0] == 1:
        if weights[0, 0] != 1:
            for n in range(first, last, width):
                lanes.store(one, n, lanes.multiply(own, lanes.load(one, n)))
    elif states == 1:
        for n in range(first, last, width):
            kept = lanes.multiply(own, lanes.load(one, n))
            lanes.store(one, n, lanes.fma(other, lanes.load(two, n), kept))
    else:
        back, kept = lanes.splat(weights[1, 0]), lanes.splat(weights[1, 1])
        for n in range(first, last, width):
            v, w = lanes.load(one, n), lanes.load(two, n)
            v, w = lanes.fma(other, w, lanes.multiply(own, v)), lanes.fma(kept, w, lanes.multiply(back, v))
            for h in range(2, fields.shape[0]):
                more = lanes.load(fields[h], n)
                v, w = lanes.fma_scalar(weights[0, h], more, v), lanes.fma_scalar(weights[1, h], more, w)
            lanes.store(one, n, v)
            lanes.store(two, n, w)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _run_block(
    count, states, shape, network, rates, coefficients, fields, outputs, samples, work, noise, inputs, targets
):
    # `count` steps of a block whose samples are `inputs` (row, coordinate); the first `states` fields are weights, the
    # others take fresh normals. All arrays belong to the caller.
    neurons, stride, chunk, block, coordinates, columns = shape
    p, q, gram, g, e, bits, moved, value, slope, scratch, movers = work
    panels, x, scaled, y = samples
    response, predictions, mixing, ends, covariance = coefficients
    key, number, z, factor, rounded, words, radius = noise
    width = lanes.width(p)
    size, dimension = inputs.shape
    for k in range(size):
        base = (k // width) * columns * width + k % width
        for j in range(dimension):
            x[k * columns + j] = inputs[k, j]
            panels[base + j * width] = inputs[k, j]
        y[k] = targets[k]
    inner_products(x, panels, block, columns, coordinates, gram, scratch)
    noisy = fields.shape[0] > states
    drawn = number
    if noisy:
        for f in range(states, fields.shape[0]):
            _draw(fields[f], columns, neurons, dimension, key, drawn, words, radius)
            fields[f][neurons * columns :] = 0  # rows of padding stay zero
            drawn += dimension
        _draw(z, stride, size, neurons, key, drawn, words, radius)
        drawn += neurons
        _factorise(covariance, gram, size, block, factor)
        for k in range(size):
            for m in range(k + 1):
                rounded[k * block + m] = factor[k, m]
    trained = network[3]
    if trained and noisy:
        _draw(outputs[3], stride, size, neurons, key, drawn, words, radius)
    for tile in range(moved.size):
        start, end = tile * TILE, min((tile + 1) * TILE, stride)
        for f in range(fields.shape[0]):
            predict(fields[f], start, end, columns, coordinates, panels, block, q, 0, TILE, scratch)
            _add_field(p, q, predictions[f], size, tile * chunk, end - start, f == 0)
        if noisy:
            _add_products(p, z, rounded, count, block, tile, chunk, end - start, stride)
    _sweep(
        count, y, rates, (neurons, chunk, block), network, (p, gram, g, e, bits, moved, value, slope), outputs, response
    )
    for tile in range(moved.size):
        start, end = tile * TILE, min((tile + 1) * TILE, stride)
        _mix(fields, mixing, states, start * columns, end * columns)
    for f in range(states):
        scale_rows(x, e, ends[f], count, block, columns, scaled)
        for tile in range(moved.size):
            end = min((tile + 1) * TILE, stride)
            way = prepare(moved[tile], count, columns, bits, moved.size, tile, movers)
            update(way, fields[f], tile, end, columns, scaled, block, p, chunk, bits, moved.size, count, movers)


# -- the run ---------------------------------------------------------------------------------------------------------


def in_blocks(loop: InnerLoop) -> bool:
    """Return whether an inner loop runs in blocks; longer ones run step by step (`inner_loop.InnerLoopRun`)."""
    return loop.steps <= LONGEST


class InnerBlocks:
    """A replicate's run of an optimiser with an inner loop; made once, then advanced.

    Parameters as in `meanfield.kernels.inner_loop.InnerLoopRun`; the loop has at most `LONGEST` steps.

    Attributes
    ----------
    block : int
        A run is cut at multiples of this many iterations; others are met by a copy.

    """

    def __init__(self, problem, weights: NDArray, loop: InnerLoop, names: tuple, noise_key: NDArray):
        self.loop, self._key, self.dtype = loop, noise_key, weights.dtype
        self.neurons, self._weights_each = weights.shape
        extra = problem.extra_columns
        self._trained = extra > 0
        self.dimension = self._weights_each - self._trained
        # Iterations of a single step without an anchor are the steps of a longer block.
        self._free = (
            loop.steps == 1 and loop.agents == 1 and np.isinf(loop.scope) and loop.ratio == 1 and loop.averaging[1] == 1
        )
        self.block = max(_LEAST, block_size(self.dimension, self.neurons)) if self._free else 1
        self._steps = self.block if self._free else loop.steps
        self._samples = SampleRows(problem, names, self._weights_each, self.dtype)
        self._cache = (None, None)

        self._shape = layout(self.neurons, self.dimension, padded(self._steps, WIDTH[self.dtype]))
        _, stride, _, block, _, columns = self._shape
        kind, tables = tables_of(problem.activation.kernel_code(), self.dtype)
        weighted = self._trained or self.neurons % WIDTH[self.dtype] != 0
        self._network = (kind, tables, weighted, self._trained)
        self._states = 2 if loop.carried else 1
        self._normals = min(self._states, self._steps) if loop.temperature > 0 else 0

        start = self._zeros(stride, columns)
        start[: self.neurons, : self.dimension] = weights[:, self._trained :]
        # Of each agent the fast copy, if it is carried over, and the weights; then room for normals, for all of them.
        self._fields = []
        outputs = self._zeros(stride)
        outputs[: self.neurons] = weights[:, 0] if self._trained else 1
        self._outputs = []
        for _ in range(loop.agents):
            fields = self._zeros(self._states + self._normals, stride * columns)
            fields[: self._states] = start.reshape(-1)
            self._fields.append(fields)
            self._outputs.append((outputs.copy(), outputs.copy()))  # of the fast copy and of the weights
        self._make_work(stride, columns, block)

    def _make_work(self, stride: int, columns: int, block: int) -> None:
        width, words = WIDTH[self.dtype], -(-stride // TILE)
        self._vectors = (
            self._zeros(block * columns), self._zeros(block * columns), self._zeros(block * padded(columns, width)),
            self._zeros(block),
        )  # fmt: skip
        self._work = (
            self._zeros(words * self._shape[2]), self._zeros(block * TILE), self._zeros(block * block),
            self._zeros(block * block), self._zeros(block), np.zeros(block * words, np.uint64),
            np.zeros(words, np.int64), self._zeros(stride), self._zeros(stride), self._zeros(ROWS * width),
            np.zeros(padded(block, TILE), np.uint64),
        )  # fmt: skip
        longest = max(self.dimension, self.neurons) if self._normals else 0
        rows = block if self._normals else 0
        self._noise = (
            self._zeros(rows * stride), np.zeros((rows, rows)), self._zeros(rows * rows),
            np.zeros((4, longest), np.uint32), np.zeros(longest, np.float32),
        )  # fmt: skip
        self._output_noise = self._zeros(rows * stride if self._trained else 0)

    def _zeros(self, *shape: int) -> NDArray:
        return lanes.aligned_zeros(shape, self.dtype)

    @property
    def point(self) -> NDArray:
        """The mean of the agents, shape (neuron, weight) [1]."""
        mean = np.mean([self._matrix(agent) for agent in range(self.loop.agents)], axis=0, dtype=self.dtype)
        return np.ascontiguousarray(mean)

    def _matrix(self, agent: int) -> NDArray:
        weights = self._fields[agent][self._states - 1].reshape(-1, self._shape[5])[: self.neurons, : self.dimension]
        if not self._trained:
            return weights
        return np.concatenate([self._outputs[agent][1][: self.neurons, None], weights], axis=1)

    def advance(self, first: int, last: int, step_sizes) -> None:
        """Run iterations `first` … `last - 1`.

        Parameters
        ----------
        first, last : int
            `first` is a multiple of the block.
        step_sizes : callable
            Returns the step sizes [1] of inner steps, given the number of the first and how many.

        """
        for start in range(first, last, self.block):
            if self._free:
                self._advance_free(start, min(self.block, last - start), step_sizes(start, self.block))
            else:
                self._advance_loop(start, float(step_sizes(start * self.loop.steps, 1)[0]))

    def _advance_free(self, first: int, count: int, step_sizes: NDArray) -> None:
        loop, size = self.loop, self._steps
        keep = 1 - step_sizes * loop.regularisation
        amplitude = np.sqrt(2 * step_sizes * loop.temperature)
        recursion, found = self._coefficients(keep, np.zeros(size), amplitude, step_sizes, np.eye(size + 1)[count], 1.0)
        inputs, targets = self._samples.take(first, size)
        self._run(0, count, first // self.block, found, inputs, targets)
        if count < size and self._normals:
            bridge = self._bridge(count, recursion.covariance[:size, :size], inputs[:, self._trained :], first)
            self._fields[0][0].reshape(-1, self._shape[5])[: self.neurons, : self.dimension] += bridge
        self._outputs[0][1][:] = self._outputs[0][0]

    def _advance_loop(self, iteration: int, step_size: float) -> None:
        loop, steps = self.loop, self._steps
        scope = loop.scope_at(iteration)
        pull = step_size / scope
        whole = np.ones(steps)
        amplitude = np.sqrt(2 * step_size * loop.temperature)
        keep = 1 - pull - step_size * loop.regularisation
        attraction = 0.0 if np.isinf(scope) else loop.ratio * scope * loop.attraction
        _, found = self._coefficients(
            keep * whole, pull * whole, amplitude * whole, step_size * whole, loop.averaging, loop.ratio, attraction
        )
        last = self._states - 1
        centres = None
        if attraction:
            centres = (
                np.mean([fields[last] for fields in self._fields], axis=0, dtype=self.dtype),
                np.mean([outputs[1] for outputs in self._outputs], axis=0, dtype=self.dtype),
            )
        inputs, targets = self._samples.take(iteration * steps * loop.agents, steps * loop.agents)
        for agent in range(loop.agents):
            number = iteration * loop.agents + agent
            mean = self._run(agent, steps, number, found, inputs[agent :: loop.agents], targets[agent :: loop.agents])
            weights = self._outputs[agent][1]
            if self._trained:
                weights += self.dtype.type(loop.ratio) * (mean - weights) - self.dtype.type(attraction) * (
                    weights - (centres[1] if attraction else weights)
                )
            if attraction:
                self._fields[agent][last] += self.dtype.type(attraction) * centres[0]

    def _coefficients(self, keep, pull, amplitude, step_sizes, averaging, ratio, attraction=0.0):
        # What the kernel needs of a block; kept, because most blocks have the same.
        name = tuple(np.concatenate([keep, pull, amplitude, step_sizes, averaging, [ratio, attraction]]))
        if self._cache[0] == name:
            return self._cache[1]
        size = self._steps
        end = np.eye(size + 1)[size]
        kept = [end] if self._free else [end, averaging] if self.loop.carried else [averaging]
        r = _recursion(keep, pull, amplitude, kept if self._normals else [])
        average = (averaging @ r.first, averaging @ r.anchor)
        if self.loop.carried:
            # The average counts x, not y, at the start.
            average = (average[0] - averaging[0], average[1] + averaging[0])
            predictions = [r.first[:size], r.anchor[:size]]
            mixing = [
                [r.first[size], r.anchor[size], *r.regression[size]],
                [ratio * average[0], 1 - ratio - attraction + ratio * average[1], *(ratio * averaging @ r.regression)],
            ]
            ends = [r.response[size], ratio * averaging @ r.response]
        else:
            predictions = [(r.first + r.anchor)[:size]]
            mixing = [[1 - ratio - attraction + ratio * sum(average), *(ratio * averaging @ r.regression)]]
            ends = [ratio * averaging @ r.response]
        predictions += list(r.regression[:size].T)
        block = self._shape[3]
        response = np.zeros((block, block))
        response[:size, :size] = r.response[:size]
        found = (
            tuple(np.ascontiguousarray(rate, self.dtype) for rate in (step_sizes, keep, pull, amplitude, averaging)),
            (
                *(np.ascontiguousarray(part, self.dtype) for part in (response, predictions, mixing, ends)),
                np.ascontiguousarray(r.covariance[:size, :size]),
            ),
        )
        self._cache = (name, (r, found))
        return self._cache[1]

    def _run(self, agent: int, count: int, number: int, found: tuple, inputs: NDArray, targets: NDArray) -> NDArray:
        rates, coefficients = found
        fast, weights = self._outputs[agent]
        if not self.loop.carried:
            fast[:] = weights
        mean = rates[4][0] * weights
        z, factor, rounded, words, radius = self._noise
        # Counters of a block: its fields of normals, its products, its output weights.
        span = self._normals * self.dimension + (1 + self._trained) * self.neurons
        noise = (self._key, number * span, z, factor, rounded, words, radius)
        _run_block(
            count, self._states, self._shape, self._network, rates, coefficients, self._fields[agent],
            (fast, weights, mean, self._output_noise), self._vectors, self._work, noise,
            np.ascontiguousarray(inputs[:, self._trained :]), np.ascontiguousarray(targets),
        )  # fmt: skip
        return mean

    def _bridge(self, count: int, covariance: NDArray, inputs: NDArray, first: int) -> NDArray:
        """Return the noise after `count` steps of a block, less its mean given g, in every coordinate."""
        z, factor, *_ = self._noise
        size = self._steps
        inputs = inputs.astype(np.float64)
        gram = inputs @ inputs.T
        used = z.reshape(size, -1)[:, : self.neurons].T @ factor[:size, :size].T
        variance, along = covariance[count, count], covariance[count]
        generator = np.random.default_rng([*(int(word) for word in self._key), first, count])
        path = np.sqrt(variance) * generator.standard_normal((self.neurons, self.dimension))
        rest = (covariance - np.outer(along, along) / variance) * gram
        values, vectors = np.linalg.eigh(rest)
        spread = vectors * np.sqrt(np.maximum(values, 0))
        prior = (path @ inputs.T) * (along / variance)
        prior += generator.standard_normal((self.neurons, size)) @ spread.T
        # The path starts from zero: its product with the first sample says nothing. Nor does a sample that is zero.
        weights = np.linalg.pinv((covariance * gram)[1:, 1:], hermitian=True) @ (used - prior)[:, 1:].T
        return (path + (along[1:, None] * weights).T @ inputs[1:]).astype(self.dtype)

    def copy(self) -> "InnerBlocks":
        """Return an independent copy, for looking ahead inside a block without disturbing its boundaries."""
        other = object.__new__(InnerBlocks)
        other.__dict__.update(self.__dict__)
        for name in ("_fields", "_outputs"):
            setattr(other, name, [aligned_copy(value) for value in getattr(self, name)])
        return other

    def snapshot(self) -> dict[str, tuple]:
        """Return everything that the iterations after the end of a block depend on."""
        return {
            "fields": tuple(aligned_copy(fields[: self._states]) for fields in self._fields),
            "outputs": tuple(aligned_copy(outputs) for outputs in self._outputs),
        }

    def restore(self, snapshot: dict[str, tuple]) -> None:
        """Go on from a snapshot of a run of the same shape: the same bits as without the interruption."""
        for own, value in zip(self._fields, snapshot["fields"], strict=True):
            own[: self._states] = value
        for own, value in zip(self._outputs, snapshot["outputs"], strict=True):
            for array, saved in zip(own, value, strict=True):
                array[...] = saved
