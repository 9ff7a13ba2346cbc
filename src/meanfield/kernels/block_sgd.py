r"""Exact block SGD of a two-layer network: the trajectory of sequential SGD, up to rounding, many times faster.

The network is :math:`\hat y(x) = N^{-1} \sum_i a_i \sigma(\langle w_i, x\rangle + b_i)`. One iteration moves every
neuron by :math:`w_i \leftarrow w_i + e_k c_{ki} x_k` with :math:`e_k = 2 s_k (y_k - \hat y_k)` and
:math:`c_{ki} = a_i \sigma'(\langle w_i, x_k\rangle)`; a bias is the weight of a coordinate that is always one. The
weights stay in the span of the samples, so a block of K iterations needs them only through inner products: with
:math:`P = X W^\top` at the start of the block and the Gram matrix :math:`G = X X^\top`,

.. math:: \langle w_i^{(k)}, x_k\rangle = P_{ki} + \sum_{l<k} G_{kl}\, e_l\, c_{li}.

A block is one pass over the weights (the update of the last block fused with the prediction of the next) and K sweeps
over N scalars. Nothing is approximated: sums are only reordered.

Optimisers with momentum (`meanfield.kernels.momentum`) have a velocity v beside the point u where the gradient is
taken, and an iteration is linear in both with coefficients shared by all neurons: both stay in the span of the samples,

.. math:: \langle u_i^{(k)}, x_k\rangle = P^u_{ki} + B_k P^v_{ki} + \sum_{l<k} H_{kl}\, G_{kl}\, e_l\, c_{li},

where :math:`H_{kl}` is what a unit increment of iteration l has moved the point by before iteration k, and
:math:`B_k` the same for the velocity at the start of the block: scalars, whatever N and d.

Rows of weights are contiguous, and all arithmetic on them runs in explicit vectors (`meanfield.kernels.lanes`): the
prediction holds four neurons by one vector of samples in registers. Where the activation is flat, :math:`c_{ki} = 0`
exactly, and the update visits only the neurons that moved; a term of zero changes no bit, so that the sparse and the
dense update give the same numbers. Sums have a fixed order, block boundaries sit at fixed multiples of the block size:
records, chunks, threads and restarts change no bit either.

The definition, sequential numpy, is `meanfield.kernels.reference`; tests compare the two on the same samples. The
derivation, with a figure, is in ``docs/kernels.md``.
"""

import numba as nb
import numpy as np
from numpy.typing import NDArray

from meanfield.kernels import lanes
from meanfield.kernels.activate import PIECEWISE_LINEAR
from meanfield.kernels.lanes import COLUMNS, WIDTH, aligned_copy
from meanfield.kernels.momentum import CONSTANT, FUNCTION_RESTART, GRADIENT_RESTART, SGD, Momentum, coefficients
from meanfield.kernels.streams import fill_block
from meanfield.kernels.sweeps import (
    add_row,
    correct_row,
    correct_strip,
    step_in_strip,
    step_weighted,
    tables_of,
    units,
)
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

# Samples that the random stream draws at once, at least.
_DRAW = 64


def block_size(dimension: int, neurons: int = 1) -> int:
    """Return the number of samples per block, which depends on the sizes of the network alone.

    A block costs each neuron K/2 multiplications for the in-block correction against 2 d for prediction and
    update: K stays well below d, and grows where the weights no longer fit the caches, so that they are fetched
    less often.
    """
    if dimension <= 64:
        return 16
    if dimension <= 192:
        return 32
    return 64 if dimension * neurons <= 1 << 20 else 128


@nb.njit(nogil=True)
def _coast(u, v, first, last, carried, kept):
    # (u, v) <- (u + carried v, kept v), elementwise: what the old velocity does during a block. Whole vectors.
    by, left = lanes.splat(carried), lanes.splat(kept)
    for n in range(first, last, lanes.width(u)):
        velocity = lanes.load(v, n)
        lanes.store(u, n, lanes.fma(by, velocity, lanes.load(u, n)))
        lanes.store(v, n, lanes.multiply(left, velocity))


# -- the sweeps ------------------------------------------------------------------------------------------------------


