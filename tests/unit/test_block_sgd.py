"""The block kernel against the sequential definition on the same samples; what must not change its bits."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from meanfield.kernels import tiles
from meanfield.kernels.block_sgd import BlockState, block_size
from meanfield.kernels.lanes import WIDTH
from meanfield.kernels.momentum import SGD, Momentum, coefficients
from meanfield.kernels.reference import TwoLayer, sequential_sgd, sequential_two_layer
from meanfield.kernels.streams import standard_samples, stream_key
from meanfield.kernels.tiles import TILE
from meanfield.limits.schedule import Schedule
from meanfield.problems.activations import PiecewiseLinear, Smooth
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw

RELU = PiecewiseLinear((0.0,), (0.0,), right_slope=1.0)
# Mei, Montanari & Nguyen (2018), "predicting failure": three knots, one of them at zero.
NONMONOTONE = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))
SLANTED = PiecewiseLinear((-1.2, 0.0, 0.3, 2.0), (0.5, 0.75, -1.0, 0.25), left_slope=-0.5, right_slope=0.75)
SMOOTH = {
    "tanh": Smooth("tanh", amplitude=2.0, gain=1.5, shift=0.4, offset=-0.3),
    "logistic": Smooth("logistic", amplitude=3.0, gain=2.0, shift=-0.2, offset=0.1),
    "erf": Smooth("erf", amplitude=-1.5, gain=0.8, shift=0.7, offset=0.2),
    "softplus": Smooth("softplus", amplitude=0.7, gain=1.2, shift=0.3, offset=-1.0),
    "sine": Smooth("sine", amplitude=1.3, gain=1.7, shift=0.25, offset=0.5),
}
# Neurons by coordinates: single neuron, ragged and full vectors and tiles, ragged rows, every block size and its ends,
# rows longer than a piece of the prediction.
SHAPES = [
    (1, 2),
    (33, 2),
    (32, 8),
    (5, 37),
    (64, 64),
    (65, 3),
    (3, 65),
    (144, 5),
    (31, 70),
    (33, 192),
    (7, 193),
    (33, 300),
]


def draw(problem, neurons, count, *, replicate=0, dtype=np.float64, scale=0.8):
    weights = RadialLaw("gaussian", scale).sample(neurons, problem.dimension, 0, "block", replicate)
    inputs, targets = problem.samples(0, "block", replicate, 0, count)
    return weights.astype(dtype), inputs.astype(dtype), targets.astype(dtype)


def arrays_of(value):
    """Every array that a nested container holds and that a kernel may write to."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        # Shape, network and coefficients are read only.
        for name, item in value.items():
            if name not in ("_network", "_shape"):
                yield from arrays_of(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from arrays_of(item)


def relative_error(found, expected, start):
    """Size of the error of the displacement, relative to the displacement."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected - start)


# -- by hand -------------------------------------------------------------------------------------------------

# Rectifier, two neurons, two steps of size 0.1.
# Sample (1, 2), y = 1: preactivations 1 and 2, prediction 1.5, residual -0.5; both move by -0.1 (1, 2).
# Sample (1, -1), y = -1: preactivations 1.1 and -0.9, prediction 0.55, residual -1.55; the second neuron is
# off, the first moves by -0.31 (1, -1).
HAND_START = np.eye(2)
HAND_INPUTS = np.array([[1.0, 2.0], [1.0, -1.0]])
HAND_TARGETS = np.array([1.0, -1.0])
HAND_STEPS = np.array([0.1, 0.1])
HAND_ONE = np.array([[0.9, -0.2], [-0.1, 0.8]])
HAND_TWO = np.array([[0.59, 0.11], [-0.1, 0.8]])


@pytest.mark.parametrize(("count", "expected"), [(1, HAND_ONE), (2, HAND_TWO)])
def test_block_kernel_makes_the_steps_computed_by_hand(count, expected):
    state = BlockState(HAND_START, RELU.kernel_code())
    state.advance_arrays(HAND_INPUTS[:count], HAND_TARGETS[:count], HAND_STEPS[:count])
    # A dozen operations on numbers below 2.
    np.testing.assert_allclose(state.weights, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("count", "expected"), [(1, HAND_ONE), (2, HAND_TWO)])
def test_sequential_reference_makes_the_steps_computed_by_hand(count, expected):
    found = sequential_sgd(
        HAND_START, HAND_INPUTS[:count], HAND_TARGETS[:count], HAND_STEPS[:count], RELU, RELU.derivative
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)
    assert np.array_equal(HAND_START, np.eye(2))


def test_one_step_of_a_single_neuron_on_the_dip_of_the_nonmonotone_activation():
    # w = (0.25, 0), x = (1, 2), y = 1: sigma = -3.25, slope -3; w += 2 * 0.01 * 4.25 * (-3) x = -0.255 x.
    state = BlockState(np.array([[0.25, 0.0]]), NONMONOTONE.kernel_code())
    state.advance_arrays(np.array([[1.0, 2.0]]), np.array([1.0]), np.array([0.01]))
    np.testing.assert_allclose(state.weights, [[-0.005, -0.51]], rtol=0, atol=1e-15)


def test_a_preactivation_at_a_knot_takes_the_slope_on_its_left():
    # <w, x> = 0.5 exactly, the bottom of the dip: slope -3, value -4, residual 5.
    state = BlockState(np.array([[0.5, 0.0]]), NONMONOTONE.kernel_code())
    state.advance_arrays(np.array([[1.0, 0.0]]), np.array([1.0]), np.array([0.01]))
    np.testing.assert_allclose(state.weights, [[0.5 - 3 * 2 * 0.01 * 5, 0.0]], rtol=0, atol=1e-15)


def test_neurons_at_the_origin_with_no_slope_there_never_move():
    problem = IsotropicGaussians(10, 0.5, NONMONOTONE)  # left derivative 0 at the knot at 0
    state = problem.block_state(np.zeros((4, 10)))
    state.advance_stream(0, 100, key=stream_key(0, "rest", 0), scales=problem.scales, step_size=0.1)
    assert not state.weights.any()


@pytest.mark.parametrize(
    ("dimension", "neurons", "block"),
    [
        (1, 3, 16),
        (2, 9, 16),
        (64, 10**5, 16),
        (65, 3, 32),
        (192, 3, 32),
        (193, 3, 64),
        (784, 800, 64),
        (784, 10**4, 128),
    ],
)
def test_block_size_depends_on_the_sizes_of_the_network_alone(dimension, neurons, block):
    assert block_size(dimension, neurons) == block
    if neurons < 10:
        assert BlockState(np.zeros((neurons, dimension)), RELU.kernel_code()).block == block


# -- against the definition ----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [RELU, NONMONOTONE, SLANTED], ids=["relu", "nonmonotone", "slanted"])
# Eight neurons in 200 dimensions would amplify rounding so much that the definition itself, with its coordinates in
# another order, moves by 5e-13.
@pytest.mark.parametrize("shape", [(33, 37), (31, 70), (40, 200)], ids=str)
def test_block_kernel_equals_sequential_sgd_after_4000_steps(activation, shape):
    neurons, dimension = shape
    problem = IsotropicGaussians(dimension, 0.5, activation)
    weights, inputs, targets = draw(problem, neurons, 4000)
    steps = np.full(4000, 2e-4)
    expected = sequential_sgd(weights, inputs, targets, steps, activation, activation.derivative)
    state = problem.block_state(weights)
    state.advance_arrays(inputs, targets, steps)
    assert np.linalg.norm(expected - weights) > 0.1 * np.linalg.norm(weights)  # a run that goes somewhere
    # Sums in another order: 4000 roundings of 1e-16 that add up like a random walk.
    assert relative_error(state.weights, expected, weights) < 1e-12


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_block_kernel_equals_sequential_sgd_at_odd_sizes(shape):
    neurons, dimension = shape
    problem = IsotropicGaussians(dimension, 0.5, NONMONOTONE)
    count = 5 * block_size(dimension) + 3  # ends inside a block
    weights, inputs, targets = draw(problem, neurons, count)
    # Steps small against 1/(slope^2 |x|^2): larger ones make the run itself amplify rounding.
    steps = Schedule(0.5, -0.25).step_sizes(0.02 / dimension, 0, count)
    expected = sequential_sgd(weights, inputs, targets, steps, NONMONOTONE, NONMONOTONE.derivative)
    state = problem.block_state(weights)
    state.advance_arrays(inputs, targets, steps)
    assert relative_error(state.weights, expected, weights) < 1e-13


@pytest.mark.parametrize("activation", SMOOTH.values(), ids=SMOOTH.keys())
def test_block_kernel_equals_sequential_sgd_for_smooth_activations(activation):
    problem = IsotropicGaussians(37, 0.5, activation)
    weights, inputs, targets = draw(problem, 33, 500)
    steps = np.full(500, 1e-3)
    expected = sequential_sgd(weights, inputs, targets, steps, activation, activation.derivative)
    state = problem.block_state(weights)
    state.advance_arrays(inputs, targets, steps)
    # Elementary functions of two libraries differ in their last bits.
    assert relative_error(state.weights, expected, weights) < 1e-12


@pytest.mark.parametrize("count", [0, 1, 7, 15, 16, 17, 31, 33])
def test_any_number_of_iterations_is_carried_out(count):
    problem = IsotropicGaussians(5, 0.5, SLANTED)
    weights, inputs, targets = draw(problem, 3, count)
    steps = np.full(count, 0.01)
    expected = sequential_sgd(weights, inputs, targets, steps, SLANTED, SLANTED.derivative)
    state = problem.block_state(weights)
    state.advance_arrays(inputs, targets, steps)
    np.testing.assert_allclose(state.weights, expected, rtol=0, atol=1e-14)


def test_large_preactivations_do_not_spoil_smooth_activations():
    weights = np.array([[400.0, 0.0], [-400.0, 0.0]])
    for activation in SMOOTH.values():
        state = BlockState(weights, activation.kernel_code())
        state.advance_arrays(np.array([[2.0, 0.0]]), np.array([1.0]), np.array([0.1]))
        arrays = np.array([[2.0, 0.0]]), np.array([1.0]), np.array([0.1])
        expected = sequential_sgd(weights, *arrays, activation, activation.derivative)
        # The sine of 1360 is known to 1360 eps = 3e-13.
        np.testing.assert_allclose(state.weights, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(33, 37), (32, 70), (16, 200)], ids=str)
def test_single_precision_follows_double_precision_within_its_rounding(shape):
    neurons, dimension = shape
    problem = IsotropicGaussians(dimension, 0.5, NONMONOTONE)
    weights, inputs, targets = draw(problem, neurons, 1000, dtype=np.float32)
    steps = np.full(1000, 2e-4)
    double = (weights.astype(float), inputs.astype(float), targets.astype(float))
    expected = sequential_sgd(*double, steps, NONMONOTONE, NONMONOTONE.derivative)
    state = problem.block_state(weights)
    state.advance_arrays(inputs, targets, steps)
    assert state.weights.dtype == np.float32
    # Rounding 6e-8 of weights of size one against increments of size 1e-3 and less, plus the odd neuron that
    # rounding puts on the other side of a knot; docs/kernels.md has the estimate.
    assert relative_error(state.weights, expected, double[0]) < 2e-5
    assert relative_error(state.weights, expected, double[0]) > 1e-9  # it is not double in disguise


# -- output weights, biases, momentum ------------------------------------------------------------------------

OPTIMISERS = {
    "sgd": SGD,
    "heavy_ball": Momentum(gamma=0.8, heavy_ball=True),
    "nesterov": Momentum(gamma=0.9),
    "mass": Momentum(gamma=0.9, compensation=0.5),
    "accelerated": Momentum("accelerated", q=1e-2),
    "gradient_restart": Momentum("gradient_restart"),
    "function_restart": Momentum("function_restart"),
    "restarted_mass": Momentum("gradient_restart", compensation=0.1),
}


def two_layer(neurons, dimension, count, activation, *, seed=0):
    """A start with unequal output weights and biases, and samples of the isotropic problem."""
    problem = IsotropicGaussians(dimension, 0.5, activation)
    weights, inputs, targets = draw(problem, neurons, count, replicate=seed)
    start = TwoLayer(weights, np.linspace(-0.2, 0.3, neurons), np.linspace(0.5, 1.5, neurons))
    return start, inputs, targets


@pytest.mark.parametrize("momentum", OPTIMISERS.values(), ids=OPTIMISERS.keys())
@pytest.mark.parametrize("trained", [False, True], ids=["weights", "all"])
@pytest.mark.parametrize(
    ("activation", "neurons", "dimension", "count"),
    [(RELU, 37, 9, 300), (NONMONOTONE, 16, 70, 200), (SMOOTH["tanh"], 65, 5, 200), (SLANTED, 24, 200, 150)],
    ids=["relu", "nonmonotone", "tanh", "slanted"],
)
def test_every_optimiser_equals_its_sequential_definition(momentum, trained, activation, neurons, dimension, count):
    start, inputs, targets = two_layer(neurons, dimension, count, activation)
    if not trained:
        start = start._replace(biases=np.zeros(neurons))
    steps = Schedule(0.5, -0.25).step_sizes(0.01 / dimension, 0, count)
    arrays = inputs, targets, steps
    expected = sequential_two_layer(
        start, *arrays, activation, activation.derivative,
        train_biases=trained, train_output=trained, momentum=momentum,
    )  # fmt: skip
    state = BlockState(
        start.weights, activation.kernel_code(), output_weights=start.output_weights, train_output=trained,
        biases=start.biases if trained else None, momentum=momentum,
    )  # fmt: skip
    state.advance_arrays(*arrays)
    assert np.linalg.norm(expected.weights - start.weights) > 0.01 * np.linalg.norm(start.weights)
    # Momentum adds up hundreds of roundings; a velocity kept as such does not cancel digits.
    assert relative_error(state.weights, expected.weights, start.weights) < 1e-12
    if trained:
        assert relative_error(state.biases, expected.biases, start.biases) < 1e-12
        assert relative_error(state.output_weights, expected.output_weights, start.output_weights) < 1e-12
    else:
        assert np.array_equal(state.output_weights, start.output_weights)
        assert not state.biases.any()


@pytest.mark.parametrize("rule", ["gradient_restart", "function_restart"])
def test_restarts_do_happen_and_change_the_run(rule):
    start, inputs, targets = two_layer(37, 9, 300, RELU)
    steps = np.full(300, 1e-3)
    runs = [
        sequential_two_layer(start, inputs, targets, steps, RELU, RELU.derivative, momentum=Momentum(name)).weights
        for name in (rule, "accelerated")
    ]
    assert np.linalg.norm(runs[0] - runs[1]) > 0.01 * np.linalg.norm(runs[0])


def test_general_definition_reduces_to_the_simple_one():
    problem = IsotropicGaussians(11, 0.5, NONMONOTONE)
    weights, inputs, targets = draw(problem, 7, 50)
    steps = np.full(50, 1e-3)
    simple = sequential_sgd(weights, inputs, targets, steps, NONMONOTONE, NONMONOTONE.derivative)
    start = TwoLayer(weights, np.zeros(7), np.ones(7))
    general = sequential_two_layer(start, inputs, targets, steps, NONMONOTONE, NONMONOTONE.derivative)
    np.testing.assert_allclose(general.weights, simple, rtol=0, atol=1e-15)


def test_one_iteration_with_output_weight_bias_and_momentum_computed_by_hand():
    # One neuron, a = 2, b = 1, w = 1, rectifier; x = 1, y = 1: z = 2, yhat = 4, residual -3, 2 s = 0.1, e = -0.3.
    # Moves: w and b by e a = -0.6, a by e z = -0.6. Nesterov with gamma 1/2: v = -0.3, u = u - 0.3 - 0.6.
    # Second sample x = -1, y = 0: w = 0.1, b = 0.1, z = 0: slope 0 at the knot, prediction 0: nothing but coasting,
    # v = -0.15 each.
    state = BlockState(
        np.array([[1.0]]), RELU.kernel_code(), output_weights=np.array([2.0]), train_output=True,
        biases=np.array([1.0]), momentum=Momentum(gamma=0.5),
    )  # fmt: skip
    for count, move in [(1, 0.9), (2, 1.05)]:
        ahead = state.copy()
        ahead.advance_arrays(np.array([[1.0], [-1.0]])[:count], np.array([1.0, 0.0])[:count], np.full(count, 0.05))
        np.testing.assert_allclose(ahead.weights, [[1 - move]], rtol=0, atol=1e-15)
        np.testing.assert_allclose(ahead.biases, [1 - move], rtol=0, atol=1e-15)
        np.testing.assert_allclose(ahead.output_weights, [2 - move], rtol=0, atol=1e-15)


def test_mass_without_compensation_is_nesterov_bit_for_bit():
    start, inputs, targets = two_layer(37, 70, 200, NONMONOTONE)
    runs = []
    for momentum in (Momentum(gamma=0.9), Momentum(gamma=0.9, compensation=0.0)):
        state = BlockState(start.weights, NONMONOTONE.kernel_code(), momentum=momentum)
        state.advance_arrays(inputs, targets, np.full(200, 1e-4))
        runs.append(state.weights)
    assert np.array_equal(*runs)


def test_vanishing_momentum_is_sgd():
    start, inputs, targets = two_layer(37, 70, 200, NONMONOTONE)
    runs = []
    # q = 1 turns the accelerated sequence off; it runs through the two-sequence code all the same.
    for momentum in (SGD, Momentum("accelerated", q=1.0)):
        state = BlockState(start.weights, NONMONOTONE.kernel_code(), momentum=momentum)
        state.advance_arrays(inputs, targets, np.full(200, 1e-3))
        runs.append(state.weights)
    assert relative_error(runs[1], runs[0], start.weights) < 1e-13


def test_accelerated_sequence_is_the_one_computed_by_hand():
    # q = 0: theta_1 = (sqrt 5 - 1)/2, gamma_0 = 0 and gamma_1 = theta_1 (1 - theta_1)/(theta_1^2 + theta_2).
    rule, numbers = Momentum("accelerated").code()
    gamma, kappa, beta, theta = coefficients(rule, numbers, 1.0, False)
    assert (gamma, kappa, beta) == (0.0, 0.0, 1.0)
    assert theta == pytest.approx((math.sqrt(5) - 1) / 2, rel=1e-15)
    following = (-(theta**2) + math.sqrt(theta**4 + 4 * theta**2)) / 2
    gamma, kappa, _, after = coefficients(rule, numbers, theta, False)
    assert after == pytest.approx(following, rel=1e-14)
    assert gamma == kappa == pytest.approx(theta * (1 - theta) / (theta**2 + following), rel=1e-14)
    assert coefficients(rule, numbers, theta, True) == (0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rule": "fast"},
        {"gamma": -0.1},
        {"compensation": -1.0},
        {"rule": "accelerated", "q": 1.5},
        {"rule": "accelerated", "gamma": 0.9},
        {"gamma": float("nan")},
    ],
)
def test_impossible_momentum_is_refused(wrong):
    with pytest.raises(ValueError, match=r"momentum|gamma"):
        Momentum(**wrong)


def test_output_weights_and_biases_of_the_wrong_shape_are_refused():
    for name in ("output_weights", "biases"):
        with pytest.raises(ValueError, match=f"{name} must have one entry per neuron, 2, not the shape"):
            BlockState(np.zeros((2, 3)), RELU.kernel_code(), **{name: np.zeros(3)})


# -- ways to move a tile -------------------------------------------------------------------------------------


def test_when_each_neuron_moved_follows_from_who_moved_at_each_iteration():
    rng = np.random.default_rng(8)
    count, words, tile = 100, 3, 1
    moved = rng.random((count, words, TILE)) < 0.4
    bits = np.array([[word_of(one) for one in row] for row in moved]).ravel()
    movers = np.full(2 * TILE, 12345, np.uint64)
    tiles.find_movers(bits, words, tile, count, movers)
    for lane in range(TILE):
        assert movers[lane] == word_of(moved[:TILE, tile, lane])
        assert movers[TILE + lane] == word_of(moved[TILE:, tile, lane])


def word_of(truths):
    """Return the word whose bit n says whether number n is true."""
    return np.uint64(sum(1 << int(n) for n in np.flatnonzero(truths)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(("count", "block"), [(16, 16), (20, 32), (64, 64), (100, 128)])
def test_all_ways_to_move_a_tile_give_the_same_bits(dtype, share, count, block):
    rng = np.random.default_rng(5)
    # Forty columns at once and 64 more, or four vectors and more of them; in float32 half a vector is left.
    neurons, columns = 112, 104
    words = -(-neurons // TILE)
    c = np.zeros((count, words * TILE), dtype)
    c[:, :neurons] = np.where(rng.random((count, neurons)) < share, rng.standard_normal((count, neurons)), 0.0)
    x = rng.standard_normal((count, columns)).astype(dtype)
    start = rng.standard_normal((neurons, columns)).astype(dtype)
    by_tile = c.reshape(count, words, TILE)
    bits = np.zeros(block * words, np.uint64)
    bits[: count * words] = [word_of(one) for one in by_tile.reshape(-1, TILE)]
    # The layouts of the kernel: scalars tile by tile, samples column by column in vectors.
    chunk = block * TILE + 32
    scalars = np.full(words * chunk, np.nan, dtype)
    for tile in range(words):
        scalars[tile * chunk : tile * chunk + count * TILE] = by_tile[:, tile].ravel()
    width = WIDTH[np.dtype(dtype)]
    padded = np.zeros((block, -(-columns // width) * width), dtype)
    padded[:count, :columns] = x
    scaled = np.ascontiguousarray(padded.reshape(block, -1, width).swapaxes(0, 1)).ravel()
    movers = np.zeros(2 * TILE, np.uint64)
    ends = []
    for way in (tiles.BY_SAMPLE, tiles.BY_NEURON, tiles.DENSE):
        w = start.ravel().copy()
        for tile in range(words):
            tiles.find_movers(bits, words, tile, count, movers)
            last = min((tile + 1) * TILE, neurons)
            tiles.update(way, w, tile, last, columns, scaled, block, scalars, chunk, bits, words, count, movers)
        ends.append(w)
    assert np.array_equal(ends[0], ends[2])
    assert np.array_equal(ends[1], ends[2])
    expected = start.astype(float) + c[:, :neurons].T.astype(float) @ x.astype(float)
    np.testing.assert_allclose(
        ends[1].reshape(start.shape), expected, rtol=0, atol=1e-4 if dtype == np.float32 else 1e-13
    )


def test_the_way_depends_on_the_length_of_rows_and_the_share_that_moved():
    ways = [[tiles.way_of(share * 32 * TILE, 32, columns) for share in (0.1, 0.5, 0.9)] for columns in (40, 320)]
    assert ways == [[tiles.BY_SAMPLE, tiles.DENSE, tiles.DENSE], [tiles.BY_NEURON, tiles.BY_NEURON, tiles.DENSE]]


def test_inner_products_of_a_block_are_those_of_its_samples():
    rng = np.random.default_rng(3)
    block, columns = 32, 24
    width = WIDTH[np.dtype(float)]
    x = rng.standard_normal((block, columns))
    panels = np.ascontiguousarray(x.reshape(-1, width, columns).swapaxes(1, 2)).ravel()
    out = np.full(block * block, np.nan)
    tiles.inner_products(x.ravel(), panels, block, columns, columns, out, np.zeros(tiles.ROWS * width))
    upper = np.triu_indices(block)
    np.testing.assert_allclose(out.reshape(block, block)[upper], (x @ x.T)[upper], rtol=1e-13, atol=1e-13)


# -- data sets -----------------------------------------------------------------------------------------------


def test_an_index_chooses_the_samples():
    start, inputs, targets = two_layer(20, 7, 30, SLANTED)
    index = np.random.default_rng(2).integers(0, 30, 100)
    steps = np.full(100, 1e-3)
    by_index, by_copy = (BlockState(start.weights, SLANTED.kernel_code()) for _ in range(2))
    by_index.advance_arrays(inputs, targets, steps, index)
    by_copy.advance_arrays(inputs[index], targets[index], steps)
    assert np.array_equal(by_index.weights, by_copy.weights)


@pytest.mark.parametrize("index", [[0, 3], [-1, 0]])
def test_an_index_outside_the_data_set_is_refused(index):
    state = BlockState(np.zeros((2, 3)), RELU.kernel_code())
    with pytest.raises(ValueError, match="an index points outside the 3 samples"):
        state.advance_arrays(np.zeros((3, 3)), np.zeros(3), np.zeros(2), np.array(index))


def test_scales_may_differ_between_coordinates():
    rng = np.random.default_rng(3)
    plus, minus = rng.uniform(0.5, 1.5, (2, 9))
    weights = rng.standard_normal((21, 9))
    key = stream_key(0, "scales", 0)
    state = BlockState(weights, SLANTED.kernel_code())
    state.advance_stream(0, 50, key=key, scales=(plus, minus), step_size=1e-3)
    z, sign = standard_samples(key, 0, 50, 9)
    inputs = z * np.where(sign[:, None] > 0, plus, minus)
    expected = sequential_sgd(weights, inputs, sign, np.full(50, 1e-3), SLANTED, SLANTED.derivative)
    assert relative_error(state.weights, expected, weights) < 1e-13


# -- threads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [SGD, Momentum("gradient_restart")], ids=["sgd", "restart"])
def test_replicates_on_threads_give_the_bits_of_each_alone(momentum):
    problem = IsotropicGaussians(40, 0.5, NONMONOTONE)

    def run(replicate):
        weights = RadialLaw("gaussian", 0.8).sample(65, 40, 0, "threads", replicate)
        state = BlockState(weights, NONMONOTONE.kernel_code(), momentum=momentum)
        for first in range(0, 3200, 800):
            state.advance_stream(
                first, first + 800, key=stream_key(0, "threads", replicate), scales=problem.scales, step_size=1e-5
            )
        return state.weights

    alone = [run(replicate) for replicate in range(6)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(run, range(6)))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
    assert not np.array_equal(alone[0], alone[1])


# -- streams -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dimension", [5, 70, 200])
def test_cutting_a_run_at_block_boundaries_changes_no_bit(dimension, dtype):
    problem = IsotropicGaussians(dimension, 0.5, NONMONOTONE)
    block = block_size(dimension)
    weights = RadialLaw("gaussian", 0.8).sample(33, dimension, 0, "cut", 0).astype(dtype)
    settings = {
        "key": stream_key(0, "cut", 0),
        "scales": problem.scales,
        "step_size": 1e-3,
        "exponent": -0.25,
    }
    whole = problem.block_state(weights)
    whole.advance_stream(0, 9 * block + 5, **settings)
    pieces = problem.block_state(weights)
    for first, last in [(0, 1), (1, 3), (3, 4), (4, 8), (8, 9)]:
        pieces.advance_stream(first * block, last * block, **settings)
    pieces.advance_stream(9 * block, 9 * block + 5, **settings)
    assert np.array_equal(pieces.weights, whole.weights)
    first = problem.block_state(weights)
    first.advance_stream(0, 4 * block, **settings)
    restarted = problem.block_state(first.weights)  # from the weights alone, as after a checkpoint
    restarted.advance_stream(4 * block, 9 * block + 5, **settings)
    assert np.array_equal(restarted.weights, whole.weights)


@pytest.mark.parametrize("dimension", [5, 70, 200])
@pytest.mark.parametrize("schedule", [Schedule(), Schedule(0.7, -0.3), Schedule(2.0, 0.5)], ids=str)
def test_stream_and_arrays_make_the_same_run_on_the_same_samples(dimension, schedule):
    problem = IsotropicGaussians(dimension, 0.5, SLANTED)
    count = 4 * block_size(dimension) + 7
    weights, inputs, targets = draw(problem, 33, count)
    from_stream = problem.block_state(weights)
    from_stream.advance_stream(
        0, count, key=stream_key(0, "block", 0), scales=problem.scales,
        step_size=1e-3, coefficient=schedule.coefficient, exponent=schedule.exponent,
    )  # fmt: skip
    from_arrays = problem.block_state(weights)
    from_arrays.advance_arrays(inputs, targets, schedule.step_sizes(1e-3, 0, count))
    # Powers of two libraries may differ in the last bit; all else is the same arithmetic.
    assert relative_error(from_stream.weights, from_arrays.weights, weights) < 1e-13


def test_a_stream_started_late_uses_the_samples_and_step_sizes_of_its_place():
    problem = IsotropicGaussians(12, 0.5, SLANTED)
    schedule = Schedule(0.7, -0.3)
    weights = RadialLaw("gaussian", 0.8).sample(5, 12, 0, "late", 0)
    first, count = 48, 20
    state = problem.block_state(weights)
    state.advance_stream(
        first, first + count, key=stream_key(0, "late", 0), scales=problem.scales,
        step_size=1e-3, coefficient=0.7, exponent=-0.3,
    )  # fmt: skip
    z, sign = standard_samples(stream_key(0, "late", 0), first, count, 12)
    inputs = z * np.where(sign > 0, 1.5, 0.5)[:, None]
    steps = np.array([1e-3 * 0.7 * ((k + 1) * 1e-3) ** -0.3 for k in range(first, first + count)])
    np.testing.assert_allclose(schedule.step_sizes(1e-3, first, count), steps, rtol=1e-14)
    expected = sequential_sgd(weights, inputs, sign, steps, SLANTED, SLANTED.derivative)
    assert relative_error(state.weights, expected, weights) < 1e-13


def test_growing_the_number_of_iterations_adds_to_the_end_only():
    problem = IsotropicGaussians(5, 0.5, NONMONOTONE)
    weights, inputs, targets = draw(problem, 4, 60)
    steps = np.full(60, 0.01)
    state = problem.block_state(weights)
    state.advance_arrays(inputs[:23], targets[:23], steps[:23])
    state.advance_arrays(inputs[23:], targets[23:], steps[23:])
    expected = sequential_sgd(weights, inputs, targets, steps, NONMONOTONE, NONMONOTONE.derivative)
    # Arrays may be cut anywhere; then blocks fall differently and rounding with them.
    np.testing.assert_allclose(state.weights, expected, rtol=0, atol=1e-13)


# -- the state -----------------------------------------------------------------------------------------------


def test_the_starting_weights_are_not_modified_and_come_back_unchanged():
    for neurons, dimension in [(1, 1), (TILE, 8), (TILE + 1, 9), (70, 37)]:
        weights = np.random.default_rng(1).standard_normal((neurons, dimension))
        before = weights.copy()
        state = BlockState(weights, RELU.kernel_code())
        assert np.array_equal(state.weights, before)
        state.advance_stream(0, 16, key=stream_key(0, "keep", 0), scales=(1.0, 1.0), step_size=0.01)
        assert np.array_equal(weights, before)
        assert not np.array_equal(state.weights, before)


def test_weights_read_out_are_a_copy():
    state = BlockState(np.ones((2, 3)), RELU.kernel_code())
    state.weights[:] = 7
    assert (state.weights == 1).all()


def test_a_copy_looks_ahead_without_disturbing_the_original():
    problem = IsotropicGaussians(70, 0.5, NONMONOTONE)
    weights = RadialLaw("gaussian", 0.8).sample(33, 70, 0, "copy", 0)
    settings = {"key": stream_key(0, "copy", 0), "scales": problem.scales, "step_size": 1e-3}
    undisturbed = problem.block_state(weights)
    undisturbed.advance_stream(0, 128, **settings)
    state = problem.block_state(weights)
    state.advance_stream(0, 64, **settings)
    middle = state.weights
    ahead = state.copy()
    ahead.advance_stream(64, 75, **settings)
    assert np.array_equal(state.weights, middle)
    assert not np.array_equal(ahead.weights, middle)
    state.advance_stream(64, 128, **settings)
    assert np.array_equal(state.weights, undisturbed.weights)
    # No memory is shared, so that two threads may advance the two at once.
    one, two = (list(arrays_of(run.__dict__)) for run in (state, ahead))
    assert len(one) > 20
    assert not any(np.shares_memory(first, second) for first in one for second in two)


@pytest.mark.parametrize(("dimension", "first"), [(5, 1), (5, 8), (70, 16), (200, 32)])
def test_a_start_off_the_block_grid_is_refused(dimension, first):
    state = BlockState(np.zeros((2, dimension)), RELU.kernel_code())
    with pytest.raises(ValueError, match=f"multiples of {block_size(dimension)} iterations only, not at {first}"):
        state.advance_stream(first, 100, key=stream_key(0, "off", 0), scales=(1.0, 1.0), step_size=0.1)


@pytest.mark.parametrize("weights", [np.zeros((2, 3), int), np.zeros(3), np.zeros((2, 3), np.float16)])
def test_weights_that_are_not_a_float_matrix_are_refused(weights):
    with pytest.raises(ValueError, match="float32 or float64 matrix"):
        BlockState(weights, RELU.kernel_code())


@pytest.mark.parametrize("shapes", [((4, 3), 5, 5), ((5, 4), 5, 5), ((5, 3), 5, 4)])
def test_arrays_of_different_lengths_are_refused(shapes):
    inputs, targets, steps = (np.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match="shapes disagree"):
        BlockState(np.zeros((2, 3)), RELU.kernel_code()).advance_arrays(inputs, targets, steps)


# -- the schedule --------------------------------------------------------------------------------------------


def test_step_sizes_of_a_power_law_are_those_computed_by_hand():
    # epsilon = 1/4, xi(t) = 2 t^(-1/2): steps 1/4 * 2 * (4/(k+1))^(1/2) = 1/sqrt(k+1) for k = 3, 4.
    steps = Schedule(2.0, -0.5).step_sizes(0.25, 3, 2)
    np.testing.assert_allclose(steps, [0.5, 1 / math.sqrt(5)], rtol=1e-15)
    assert Schedule().step_sizes(0.25, 3, 2).tolist() == [0.25, 0.25]


def test_clock_of_a_power_law_is_its_integral():
    # int_0^4 2 s^(-1/2) ds = 4 sqrt(4) = 8.
    assert Schedule(2.0, -0.5).clock([0.0, 4.0]).tolist() == [0.0, 8.0]
    assert Schedule(3.0, 1.0).clock(2.0) == 6.0


def test_step_sizes_add_up_to_the_clock():
    schedule = Schedule(0.7, -0.3)
    total = schedule.step_sizes(1e-4, 0, 10_000).sum()
    # Riemann sum from the right of a decreasing function: short by less than the first term, 1e-4 xi(1e-4).
    gap = schedule.clock(1.0) - total
    assert 0 < gap < 1e-4 * 0.7 * 1e-4**-0.3 / 0.7


@pytest.mark.parametrize(("coefficient", "exponent"), [(0.0, 0.0), (-1.0, 0.0), (1.0, -1.0), (1.0, -2.0)])
def test_a_schedule_without_a_finite_growing_clock_is_refused(coefficient, exponent):
    with pytest.raises(ValueError, match=r"coefficient > 0 and exponent > -1"):
        Schedule(coefficient, exponent)
