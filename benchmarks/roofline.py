r"""What one core of this machine can do, measured: multiply-adds per second, and bytes read per second.

A bound for any program that makes one step of SGD: :math:`2Nd` multiply-adds' worth of flop for the predictions, as
many again where every neuron moves, divided by the peak; or the bytes of the weights, for a program that reads them
once per step, divided by the bandwidth of the cache they fit.

The loops are written in explicit vectors with a dozen independent accumulators, more than the latency of the
multiply-add unit times its throughput, and their sum is returned, so that nothing can be dropped or merged. Times are
processor times, as in `benchmarks.measure`.
"""

import math
import time
from pathlib import Path

import llvmlite.binding as llvm
import numba as nb
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

ACCUMULATORS = 12
VECTOR_BYTES = 64 if llvm.get_host_cpu_features().get("avx512f", False) else 32
_UNROLL = 8  # vectors per turn of the reading loop


def _lanes(builder, element):
    vector = ir.VectorType(element, VECTOR_BYTES // (4 if isinstance(element, ir.FloatType) else 8))

    def splat(scalar):
        out = ir.Constant(vector, ir.Undefined)
        for lane in range(vector.count):
            out = builder.insert_element(out, scalar, ir.Constant(ir.IntType(32), lane))
        return out

    return vector, splat


def _total(builder, vectors):
    out = vectors[0]
    for other in vectors[1:]:
        out = builder.fadd(out, other)
    total = builder.extract_element(out, ir.Constant(ir.IntType(32), 0))
    for lane in range(1, out.type.count):
        total = builder.fadd(total, builder.extract_element(out, ir.Constant(ir.IntType(32), lane)))
    return total


@intrinsic
def _multiply_add_chains(typingctx, count, factor, term):
    # Each of the accumulators runs through a <- a * factor + term, `count` times; returns their sum.
    def codegen(context, builder, signature, arguments):
        count, factor, term = arguments
        _, splat = _lanes(builder, factor.type)
        factors, terms = splat(factor), splat(term)
        places = [cgutils.alloca_once_value(builder, splat(ir.Constant(factor.type, n))) for n in range(ACCUMULATORS)]
        with cgutils.for_range(builder, count):
            for place in places:
                product = builder.fmul(builder.load(place), factors, flags=("contract",))
                builder.store(builder.fadd(product, terms, flags=("contract",)), place)
        return _total(builder, [builder.load(place) for place in places])

    return factor(types.int64, factor, factor), codegen


@intrinsic
def _add_up(typingctx, array, times):
    # Adds an array up `times` over in explicit vectors; its size is a multiple of the vectors of one turn. Sums run on
    # from pass to pass, so that no pass can be skipped: floating-point sums are not for a compiler to reorder.
    def codegen(context, builder, signature, arguments):
        kind = signature.args[0]
        made = context.make_array(kind)(context, builder, arguments[0])
        vector, _ = _lanes(builder, context.get_value_type(kind.dtype))
        step = ir.Constant(made.nitems.type, _UNROLL * vector.count)
        base = builder.bitcast(made.data, vector.as_pointer())
        places = [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(_UNROLL)]
        turns = builder.udiv(made.nitems, step)
        with cgutils.for_range(builder, arguments[1]), cgutils.for_range(builder, turns) as loop:
            first = builder.mul(loop.index, ir.Constant(loop.index.type, _UNROLL))
            for n, place in enumerate(places):
                address = builder.gep(base, [builder.add(first, ir.Constant(first.type, n))])
                builder.store(builder.fadd(builder.load(place), builder.load(address, align=8)), place)
        return _total(builder, [builder.load(place) for place in places])

    return array.dtype(array, types.int64), codegen


@nb.njit(cache=True, nogil=True)
def _multiply_add(count, factor, term):
    return _multiply_add_chains(count, factor, term)


@nb.njit(cache=True, nogil=True)
def _read(array, times):
    return _add_up(array, times)


def multiply_add_peak(dtype, seconds: float = 0.03, repeats: int = 3) -> float:
    """Return the multiply-add peak of one core [flop/s], two flop each; the best of some repeats."""
    one = np.dtype(dtype).type
    flop = 2 * ACCUMULATORS * (VECTOR_BYTES // np.dtype(dtype).itemsize)
    _multiply_add(1, one(0.999), one(0.001))  # compiled or loaded
    count = 1000
    best = math.inf
    while True:
        start = time.process_time()
        total = _multiply_add(count, one(0.999), one(0.001))
        used = time.process_time() - start
        if not np.isfinite(total):
            raise ArithmeticError("the multiply-add chain overflowed")
        if used > seconds / 4:
            break
        count *= 4
    count = max(1, int(count * seconds / used))
    for _ in range(repeats):
        start = time.process_time()
        _multiply_add(count, one(0.999), one(0.001))
        best = min(best, time.process_time() - start)
    return flop * count / best


def read_bandwidth(size: int, dtype=np.float32, seconds: float = 0.03, repeats: int = 3) -> float:
    """Return how fast one core reads an array of about `size` bytes over and over [byte/s]."""
    turn = _UNROLL * VECTOR_BYTES
    raw = np.zeros(max(1, size // turn) * turn + 64, np.uint8)
    shift = -raw.ctypes.data % 64  # no vector across two lines of the cache
    array = raw[shift : shift + raw.size - 64].view(dtype)
    times = 1
    _read(array, 1)
    while True:
        start = time.process_time()
        _read(array, times)
        used = time.process_time() - start
        if used > seconds / 4:
            break
        times *= 4
    times = max(1, int(times * seconds / used))
    best = math.inf
    for _ in range(repeats):
        start = time.process_time()
        _read(array, times)
        best = min(best, time.process_time() - start)
    return array.nbytes * times / best


def matrix_product_rate(dtype, order: int = 768, repeats: int = 3) -> float:
    """Return how fast numpy's library multiplies square matrices [flop/s]."""
    a = np.ones((order, order), dtype)
    out = a @ a
    best = math.inf
    for _ in range(repeats):
        start = time.process_time()
        np.matmul(a, a, out=out)
        best = min(best, time.process_time() - start)
    return 2 * order**3 / best


def cache_sizes() -> dict[str, int]:
    """Return the sizes of the data caches of one core [byte]; common ones where the system does not say."""
    sizes = {"L1": 32 << 10, "L2": 512 << 10, "L3": 16 << 20}
    units = {"K": 1 << 10, "M": 1 << 20}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind = (folder / "type").read_text().strip()
            text = (folder / "size").read_text().strip()
            level = (folder / "level").read_text().strip()
        except OSError:
            continue
        if kind != "Instruction" and text[-1:] in units and text[:-1].isdigit():
            sizes[f"L{level}"] = int(text[:-1]) * units[text[-1]]
    return sizes


def bandwidths(seconds: float = 0.03) -> dict[str, float]:
    """Return the read bandwidth of each level [byte/s], each with an array of half its size; memory with 4 times L3."""
    sizes = cache_sizes()
    half = {level: size // 2 for level, size in sizes.items()}
    half["memory"] = min(4 * sizes["L3"], 256 << 20)
    return {level: read_bandwidth(size, seconds=seconds) for level, size in half.items()}


def level_of(size: int) -> str:
    """Return the level that holds an array of `size` bytes with a quarter to spare."""
    for level, room in cache_sizes().items():
        if size <= 0.75 * room:
            return level
    return "memory"


def floors(flop: float, weight_bytes: int, peak: float, bandwidth: dict[str, float]) -> dict[str, float]:
    """Return the least time of one step [s]: by arithmetic, and for programs that read the weights once a step."""
    return {"arithmetic": flop / peak, "one pass over the weights": weight_bytes / bandwidth[level_of(weight_bytes)]}


def array_sum(array: NDArray, times: int = 1) -> float:
    """Return the sum of the whole turns of an array, `times` over, as the reading loop computes it, for tests."""
    return float(_read(array, times))


def chain(count: int, factor, term) -> float:
    """Return the sum of all accumulators after `count` steps of a <- a * factor + term, for tests."""
    return float(_multiply_add(count, factor, term))
