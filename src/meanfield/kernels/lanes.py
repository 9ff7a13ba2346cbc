"""Explicit vectors for the compiled kernels: sixteen float32 or eight float64 numbers that move through registers.

LLVM vectorises plain loops over arrays, but it does not keep a block of accumulators in registers across an outer
loop, which a matrix product at the speed of the multipliers needs. These functions say it: a vector is a value like a
scalar, `fma_at(a, i, b, c)` is one instruction per register, and a kernel stays ordinary Python source. The
prediction of the block kernel written as loops over arrays, unrolled by hand, reached 39 to 46 % of the multiply-add
peak of the machine it was measured on, with the vectors 86 to 94 %.

Operations are elementwise or have a fixed order, and a product and a sum may fuse but are never reassociated, so that
results do not depend on the width of the processor's registers.

With ``NUMBA_DISABLE_JIT=1`` the same names are numpy operations on short arrays: the same numbers up to the rounding
of fused products, slowly.
"""

import numba as nb
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

BYTES = 64
# Neurons or samples per vector.
WIDTH = {np.dtype(np.float32): 16, np.dtype(np.float64): 8}
# The granularity of rows in memory, for both types: a whole vector of float64, half a vector of float32.
COLUMNS = 8
# Whether a register holds a whole vector and there are 32 of them, on the processor that is compiled for (which
# NUMBA_CPU_FEATURES may name); otherwise sixteen registers hold half a vector each, or less.
WIDE = "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")
# Bits of the mantissa of a number of so many bits.
MANTISSA = {32: 23, 64: 52}


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return zeros that start at a multiple of a vector's size, so that no vector of a row straddles cache lines."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.zeros(size + BYTES, np.uint8)
    start = -memory.ctypes.data % BYTES
    return memory[start : start + size].view(dtype).reshape(shape)


def aligned_copy(value):
    """Return a copy of an array that starts as `aligned_zeros` does; of a tuple, a tuple of copies of its arrays."""
    if isinstance(value, tuple):
        return tuple(aligned_copy(item) for item in value)
    if not isinstance(value, np.ndarray):
        return value
    twin = aligned_zeros(value.shape, value.dtype)
    twin[...] = value
    return twin


class VectorType(types.Type):
    """Type of a vector: the type of its numbers and how many."""

    def __init__(self, dtype: types.Float, count: int):
        self.dtype = dtype
        self.count = count
        super().__init__(name=f"Vector({dtype}, {count})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        scalar = ir.FloatType() if fe_type.dtype == types.float32 else ir.DoubleType()
        super().__init__(dmm, fe_type, ir.VectorType(scalar, fe_type.count))


_CONTRACT = ("contract",)


def _full(dtype):
    return VectorType(dtype, BYTES * 8 // dtype.bitwidth)


def _address(context, builder, array_type, array, index):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _splat(builder, vector_type, scalar):
    empty = ir.Constant(vector_type, ir.Undefined)
    one = builder.insert_element(empty, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, empty, _mask([0] * vector_type.count))


def _mask(indices):
    indices = [*indices]
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), indices)


def _load(builder, pointer, vector_type, alignment):
    value = builder.load(builder.bitcast(pointer, vector_type.as_pointer()))
    value.align = alignment
    return value


def _store(builder, value, pointer, alignment):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = alignment


@intrinsic
def _width_of(typingctx, array):
    # A constant of the compiled code; array.itemsize would be read at run time.
    count = _full(array.dtype).count

    def codegen(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(types.intp), count)

    return types.intp(array), codegen


