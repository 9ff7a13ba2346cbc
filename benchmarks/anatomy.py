"""Where the time of an iteration goes: each stage of the block kernel alone, and the picture of docs/kernels.md.

    python -m benchmarks.anatomy [--output docs/gallery/block_sgd.png]
    python -m benchmarks.anatomy --ways

Stages run on the state that a real run left behind (workload A: N = 800, d = 40, float32 and float64), on one thread.
`--ways` times the ways to move a tile of neurons, on made-up samples that move a given share of them.
"""

import argparse
import itertools
import os
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numba as nb
import numpy as np
from matplotlib.patches import FancyArrowPatch, Rectangle

from meanfield import plotting
from meanfield.kernels import block_sgd, lanes, tiles
from meanfield.kernels.streams import fill_block, stream_key
from meanfield.problems.activations import PiecewiseLinear

RAMP = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
SIZE = {"neurons": 800, "dimension": 40}
STAGES = ("random numbers", "prediction", "Gram matrix", "sweeps", "update")
COLOURS = ("#7F7F7F", "#0072B2", "#56B4E9", "#E69F00", "#009E73")


@nb.njit
def _draw(times, z, sign, key, block, scales, panels, x, y, steps, columns):
    for n in range(times):
        k = n * block
        start = k // z.shape[1] * z.shape[1]
        if k == start:
            fill_block(z, sign, key, k)
        block_sgd._draw(z, sign, start, k, block, scales, (1e-6, 1.0, 0.0), panels, x, y, steps, columns)


@nb.njit
def _normals(times, z, sign, key):
    for n in range(times):
        fill_block(z, sign, key, n * z.shape[1])


@nb.njit
def _predict(times, w, rows, columns, coordinates, panels, block, p, chunk, pitch, scratch):
    for _ in range(times):
        for start in range(0, rows, tiles.TILE):
            end, place = min(start + tiles.TILE, rows), start // tiles.TILE * chunk
            tiles.predict(w, start, end, columns, coordinates, panels, block, p, place, pitch, scratch)


@nb.njit
def _products(times, x, panels, block, columns, coordinates, out, scratch):
    for _ in range(times):
        tiles.inner_products(x, panels, block, columns, coordinates, out, scratch)


@nb.njit
def _sweep(times, count, y, steps, shape, network, work, outputs, responses, scheme):
    for _ in range(times):
        block_sgd._sweep(count, y, steps, shape, network, work, outputs, responses, scheme)


@nb.njit
def _update(times, w, rows, columns, x, block, c, chunk, bits, moved, movers):
    words = moved.size
    for _ in range(times):
        for tile in range(words):
            last = min((tile + 1) * tiles.TILE, rows)
            way = tiles.prepare(moved[tile], block, columns, bits, words, tile, movers)
            tiles.update(way, w, tile, last, columns, x, block, c, chunk, bits, words, block, movers)


@nb.njit(nogil=True)
def _peak(times, q):
    n = lanes.width(q)
    a, b, c = lanes.load(q, 0), lanes.load(q, n), lanes.load(q, 2 * n)
    d, e, f = lanes.load(q, 3 * n), lanes.load(q, 4 * n), lanes.load(q, 5 * n)
    m = lanes.splat(q[0])
    for _ in range(times):
        a, b, c = lanes.fma(a, m, m), lanes.fma(b, m, m), lanes.fma(c, m, m)
        d, e, f = lanes.fma(d, m, m), lanes.fma(e, m, m), lanes.fma(f, m, m)
    lanes.store(q, 0, lanes.add(lanes.add(lanes.add(a, b), lanes.add(c, d)), lanes.add(e, f)))


@nb.njit
def _move(times, way, w, rows, columns, x, block, c, chunk, bits, movers):
    # Other neurons move each time, so that the processor cannot learn which.
    words = bits.shape[1] // block
    for n in range(times):
        moved = bits[n % len(bits)]
        for tile in range(words):
            last = min((tile + 1) * tiles.TILE, rows)
            if way == tiles.BY_NEURON:
                tiles.find_movers(moved, words, tile, block, movers)
            tiles.update(way, w, tile, last, columns, x, block, c, chunk, moved, words, block, movers)