@nb.njit(nogil=True, fastmath={"contract"})
def _update_outputs(a, velocity, value, neurons, e, gamma, kappa, beta, single):
    # The output weights take their step at once: they enter the next iteration as they are.
    for i in range(neurons):
        step = e * value[i]
        if single:
            a[i] += step
        else:
            velocity[i] = gamma * velocity[i] + kappa * step
            a[i] += velocity[i] + beta * step


@nb.njit(nogil=True)
def _along_step(c, q, factor, k, chunk, tiles, neurons):
    # sum_i c_i (q_i + factor c_i) of iteration k, in whole vectors: padding has c = 0.
    width = lanes.width(c)
    sum_of = lanes.splat(c.dtype.type(0))
    for tile in range(tiles):
        for lane in range(0, min(TILE, neurons - tile * TILE), width):
            place = tile * chunk + k * TILE + lane
            ci = lanes.load(c, place)
            sum_of = lanes.fma(ci, lanes.fma_scalar(factor, ci, lanes.load(q, place)), sum_of)
    return lanes.total(sum_of)


@nb.njit(nogil=True, fastmath={"contract"})
def _restarts(rule, p, q, k, chunk, neurons, c, value, e, norm2, y, kind, tables, outputs, velocity, trained, scratch):
    # Whether this iteration restarts. p and q hold <u, x> and <v, x>; norm2 is |x|^2; e is 2 s (y - yhat).
    if rule == GRADIENT_RESTART:
        # -s g = e c x, and w' - w = v + e c x: <g, w' - w> has the sign of -e times the sum.
        total = np.float64(_along_step(c, q, e * norm2, k, chunk, -(-neurons // TILE), neurons))
        if trained:
            for i in range(neurons):
                total += value[i] * (velocity[i] + e * value[i])
        return e * total < 0
    # Loss of this sample at w' = u + e c x and at w = u - v.
    losses = (0.0, 0.0)
    _, preactivation, unit, slope = scratch
    for ahead in (True, False):
        for i in range(neurons):
            place = i // TILE * chunk + k * TILE + i % TILE
            preactivation[i] = p[place] + (e * c[place] * norm2 if ahead else -q[place])
        units(preactivation, 0, neurons, kind, tables, unit, slope, 0)
        total = 0.0
        for i in range(neurons):
            a = outputs[i]
            if trained:
                a += e * value[i] if ahead else -velocity[i]
            total += a * unit[i]
        losses = (losses[1], (y - total / neurons) ** 2)
    return losses[0] > losses[1]


@nb.njit(nogil=True)
def _weigh(g, gram, responses, e, k, block):
    # g[l, k] = G_kl H_kl e_l for all l < k.
    for m in range(k):
        g[m * block + k] = gram[m * block + k] * responses[k, m] * e[m]


@nb.njit(nogil=True)
def _sweep(count, y, steps, shape, network, work, outputs, responses, scheme):
    # The iterations of one block: fills e and c, moves the output weights, and leaves the responses of the block.
    neurons, chunk, block = shape
    kind, tables, weighted, trained, single = network
    p, q, c, gram, g, h, e, bits, moved, value, slope, scratch, _ = work
    a, velocity = outputs
    moves, kicks, carried, kept = responses
    rule, numbers, theta = scheme
    known = single or rule == CONSTANT
    restarting = rule in (FUNCTION_RESTART, GRADIENT_RESTART)
    moved[:] = 0
    for k in range(count):
        first = 0
        if known:
            first = k - k % STRIP
            if k == first:
                if not single:
                    for m in range(first, first + STRIP):
                        add_row(p, q, m, carried[m], chunk, moved.size, neurons)
                if first > 0:
                    correct_strip(p, c, g, first, chunk, block, moved.size, neurons)
        else:
            add_row(p, q, k, carried[k], chunk, moved.size, neurons)
            _weigh(g, gram, moves, e, k, block)
            if restarting:
                add_row(q, q, k, kept[k] - 1, chunk, moved.size, neurons)
                _weigh(h, gram, kicks, e, k, block)
                for tile in range(moved.size):
                    correct_row(q, c, h, k, 0, tile, min(TILE, neurons - tile * TILE), chunk, block)
        if kind == PIECEWISE_LINEAR and not weighted and known:
            total = step_in_strip(k - first, p, c, g, k, chunk, block, neurons, tables, bits, moved)
        else:
            total = step_weighted(p, c, g, k, first, chunk, block, neurons, kind, tables, a, value, slope, bits, moved)
        e[k] = 2 * steps[k] * (y[k] - total / neurons)
        if known:
            # Whole rows, although those of iterations past are not used: loops of a length that is known are shorter.
            if single:
                factor = lanes.splat(e[k])
                for m in range(k * block, (k + 1) * block, lanes.width(g)):
                    lanes.store(g, m, lanes.multiply(factor, lanes.load(gram, m)))
            else:
                row, out = gram[k * block : (k + 1) * block], g[k * block : (k + 1) * block]
                for m in range(k + 1, block):
                    out[m] = row[m] * moves[m, k] * e[k]
        restart = restarting and _restarts(
            rule, p, q, k, chunk, neurons, c, value, e[k], gram[k * block + k], y[k], kind, tables, a, velocity,
            trained, scratch,
        )  # fmt: skip
        gamma, kappa, beta, theta[0] = coefficients(rule, numbers, theta[0], restart)
        if trained:
            _update_outputs(a, velocity, value, neurons, e[k], gamma, kappa, beta, single)
        if not known:
            _respond(moves, kicks, carried, kept, k, gamma, kappa, beta)


@nb.njit(nogil=True)
def _respond(moves, kicks, carried, kept, k, gamma, kappa, beta):
    # After iteration k: what unit increments of the iterations of this block have moved the point by, and what is in
    # the velocity; the same for the velocity at the start of the block.
    for m in range(k):
        kicks[k + 1, m] = gamma * kicks[k, m]
        moves[k + 1, m] = moves[k, m] + kicks[k + 1, m]
    kicks[k + 1, k] = kappa
    moves[k + 1, k] = kappa + beta
    kept[k + 1] = gamma * kept[k]
    carried[k + 1] = carried[k] + kept[k + 1]


# -- samples ---------------------------------------------------------------------------------------------------------


@nb.njit(nogil=True)
def _draw(z, sign, drawn, k, block, scales, schedule, panels, x, y, steps, columns):
    # Samples k … k + block - 1 of the stream; `drawn` is the number of the first sample in the buffer.
    width = lanes.width(x)
    dimension = scales.shape[1]
    size, coefficient, exponent = schedule
    for lane in range(block):
        y[lane] = sign[k + lane - drawn]
        s = size * coefficient
        if exponent != 0:
            s *= ((k + lane + 1) * size) ** exponent
        steps[lane] = s
    for start in range(0, block, width):
        signs = y[start : start + width]
        base = (start // width) * columns * width
        for j in range(dimension):
            plus, minus = scales[0, j], scales[1, j]
            normals = z[j, k + start - drawn : k + start - drawn + width]
            row = panels[base + j * width : base + (j + 1) * width]
            for lane in range(width):
                row[lane] = normals[lane] * (plus if signs[lane] > 0 else minus)
        for j in range(0, columns, COLUMNS):
            lanes.store_columns(x, start * columns + j, columns, panels, base + j * width)


@nb.njit(nogil=True)
def _fetch(inputs, index, targets, step_sizes, k, count, panels, x, y, steps, columns):
    # Samples number index[k] … of a data set.
    dimension = inputs.shape[1]
    width = lanes.width(x)
    for lane in range(count):
        row = inputs[index[k + lane]]
        base = (lane // width) * columns * width + lane % width
        for j in range(dimension):
            x[lane * columns + j] = row[j]
            panels[base + j * width] = row[j]
        y[lane] = targets[index[k + lane]]
        steps[lane] = step_sizes[k + lane]


# -- the run ---------------------------------------------------------------------------------------------------------


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _advance(first, last, shape, network, scheme, weights, outputs, samples, work, responses, stream, dataset):
    # Iterations first .. last - 1; `first` is a multiple of the block size. All arrays belong to the caller.
    neurons, stride, chunk, block, coordinates, columns = shape
    u, v = weights
    single = network[4]
    panels, x, scaled, scaled_kicks, y, steps = samples
    p, q, c, gram, _g, _h, e, bits, moved, _value, _slope, scratch, movers = work
    moves, kicks, carried, kept = responses
    key, scales, schedule, z, sign = stream
    inputs, index, targets, step_sizes, increments = dataset
    streaming = scales.shape[1] > 0
    carried[0], kept[0] = 0, 1
    if single:
        moves[:] = 1
    elif scheme[0] == CONSTANT:
        gamma, kappa, beta, _ = coefficients(scheme[0], scheme[1], 1.0, False)
        for k in range(block):
            _respond(moves, kicks, carried, kept, k, gamma, kappa, beta)
    drawn = first - z.shape[1]
    pending = 0
    k = first
    while True:
        count = min(block, last - k)
        if count > 0:
            if streaming:
                if k >= drawn + z.shape[1]:
                    fill_block(z, sign, key, k)
                    drawn = k
                _draw(z, sign, drawn, k, block, scales, schedule, panels, x, y, steps, columns)
            else:
                _fetch(inputs, index, targets, step_sizes, k, count, panels, x, y, steps, columns)
        for tile in range(moved.size):
            start, end = tile * TILE, min((tile + 1) * TILE, stride)
            if pending > 0:
                if not single:
                    _coast(u, v, start * columns, end * columns, carried[pending], kept[pending])
                way = prepare(moved[tile], pending, columns, bits, moved.size, tile, movers)
                update(way, u, tile, end, columns, scaled, block, c, chunk, bits, moved.size, pending, movers)
                if not single:
                    update(way, v, tile, end, columns, scaled_kicks, block, c, chunk, bits, moved.size, pending, movers)
            if count > 0:
                place = tile * chunk
                predict(u, start, end, columns, coordinates, panels, block, p, place, TILE, scratch[0])
                if not single:
                    predict(v, start, end, columns, coordinates, panels, block, q, place, TILE, scratch[0])
        if count <= 0:
            break
        inner_products(x, panels, block, columns, coordinates, gram, scratch[0])
        _sweep(count, y, steps, (neurons, chunk, block), network, work, outputs, responses, scheme)
        if increments.size > 0:
            increments[k : k + count] = e[:count]
        scale_rows(x, e, moves[count], count, block, columns, scaled)
        if not single:
            scale_rows(x, e, kicks[count], count, block, columns, scaled_kicks)
        pending = count
        k += count


class BlockState:
    """Weights and work space of one run of block SGD; made once, then advanced.

    Parameters
    ----------
    weights : array, shape (neuron, coordinate)
        Initial weights [1]; their dtype, float32 or float64, is that of all arithmetic. Not modified.
    activation : tuple
        The activation as `meanfield.problems.activations.Activation.kernel_code` returns it.
    output_weights : array, shape (neuron,), optional
        Output weights a [1]; all one if not given.
    train_output : bool
        Whether SGD moves the output weights too.
    biases : array, shape (neuron,), optional
        Biases b [1], trained like the weights; no biases if not given.
    momentum : Momentum
        The optimiser's coefficients; plain SGD if not given.

    """

    def __init__(
        self,
        weights: NDArray,
        activation: tuple,
        *,
        output_weights: NDArray | None = None,
        train_output: bool = False,
        biases: NDArray | None = None,
        momentum: Momentum = SGD,
    ):
        if weights.dtype not in WIDTH or weights.ndim != 2:
            msg = f"weights must be a float32 or float64 matrix, not {weights.dtype} of shape {weights.shape}"
            raise ValueError(msg)
        self.neurons, self.dimension = weights.shape
        for name, given in (("output_weights", output_weights), ("biases", biases)):
            if given is not None and given.shape != (self.neurons,):
                msg = f"{name} must have one entry per neuron, {self.neurons}, not the shape {given.shape}"
                raise ValueError(msg)
        self.dtype = weights.dtype
        self.block = block_size(self.dimension, self.neurons)
        self.momentum = momentum
        self._biased = biases is not None
        self._shape = layout(self.neurons, self.dimension + self._biased, self.block)
        stride, self._columns = self._shape[1], self._shape[5]

        kind, tables = tables_of(activation, self.dtype)
        # The kernel that needs no output weights handles whole vectors only.
        weighted = train_output or output_weights is not None or self.neurons % WIDTH[self.dtype] != 0
        single = momentum.plain
        self._network = (kind, tables, weighted, train_output, single)
        self._scheme = (*momentum.code(), np.ones(1))

        start = self._zeros(stride, self._columns)
        start[: self.neurons, : self.dimension] = weights
        if biases is not None:
            start[: self.neurons, self.dimension] = biases
        self._weights = (start.reshape(-1), self._zeros(1 if single else start.size))
        outputs = self._zeros(stride)
        outputs[: self.neurons] = 1 if output_weights is None else output_weights
        self._outputs = (outputs, self._zeros(stride))
        self._make_work(stride, single)

    def _make_work(self, stride: int, single: bool) -> None:
        block, columns = self.block, self._columns
        width, words = WIDTH[self.dtype], -(-stride // TILE)
        vectors = block * padded(columns, width)
        self._samples = (
            self._zeros(block * columns), self._zeros(block * columns), self._zeros(vectors),
            self._zeros(1 if single else vectors), self._zeros(block), self._zeros(block),
        )  # fmt: skip
        if self._biased:
            self._samples[1].reshape(block, columns)[:, self.dimension] = 1
            self._samples[0].reshape(-1, columns, width)[:, self.dimension] = 1
        # The slopes of an iteration take the place of its preactivations, which are not needed again, unless a restart
        # asks for them; half the memory stays in the caches.
        scalars = words * self._shape[2]
        preactivations = self._zeros(scalars)
        restarting = self._scheme[0] in (FUNCTION_RESTART, GRADIENT_RESTART)
        self._work = (
            preactivations, self._zeros(1 if single else scalars),
            self._zeros(scalars) if restarting else preactivations,
            self._zeros(block * block), self._zeros(block * block), self._zeros(1 if single else block * block),
            self._zeros(block), np.zeros(block * words, np.uint64), np.zeros(words, np.int64),
            self._zeros(stride), self._zeros(stride),
            (self._zeros(ROWS * width), self._zeros(stride), self._zeros(stride), self._zeros(stride)),
            np.zeros(padded(block, TILE), np.uint64),
        )  # fmt: skip
        shapes = ((block + 1, block), (block + 1, block), (block + 1,), (block + 1,))
        self._responses = tuple(self._zeros(*shape) for shape in shapes)
        draw = max(block, _DRAW)
        self._buffer = (np.zeros((-(-self.dimension // 4) * 4, draw), np.float32), np.zeros(draw, np.float32))

    def _zeros(self, *shape: int) -> NDArray:
        return lanes.aligned_zeros(shape, self.dtype)

    def _rows(self, flat: NDArray) -> NDArray:
        return flat.reshape(-1, self._columns)[: self.neurons]

    @property
    def weights(self) -> NDArray:
        """A copy of the weights, shape (neuron, coordinate) [1]; with momentum, where the gradient is taken."""
        return self._rows(self._weights[0])[:, : self.dimension].copy()

    @property
    def biases(self) -> NDArray:
        """A copy of the biases, shape (neuron,) [1]; zero if there are none."""
        return self._rows(self._weights[0])[:, self.dimension].copy() if self._biased else self._zeros(self.neurons)

    @property
    def output_weights(self) -> NDArray:
        """A copy of the output weights, shape (neuron,) [1]."""
        return self._outputs[0][: self.neurons].copy()

    def advance_stream(self, first, last, *, key, scales, step_size, coefficient=1.0, exponent=0.0) -> None:
        r"""Run iterations `first` … `last - 1` on the samples of a stream.

        Sample k is :math:`x = \tau_\pm z` with the sign :math:`y = \pm 1` and the normal vector z of number k of
        the stream; iteration k (from 0) has the step size
        :math:`s = \varepsilon \xi((k + 1) \varepsilon)`, :math:`\xi(t) = a t^b`.

        Parameters
        ----------
        first, last : int
            `first` is a multiple of the block size.
        key : array of uint32, shape (2,)
            From `meanfield.kernels.streams.stream_key`.
        scales : pair of float or of arrays, shape (coordinate,)
            Standard deviation of the coordinates of x given y = +1 and given y = -1 [1].
        step_size, coefficient, exponent : float
            epsilon, a and b of the step size [1].

        Raises
        ------
        ValueError
            If `first` is not a multiple of the block size: rounding would depend on where the run was cut.

        """
        if first % self.block:
            msg = f"a run restarts at multiples of {self.block} iterations only, not at {first}"
            raise ValueError(msg)
        table = np.empty((2, self.dimension), self.dtype)
        table[0], table[1] = scales
        stream = (key, table, (float(step_size), float(coefficient), float(exponent)), *self._buffer)
        nothing = (self._zeros(0, 0), np.zeros(0, np.int64), self._zeros(0), self._zeros(0), self._zeros(0))
        self._run(first, last, stream, nothing)

    def advance_arrays(self, inputs, targets, step_sizes, index=None, increments=None) -> None:
        r"""Run one iteration per sample of a data set.

        Parameters
        ----------
        inputs : array, shape (sample, coordinate)
            Inputs [1].
        targets : array, shape (sample,)
            Targets [1].
        step_sizes : array, shape (iteration,)
            Step size s of each iteration [1].
        index : array of int, shape (iteration,), optional
            Which sample each iteration takes; one after the other if not given.
        increments : array, shape (iteration,), optional, modified
            Takes :math:`2 s_k (y_k - \hat y_k)`, the error of each iteration's prediction before its step [1]; of the
            weights' type.

        Raises
        ------
        ValueError
            If the shapes disagree, or an index points outside the data set.

        """
        if index is None:
            index = np.arange(targets.size)
        if inputs.shape != (targets.size, self.dimension) or step_sizes.shape != index.shape:
            msg = f"shapes disagree: inputs {inputs.shape}, targets {targets.shape}, steps {step_sizes.shape}"
            raise ValueError(msg)
        if index.size and (index.min() < 0 or index.max() >= targets.size):
            msg = f"an index points outside the {targets.size} samples: {index.min()} to {index.max()}"
            raise ValueError(msg)
        if increments is None:
            increments = self._zeros(0)
        elif increments.shape != index.shape or increments.dtype != self.dtype:
            msg = f"increments must be {self.dtype} of shape {index.shape}, not {increments.dtype} {increments.shape}"
            raise ValueError(msg)
        dataset = (
            np.ascontiguousarray(inputs, self.dtype),
            np.ascontiguousarray(index, np.int64),
            np.ascontiguousarray(targets, self.dtype),
            np.ascontiguousarray(step_sizes, self.dtype),
            increments,
        )
        stream = (np.zeros(2, np.uint32), self._zeros(2, 0), (0.0, 0.0, 0.0), *self._buffer)
        self._run(0, index.size, stream, dataset)

    def _run(self, first: int, last: int, stream: tuple, dataset: tuple) -> None:
        _advance(
            first, last, self._shape, self._network, self._scheme, self._weights, self._outputs, self._samples,
            self._work, self._responses, stream, dataset,
        )  # fmt: skip

    def copy(self) -> "BlockState":
        """Return an independent copy, for looking ahead inside a block without disturbing its boundaries."""
        other = object.__new__(BlockState)
        other.__dict__.update(self.__dict__)
        for name in ("_scheme", "_weights", "_outputs", "_samples", "_work", "_responses", "_buffer"):
            setattr(other, name, aligned_copy(getattr(self, name)))
        return other

    def snapshot(self) -> dict[str, tuple]:
        """Return everything that the iterations after the end of a block depend on."""
        return {name: aligned_copy(getattr(self, f"_{name}")) for name in ("weights", "outputs", "scheme")}

    def restore(self, snapshot: dict[str, tuple]) -> None:
        """Go on from a snapshot of a run of the same shape: the same bits as without the interruption."""
        for name, values in snapshot.items():
            for own, value in zip(getattr(self, f"_{name}"), values, strict=True):
                if isinstance(own, np.ndarray):
                    own[...] = value