def _loader(array, vector):
    def codegen(context, builder, signature, arguments):
        pointer = _address(context, builder, signature.args[0], *arguments)
        return _load(builder, pointer, context.get_value_type(vector), array.dtype.bitwidth // 8)

    return vector(array, types.intp), codegen


@intrinsic
def _load_vector(typingctx, array, index):
    return _loader(array, _full(array.dtype))


@intrinsic
def _load_columns(typingctx, array, index):
    return _loader(array, VectorType(array.dtype, COLUMNS))


@intrinsic
def _store_vector(typingctx, array, index, vector):
    def codegen(context, builder, signature, arguments):
        pointer = _address(context, builder, signature.args[0], *arguments[:2])
        _store(builder, arguments[2], pointer, array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), codegen


@intrinsic
def _splat_scalar(typingctx, scalar):
    vector = _full(scalar)

    def codegen(context, builder, signature, arguments):
        return _splat(builder, context.get_value_type(vector), arguments[0])

    return vector(scalar), codegen


def _fused(builder, a, b, c):
    return builder.fadd(builder.fmul(a, b, flags=_CONTRACT), c, flags=_CONTRACT)


@intrinsic
def _fma_vectors(typingctx, a, b, c):
    def codegen(context, builder, signature, arguments):
        return _fused(builder, *arguments)

    return b(a, b, c), codegen


@intrinsic
def _fma_element(typingctx, array, index, b, c):
    def codegen(context, builder, signature, arguments):
        scalar = builder.load(_address(context, builder, signature.args[0], *arguments[:2]))
        factor = _splat(builder, context.get_value_type(b), scalar)
        return _fused(builder, factor, arguments[2], arguments[3])

    return b(array, types.intp, b, c), codegen


@intrinsic
def _fma_scalar(typingctx, scalar, b, c):
    def codegen(context, builder, signature, arguments):
        factor = _splat(builder, context.get_value_type(b), arguments[0])
        return _fused(builder, factor, arguments[1], arguments[2])

    return b(b.dtype, b, c), codegen


@intrinsic
def _add_vectors(typingctx, a, b):
    def codegen(context, builder, signature, arguments):
        return builder.fadd(*arguments, flags=_CONTRACT)

    return a(a, b), codegen


@intrinsic
def _subtract_vectors(typingctx, a, b):
    def codegen(context, builder, signature, arguments):
        return builder.fsub(*arguments, flags=_CONTRACT)

    return a(a, b), codegen


@intrinsic
def _multiply_vectors(typingctx, a, b):
    def codegen(context, builder, signature, arguments):
        return builder.fmul(*arguments, flags=_CONTRACT)

    return a(a, b), codegen


@intrinsic
def _clip_vector(typingctx, p, low, high):
    def codegen(context, builder, signature, arguments):
        value = arguments[0]
        for sign, scalar in ((">", arguments[1]), ("<", arguments[2])):
            bound = _splat(builder, context.get_value_type(p), scalar)
            value = builder.select(builder.fcmp_ordered(sign, bound, value), bound, value)
        return value

    return p(p, p.dtype, p.dtype), codegen


@intrinsic
def _add_exponent(typingctx, a, shifted):
    def codegen(context, builder, signature, arguments):
        words = ir.VectorType(ir.IntType(a.dtype.bitwidth), a.count)
        place = ir.Constant(words, [MANTISSA[a.dtype.bitwidth]] * a.count)
        value, power = (builder.bitcast(argument, words) for argument in arguments)
        return builder.bitcast(builder.add(value, builder.shl(power, place)), arguments[0].type)

    return a(a, shifted), codegen


@intrinsic
def _where_between(typingctx, p, low, high, scalar):
    def codegen(context, builder, signature, arguments):
        vector_type = context.get_value_type(p)
        low, high, inside = (_splat(builder, vector_type, argument) for argument in arguments[1:])
        above = builder.fcmp_ordered(">", arguments[0], low)
        below = builder.fcmp_ordered("<=", arguments[0], high)
        return builder.select(builder.and_(above, below), inside, ir.Constant(vector_type, None))

    return p(p, p.dtype, p.dtype, p.dtype), codegen


@intrinsic
def _sum_numbers(typingctx, vector):
    def codegen(context, builder, signature, arguments):
        value, count = arguments[0], vector.count
        while count > 1:
            count //= 2
            low = builder.shuffle_vector(value, value, _mask(range(count)))
            high = builder.shuffle_vector(value, value, _mask(range(count, 2 * count)))
            value = builder.fadd(low, high)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return vector.dtype(vector), codegen


@intrinsic
def _nonzero_bits(typingctx, vector):
    # In pieces of 32 bytes, whose signs are one instruction away from a word.
    count = min(32 * 8 // vector.dtype.bitwidth, vector.count)

    def codegen(context, builder, signature, arguments):
        word = ir.Constant(ir.IntType(64), 0)
        for start in range(0, vector.count, count):
            piece = builder.shuffle_vector(arguments[0], arguments[0], _mask(range(start, start + count)))
            moved = builder.fcmp_unordered("!=", piece, ir.Constant(piece.type, None))
            bits = builder.zext(builder.bitcast(moved, ir.IntType(count)), word.type)
            word = builder.or_(word, builder.shl(bits, ir.Constant(word.type, start)))
        return word

    return types.uint64(vector), codegen


@intrinsic
def _count_trailing_zeros(typingctx, word):
    def codegen(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), codegen


@intrinsic
def _population_count(typingctx, word):
    def codegen(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.intp(types.uint64), codegen


def _transposed_lanes(builder, rows):
    # As many rows as half a piece of 32 bytes has numbers: yields the columns of each half, side by side.
    side = len(rows)

    def unpack(x, y, step, high):
        # Runs of `step` numbers of x and y in turn, from the lower or upper part of both halves.
        picks = []
        for half in (0, side):
            for run in range(half + high * side // 2, half + (high + 1) * side // 2, step):
                picks += [*range(run, run + step), *range(2 * side + run, 2 * side + run + step)]
        return builder.shuffle_vector(x, y, _mask(picks))

    if side == 2:
        return [unpack(*rows, 1, high) for high in (0, 1)]
    a, b, c, d = rows
    pairs = [(unpack(a, b, 1, high), unpack(c, d, 1, high)) for high in (0, 1)]
    return [unpack(*pair, 2, high) for pair in pairs for high in (0, 1)]


@intrinsic
def _store_columns(typingctx, array, index, stride, rows, start):
    def codegen(context, builder, signature, arguments):
        target = _address(context, builder, signature.args[0], *arguments[:2])
        source = _address(context, builder, signature.args[3], *arguments[3:])
        size = array.dtype.bitwidth // 8
        count, side = _full(array.dtype).count, 16 // size
        piece = ir.VectorType(context.get_value_type(array.dtype), side)

        def load(row, column):
            place = ir.Constant(ir.IntType(64), row * count + column)
            return _load(builder, builder.gep(source, [place]), piece, size)

        # The halves of a piece of 32 bytes come from different rows, so that no number has to change its half.
        for column in range(0, count, side):
            for first in range(0, COLUMNS, 2 * side):
                pieces = [
                    builder.shuffle_vector(load(row, column), load(row + side, column), _mask(range(2 * side)))
                    for row in range(first, first + side)
                ]
                for k, numbers in enumerate(_transposed_lanes(builder, pieces)):
                    place = builder.mul(arguments[2], ir.Constant(ir.IntType(64), column + k))
                    place = builder.add(place, ir.Constant(ir.IntType(64), first))
                    _store(builder, numbers, builder.gep(target, [place]), size)
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, rows, types.intp), codegen


@nb.njit(nogil=True)
def width(array):
    """Return how many of an array's numbers make a vector; a constant of the compiled code."""
    return _width_of(array)


@nb.njit(nogil=True)
def load(array, index):
    """Return the vector that starts at a flat array's element `index`."""
    return _load_vector(array, index)


@nb.njit(nogil=True)
def load_columns(array, index):
    """Return the `COLUMNS` numbers that start at a flat array's element `index`, as a vector of that length."""
    return _load_columns(array, index)


@nb.njit(nogil=True)
def store(array, index, vector):
    """Write a vector to a flat array, from element `index` on."""
    _store_vector(array, index, vector)


@nb.njit(nogil=True)
def splat(scalar):
    """Return the vector whose numbers all equal `scalar`."""
    return _splat_scalar(scalar)


@nb.njit(nogil=True)
def fma(a, b, c):
    """Return a b + c for three vectors."""
    return _fma_vectors(a, b, c)


@nb.njit(nogil=True)
def fma_at(array, index, b, c):
    """Return a b + c, where the number a is element `index` of a flat array."""
    return _fma_element(array, index, b, c)


@nb.njit(nogil=True)
def fma_scalar(a, b, c):
    """Return a b + c for a number a and two vectors."""
    return _fma_scalar(a, b, c)


@nb.njit(nogil=True)
def add(a, b):
    """Return a + b."""
    return _add_vectors(a, b)


@nb.njit(nogil=True)
def subtract(a, b):
    """Return a - b."""
    return _subtract_vectors(a, b)


@nb.njit(nogil=True)
def multiply(a, b):
    """Return a b, elementwise."""
    return _multiply_vectors(a, b)


@nb.njit(nogil=True)
def clip(p, low, high):
    """Return p, clipped to [low, high]; what is not a number stays so."""
    return _clip_vector(p, low, high)


@nb.njit(nogil=True)
def add_exponent(a, shifted):
    """Return a 2^n, where adding 1.5 times two to the number of mantissa bits to the integers n gave `shifted`."""
    return _add_exponent(a, shifted)


@nb.njit(nogil=True)
def where_between(p, low, high, scalar):
    """Return the number `scalar` where low < p <= high, and zero elsewhere."""
    return _where_between(p, low, high, scalar)


@nb.njit(nogil=True)
def total(vector):
    """Return the sum of a vector's numbers: halves are added until one is left."""
    return _sum_numbers(vector)


@nb.njit(nogil=True)
def nonzero_bits(vector):
    """Return a word whose bit n says whether number n differs from zero."""
    return _nonzero_bits(vector)


@nb.njit(nogil=True)
def lowest_bit(word):
    """Return the place of the lowest set bit of a word that is not zero."""
    return _count_trailing_zeros(word)


@nb.njit(nogil=True)
def count_bits(word):
    """Return the number of set bits of a word."""
    return _population_count(word)


@nb.njit(nogil=True)
def store_columns(array, index, stride, rows, start):
    """Write the `COLUMNS` vectors from element `start` of `rows` on as columns, `stride` apart, from `index` on."""
    _store_columns(array, index, stride, rows, start)


if nb.config.DISABLE_JIT:
    from meanfield.kernels.lanes_numpy import *  # noqa: F403