def compare_ways(neurons: int = 832) -> None:
    """Print the time per iteration of each way to move neurons, by how many of them a sample moves."""
    rng = np.random.default_rng(0)
    print("us per iteration by sample, by neuron, dense; in brackets which one the kernel takes")
    for dtype, dimension in itertools.product((np.float32, np.float64), (40, 100, 320, 784)):
        block = block_sgd.block_size(dimension, neurons)
        _, stride, chunk, _, _, columns = tiles.layout(neurons, dimension, block)
        words, width = stride // tiles.TILE, lanes.WIDTH[np.dtype(dtype)]
        w, c = lanes.aligned_zeros((stride * columns,), dtype), lanes.aligned_zeros((words * chunk,), dtype)
        x = lanes.aligned_zeros((block * tiles.padded(columns, width),), dtype)
        movers = np.zeros(tiles.padded(block, tiles.TILE), np.uint64)
        for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9):
            lanes_moved = rng.random((8, block * words, tiles.TILE)) < share
            bits = (lanes_moved * (np.uint64(1) << np.arange(tiles.TILE, dtype=np.uint64))).sum(axis=2)
            taken = tiles.way_of(share * block * tiles.TILE, block, columns)
            times = []
            for way in (tiles.BY_SAMPLE, tiles.BY_NEURON, tiles.DENSE):
                once = seconds(_move, 8, way, w, stride, columns, x, block, c, chunk, bits, movers)
                times.append(f"[{1e6 * once / block:.3f}]" if way == taken else f"{1e6 * once / block:.3f}")
            print(f"{np.dtype(dtype).name}, d = {dimension:3d}, {share:4.0%} moved: {', '.join(times)}")


def seconds(function, times: int, *arguments) -> float:
    """Return the shortest of several measurements of one call's time [s]."""
    function(2, *arguments)
    shortest = np.inf
    for _ in range(9):
        start = time.perf_counter()
        function(times, *arguments)
        shortest = min(shortest, (time.perf_counter() - start) / times)
    return shortest


def measure(dtype: type) -> tuple[dict[str, float], float, float]:
    """Return the time per iteration [us] of each stage, of the whole, and of the prediction at the peak."""
    rng = np.random.default_rng(0)
    neurons, dimension = SIZE["neurons"], SIZE["dimension"]
    # Norms as late in the run, when about a tenth of the neurons move at each iteration.
    weights = (rng.standard_normal((neurons, dimension)) * 3 / np.sqrt(dimension)).astype(dtype)
    state = block_sgd.BlockState(weights, RAMP.kernel_code())
    key = stream_key(0, "anatomy", 0)
    settings = {"key": key, "scales": (1.8, 0.2), "step_size": 1e-6}
    state.advance_stream(0, 64, **settings)
    start = time.perf_counter()
    count = 64000
    shortest = np.inf
    for _ in range(5):
        start = time.perf_counter()
        state.advance_stream(64, 64 + count, **settings)
        shortest = min(shortest, (time.perf_counter() - start) / count)
    shape, block = state._shape, state.block
    neurons, stride, chunk, _, coordinates, columns = shape
    panels, x, scaled, _, y, steps = state._samples
    p, _, c, gram, _, _, _, bits, moved, _, _, scratch, movers = state._work
    z, sign = state._buffer
    w = state._weights[0]
    scales = np.ones((2, dimension), dtype)
    inner = (columns, coordinates, panels, block)
    found = {
        "random numbers": seconds(_draw, 400, z, sign, key, block, scales, panels, x, y, steps, columns),
        "prediction": seconds(_predict, 400, w, stride, *inner, p, chunk, tiles.TILE, scratch[0]),
        "Gram matrix": seconds(_products, 400, x, panels, block, columns, coordinates, gram, scratch[0]),
    }
    state.advance_stream(64, 64 + block, **settings)
    found["update"] = seconds(_update, 400, w, stride, columns, scaled * 0, block, c, chunk, bits, moved, movers)
    found["sweeps"] = seconds(
        _sweep, 400, block, y, steps * 0, (neurons, chunk, block), state._network, state._work, state._outputs,
        state._responses, state._scheme,
    )  # fmt: skip
    q = np.full(200, 0.5, dtype)
    width = lanes.WIDTH[np.dtype(dtype)]
    flops = 12 * width / seconds(_peak, 100000, q)
    floor = 2 * neurons * dimension / flops
    return {name: 1e6 * found[name] / block for name in STAGES}, 1e6 * shortest, 1e6 * floor


def draw_scheme(axis) -> None:
    """Draw what a block is: one pass over the weights, then sweeps over scalars."""
    axis.set_xlim(0, 10)
    axis.set_ylim(0, 6.2)
    axis.axis("off")

    def box(x, y, width, height, text, colour, size=7):
        axis.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="black", linewidth=0.6, alpha=0.35))
        axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=size)

    def arrow(start, end, text="", shift=(0.0, 0.0)):
        axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=8, linewidth=0.8, color="black"))
        if text:
            axis.text((start[0] + end[0]) / 2 + shift[0], (start[1] + end[1]) / 2 + shift[1], text, fontsize=6.5)

    box(0.2, 2.2, 1.5, 3.4, "weights\n$W$\n$N \\times d$", COLOURS[1])
    box(2.9, 4.5, 1.5, 1.1, "samples $X$\n$K \\times d$", COLOURS[0])
    box(2.9, 2.2, 1.5, 1.5, "$P = XW^\\top$\n$K \\times N$", COLOURS[1])
    box(5.3, 4.5, 1.5, 1.1, "$G = XX^\\top$\n$K \\times K$", COLOURS[2])
    for k in range(4):
        y = 3.35 - 0.45 * k
        box(5.3, y, 3.2, 0.38, "", COLOURS[3])
    axis.text(6.9, 3.54, "$P_1 + G_{10} e_0 c_0$", ha="center", va="center", fontsize=6.5)
    axis.text(6.9, 3.09, "$P_2 + G_{20} e_0 c_0 + G_{21} e_1 c_1$", ha="center", va="center", fontsize=6.5)
    axis.text(6.9, 2.64, "…", ha="center", va="center", fontsize=7)
    axis.text(6.9, 2.19, "$P_{K-1} + \\Sigma_l\\, G_{K-1,l}\\, e_l c_l$", ha="center", va="center", fontsize=6.5)
    axis.text(8.7, 2.85, "$K$ sweeps\nover $N$\nscalars", ha="left", va="center", fontsize=6.5)
    arrow((1.7, 3.0), (2.9, 3.0))
    arrow((3.6, 4.5), (3.6, 3.7))
    arrow((4.4, 5.05), (5.3, 5.05))
    arrow((4.4, 3.0), (5.3, 3.0))
    arrow((6.05, 4.5), (6.05, 3.75))
    axis.annotate(
        "", xy=(0.95, 2.15), xytext=(6.9, 1.95),
        arrowprops={"arrowstyle": "-|>", "connectionstyle": "arc3,rad=-0.25", "linewidth": 0.8},
    )  # fmt: skip
    axis.text(3.9, 0.25, "$W \\leftarrow W + C^\\top \\mathrm{diag}(e)\\, X$, only neurons that moved,\n"
              "in the same pass as the next block's prediction", ha="center", fontsize=6.5)  # fmt: skip


def draw(results: dict) -> plotting.Figure:
    """Return the picture: the scheme, and the measured stages beside the floor."""
    figure, (scheme, bars) = plotting.plt.subplots(
        1, 2, figsize=plotting.size(2.6, columns=2), gridspec_kw={"width_ratios": [1.25, 1]}
    )
    draw_scheme(scheme)
    for row, (stages, whole, floor) in enumerate(results.values()):
        left = 0.0
        for stage, colour in zip(STAGES, COLOURS, strict=True):
            bars.barh(row, stages[stage], left=left, color=colour, height=0.5, label=stage if row == 0 else None)
            left += stages[stage]
        bars.plot([whole, whole], [row - 0.32, row + 0.32], color="black", linewidth=1.5,
                  label="whole iteration" if row == 0 else None)  # fmt: skip
        bars.plot([floor, floor], [row - 0.32, row + 0.32], color="#D55E00", linewidth=1.5, linestyle="--",
                  label="prediction at peak" if row == 0 else None)  # fmt: skip
    bars.set_yticks(range(len(results)), list(results))
    bars.set_ylim(-0.5, len(results) + 0.75)
    bars.set_xlabel("time per iteration [µs], stages measured alone")
    handles, labels = bars.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda n: labels[n] not in STAGES)  # stages first, lines after them
    bars.legend([handles[n] for n in order], [labels[n] for n in order], loc="upper right", ncols=2, fontsize=6.5)
    plotting.panels([scheme, bars], ["a block of $K$ iterations", "$N = 800$, $d = 40$, one core"])
    return figure


def main() -> None:
    """Measure, print, and draw if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--ways", action="store_true", help="time the ways to move neurons instead")
    arguments = parser.parse_args()
    if arguments.ways:
        compare_ways()
        return
    results = {}
    for dtype in (np.float32, np.float64):
        stages, whole, floor = results[np.dtype(dtype).name] = measure(dtype)
        listed = ", ".join(f"{name} {value:.3f}" for name, value in stages.items())
        print(
            f"{np.dtype(dtype).name}: {whole:.3f} us per iteration ({floor / whole:.0%} of the peak); "
            f"prediction at peak {floor:.3f}, {listed}"
        )
    key, z, sign = stream_key(0, "anatomy", 1), np.empty((40, 64), np.float32), np.empty(64, np.float32)
    normal = seconds(_normals, 2000, z, sign, key) / z.size
    noise = 1e6 * normal * SIZE["neurons"] * SIZE["dimension"]
    print(
        f"a normal takes {1e9 * normal:.2f} ns: noise injected into every weight would add {noise:.0f} us per iteration"
    )
    if arguments.output:
        root = Path(__file__).resolve().parents[1]
        with plotting.plt.style.context(root / "styles/report.mplstyle"):
            plotting.save(draw(results), [arguments.output])


if __name__ == "__main__":
    main()
