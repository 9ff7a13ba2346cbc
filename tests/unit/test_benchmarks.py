"""The benchmarks: every peer makes the same steps, ratios and exponents are what they say, and the command runs.

Nothing here is timed against a limit.
"""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fresh_process, measure, others, peers, roofline, table
from benchmarks.measure import OURS, Contest, Row, Target, check, decide, fit_exponent, ratio, whole
from benchmarks.workloads import RELU, Network, definition, error, workloads
from meanfield.kernels.reference import TwoLayer, sequential_sgd, sequential_two_layer

ROOT = Path(__file__).resolve().parents[2]
SMALL = workloads(small=True)
INSTALLED = [method for method in peers.methods() if not method.name.startswith("PyTorch compiled")]
# The kernel draws inside itself, and minibatches take their samples from arrays.
DRAWING = [method for method in INSTALLED if method.name != OURS and method.batch == 1]


# -- the same update rule --------------------------------------------------------------------------------------------


def test_the_definition_makes_the_step_computed_by_hand():
    # One neuron, w = (1, 0), b = 1, a = 1, rectifier; x = (2, 1), y = 0: preactivation 3, prediction 3, residual -3;
    # with s = 0.1 all of it moves by 2 s residual = -0.6: w by -0.6 (2, 1), b by -0.6, a by -0.6 * 3.
    workload = dataclasses.replace(SMALL["B"], neurons=1, dimension=2, activation=RELU)
    start = Network(np.array([[1.0, 0.0]]), np.ones(1), np.ones(1))
    object.__setattr__(workload, "initial", lambda dtype=np.float64: start.astype(dtype))
    found = definition(workload, np.array([[2.0, 1.0]]), np.zeros(1), np.array([0.1]))
    np.testing.assert_allclose(found.weights, [[-0.2, -0.6]], rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.biases, [0.4], rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.outputs, [-0.8], rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", SMALL)
def test_the_definition_is_that_of_the_package(name):
    workload = SMALL[name]
    inputs, targets = workload.samples(50, seed=5)
    steps = np.full(50, workload.check_step)
    sigma = workload.activation
    w, b, a = workload.initial()
    start = TwoLayer(w, np.zeros(len(w)) if b is None else b, np.ones(len(w)) if a is None else a)
    expected = sequential_two_layer(
        start, inputs, targets, steps, sigma, sigma.derivative,
        train_biases=workload.biases, train_output=workload.trained_output,
    )  # fmt: skip
    found = definition(workload, inputs, targets, steps)
    # The same operations, sums taken in another order, fifty times.
    np.testing.assert_allclose(found.weights, expected.weights, rtol=0, atol=1e-14)
    if workload.biases:
        np.testing.assert_allclose(found.biases, expected.biases, rtol=0, atol=1e-14)
    if workload.trained_output:
        np.testing.assert_allclose(found.outputs, expected.output_weights, rtol=0, atol=1e-14)
    if name in ("A", "A2"):
        plain = sequential_sgd(w, inputs, targets, steps, sigma, sigma.derivative)
        np.testing.assert_allclose(found.weights, plain, rtol=0, atol=1e-15)


def test_a_batch_moves_by_the_mean_of_its_gradients():
    workload = SMALL["C800"]
    inputs, targets = workload.samples(4)
    steps = np.full(4, 0.01)
    start = workload.initial()
    together = definition(workload, inputs, targets, steps, batch=4)
    singly = [definition(workload, inputs[k : k + 1], targets[k : k + 1], steps[:1]) for k in range(4)]
    for field in ("weights", "outputs"):
        moved = np.mean([getattr(one, field) - getattr(start, field) for one in singly], axis=0)
        np.testing.assert_allclose(getattr(together, field) - getattr(start, field), moved, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("method", INSTALLED, ids=lambda method: method.name)
def test_every_peer_makes_the_steps_of_the_definition(method, dtype):
    ran = 0
    for workload in SMALL.values():
        if not method.applies(workload):
            continue
        try:
            runner = method(workload, dtype)
        except peers.UnavailableError:
            continue
        found = check(runner)
        assert found < measure.TOLERANCE[runner.dtype.itemsize]
        for parameter in runner.network():
            assert parameter is None or parameter.dtype == dtype  # no arithmetic in another type
        ran += 1
    assert ran


@pytest.mark.parametrize("method", DRAWING, ids=lambda method: method.name)
def test_every_peer_draws_samples_of_the_right_law(method):
    workload = SMALL["B"] if method.applies(SMALL["B"]) else SMALL["A"]
    runner = method(workload, np.float64)
    count = whole(4000, runner)
    inputs, targets = runner.draw(count)
    inputs, targets = (np.concatenate([np.asarray(part) for part in parts]) if isinstance(parts, list)
                       else np.asarray(parts) for parts in (inputs, targets))  # fmt: skip
    assert set(np.unique(targets)) == {-1.0, 1.0}
    assert abs(targets.mean()) < 5 / np.sqrt(count)
    for sign, scale in zip((1, -1), workload.scales, strict=True):
        chosen = inputs[targets == sign]
        # Standard deviations of about 2000 normals are known to 1.6 %; eight times that over all coordinates.
        np.testing.assert_allclose(chosen.std(axis=0), np.broadcast_to(scale, chosen.shape[1]), rtol=0.13)


def test_a_peer_with_another_update_rule_is_refused():
    class Wrong(INSTALLED[-1]):
        def run(self, inputs, targets, step_sizes):
            super().run(inputs, targets, 1.05 * step_sizes)

    workload = SMALL["A"] if Wrong.applies(SMALL["A"]) else SMALL["C800"]
    with pytest.raises(ArithmeticError, match=r"error .* against the definition"):
        check(Wrong(workload, np.float64))


def test_an_error_is_relative_to_the_way_gone():
    start = Network(np.zeros((1, 2)), None, np.array([1.0]))
    expected = Network(np.array([[3.0, 4.0]]), None, np.array([1.5]))
    found = Network(np.array([[3.0, 4.5]]), None, np.array([1.6]))
    assert error(found, expected, start) == pytest.approx(0.2)  # 0.1 of 0.5, more than 0.5 of 5


# -- timing ----------------------------------------------------------------------------------------------------------


def test_methods_are_timed_in_turns_and_samples_counted():
    order = []

    class Dummy(peers.Runner):
        name = "dummy"
        granularity = 16

        def advance(self, count):
            order.append((self.dtype.name, count))
            sum(range(20 * count))

        def run(self, inputs, targets, step_sizes):
            self.seen = definition(self.workload, inputs, targets, step_sizes)

        def network(self):
            return self.seen

    contest = Contest(SMALL["A"], [Dummy], budget=1e-3)
    order.clear()
    contest.round()
    contest.round()
    assert [name for name, _ in order] == ["float64", "float32"] * 2
    for row, (_, count) in zip(contest.rows, order, strict=False):
        assert row.samples == count
        assert count % 16 == 0
        assert len(row.seconds) == len(row.wall) == 2


def test_sample_numbers_are_multiples_of_what_a_peer_can_run():
    runner = peers.methods()[1](SMALL["A"], np.float64)
    runner.granularity = 100
    assert [whole(count, runner) for count in (1, 99, 250, 1000)] == [100, 100, 200, 1000]
    runner.workload = SMALL["C800"]  # a pool of whole hundreds below 256
    assert [whole(count, runner) for count in (1, 250, 1050)] == [100, 200, 1000]
    assert runner.pool == 200


def row(method, dtype, seconds, workload="A"):
    return Row(workload, method, dtype, seconds=seconds)


def test_ratios_are_taken_round_by_round():
    slow = row("peer", "float64", [10.0, 40.0, 12.0])
    fast = row(OURS, "float32", [1.0, 2.0, 2.0])
    # 10, 20, 6 round by round; the ratio of medians would be 12 / 2 = 6.
    assert ratio(slow, fast) == (6.0, 10.0, 20.0)


@pytest.mark.parametrize(("limit", "met"), [(9.9, True), (10.0, True), (10.1, False)])
def test_a_ratio_target_counts_the_fastest_peer_and_its_own_types(limit, met):
    rows = [
        row(OURS, "float32", [1.0, 1.0]), row(OURS, "float64", [2.0, 2.0]),
        row("peer", "float64", [30.0, 30.0]), row("other", "float64", [10.0, 10.0]),
        row("other", "float32", [1.0, 1.0]), row("other", "float64", [1.0, 1.0], workload="B"),
    ]  # fmt: skip
    target = Target("A", "", limit, "float32", ("peer", "other", "absent"), "float64")
    assert decide(target, rows, {}, {})[1:] == (10.0, met)


def test_a_roofline_target_is_a_share_of_the_floor():
    rows = [row(OURS, "float32", [2.0, 4.0, 1.0])]
    floors = {"A/float32": row("floor", "float32", [1.0, 1.0, 1.0])}
    verdict = decide(Target("A", "", 0.4), rows, floors, {})
    assert verdict.found == 0.5
    assert verdict.met is True
    assert decide(Target("A", "", 0.6), rows, floors, {}).met is False


def test_quantities_are_upper_limits_unless_said_otherwise():
    assert decide(Target("", "", 400, quantity="mb"), [], {}, {"mb": 400.0}).met is True
    assert decide(Target("", "", 400, quantity="mb"), [], {}, {"mb": 401.0}).met is False
    assert decide(Target("", "", 60, quantity="x", least=True), [], {}, {"x": 61.0}).met is True
    assert decide(Target("", "", 60, quantity="x", least=True), [], {}, {"x": 59.0}).met is False


def test_what_was_not_measured_is_not_decided():
    for target in measure.targets():
        assert decide(target, [], {}, {})[1:] == (None, None)


def test_every_target_names_a_method_and_a_workload_that_exist():
    named = set()
    for module in ("torch_autograd", "torch_by_hand", "torch_compiled", "torch_minibatch", "jax_scan"):
        named.add((ROOT / "benchmarks/peers" / f"{module}.py").read_text(encoding="utf-8"))
    text = "".join(named).replace("{_BATCH}", "100").replace("{_UNROLLED}", "32")
    known = {method.name for method in peers.methods()}
    for target in measure.targets():
        assert target.workload in ("", *SMALL)
        for peer in target.peers:
            assert peer in known or f'"{peer}"' in text, peer
    assert OURS in known


def test_the_table_prints_medians_ratios_and_shares():
    workload = SMALL["A"]  # 2 * 48 * 16 = 1536 flop
    rows = [row("peer", "float64", [20e-6, 30e-6, 40e-6]), row(OURS, "float64", [2e-6, 2e-6, 2e-6])]
    floors = {t: row("floor", t, [1e-6] * 3) for t in ("float64", "float32")}
    lines = table.workload_table(workload, rows, floors, {"float64": 3e-6, "float32": 1e-6}).splitlines()
    peer, ours = (next(line for line in lines if line.startswith(name)) for name in ("peer", OURS))
    assert peer.split()[2:] == ["30.000", "20.000", "40.000", "15.00", "10.00", "20.00", "0.05", "3.3%"]
    assert ours.split()[-3:] == ["1.00", "0.77", "50.0%"]


def test_the_table_of_targets_says_met_not_met_and_not_measured():
    rows = [row(OURS, "float32", [1.0]), row("peer", "float64", [10.0])]
    made = [Target("A", "claim", limit, "float32", ("peer",), "float64") for limit in (9, 11)]
    made.append(Target("B", "claim", 1))
    lines = table.targets_table([decide(target, rows, {}, {}) for target in made]).splitlines()[3:]
    assert [" ".join(line.split()[1:]) for line in lines[:3]] == [
        "f64/f32 10 met", "f64/f32 10 NOT MET", "f32 – not measured",
    ]  # fmt: skip


# -- growth ----------------------------------------------------------------------------------------------------------


def test_exponents_of_exact_power_laws_come_back():
    x = np.array([1, 2, 4, 8])
    fit = fit_exponent(x, 3e-6 * x**1.5)
    assert fit.exponent == pytest.approx(1.5, abs=1e-12)
    assert fit.factor == pytest.approx(3e-6, rel=1e-12)
    assert fit.standard_error < 1e-12


def test_the_standard_error_of_an_exponent_is_that_of_linear_regression():
    # log2 times 0, 1, 1, 2 at log2 sizes 0, 1, 2, 3: slope 0.6, residuals -.1, .3, -.3, .1 (times log 2), so that
    # the standard error is sqrt(0.2 / 2 / 5).
    fit = fit_exponent([1, 2, 4, 8], [1, 2, 2, 4])
    assert fit.exponent == pytest.approx(0.6, abs=1e-12)
    assert fit.standard_error == pytest.approx(np.sqrt(0.02), abs=1e-12)


# -- the machine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-13)])
def test_the_measuring_loops_compute_what_they_claim(dtype, tolerance):
    # All of the work is done: the sums are those of plain numpy.
    array = np.random.default_rng(0).standard_normal(4096).astype(dtype)
    assert roofline.array_sum(array, 3) == pytest.approx(3 * array.astype(float).sum(), abs=3e3 * tolerance)
    lanes = roofline.VECTOR_BYTES // np.dtype(dtype).itemsize
    chains = np.arange(float(roofline.ACCUMULATORS))
    for _ in range(5):
        chains = chains * 0.5 + 0.25
    assert roofline.chain(5, dtype(0.5), dtype(0.25)) == pytest.approx(lanes * chains.sum(), rel=tolerance)


def test_floors_follow_from_flop_and_bytes():
    sizes = roofline.cache_sizes()
    assert roofline.level_of(1) == "L1"
    assert roofline.level_of(100 * sizes["L3"]) == "memory"
    bandwidth = dict.fromkeys(("L1", "L2", "L3", "memory"), 50e9)
    found = roofline.floors(64_000, 128_000, 100e9, bandwidth)
    assert found == {"arithmetic": 0.64e-6, "one pass over the weights": 2.56e-6}


# -- the other rows and the command ----------------------------------------------------------------------------------


def test_numpy_descends_the_landscape_it_says():
    # One step from the origin: the gradient by differences of the potential; Müller & Brown's value at the origin.
    def value(x, y):
        u, v = x - others._X0, y - others._Y0
        return float((others._A * np.exp(others._XX * u * u + others._XY * u * v + others._YY * v * v)).sum())

    assert value(0.0, 0.0) == pytest.approx(-48.401274, abs=1e-6)
    h = 1e-6
    gradient = np.array([value(h, 0) - value(-h, 0), value(0, h) - value(0, -h)]) / (2 * h)
    moved = others.numpy_descent(np.zeros((1, 2)), 1)[0]
    # Central differences of a function of size 100 at h = 1e-6 are good to 1e-7 of a gradient of size 100.
    np.testing.assert_allclose(moved, -1e-5 * gradient, rtol=1e-7)


def test_peak_memory_is_that_of_this_process():
    before = fresh_process.peak_memory()
    block = np.ones(int(64e6) // 8)
    assert fresh_process.peak_memory() >= before
    assert fresh_process.peak_memory() >= block.nbytes
    del block
    assert fresh_process.peak_memory() >= 64e6


HIDDEN = """
import importlib.abc, sys
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "jax"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide())
from benchmarks.run import main
main(sys.argv[1:])
"""


def test_the_command_runs_end_to_end_without_optional_libraries(tmp_path):
    parts = ["A", "B", "C800", "inner", "startup", "risks", "jobs", "growth"]
    arguments = ["--quick", "--rounds", "2", "--output", tmp_path, "--only", *parts]
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "missing: PyTorch is not installed" in done.stdout
    report = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    assert set(report["workloads"]) == {"A", "B", "C800"}
    assert all(len(entry["seconds"]) == 2 for entry in report["rows"])
    assert {entry["method"] for entry in report["rows"]} >= {OURS, "numpy, plain", "numpy, exact blocks"}
    assert len(report["inner_loops"]) == 8  # four methods, two types
    assert all(len(times) == 2 and min(times) > 0 for one in report["inner_loops"].values() for times in one.values())
    assert set(report["risks"]) == {"isotropic", "anisotropic"}
    assert all(len(times) == 2 and min(times) > 0 for one in report["risks"].values() for times in one.values())
    assert report["jobs"]["jobs"] == 1  # started as usual both times; a run of many is timed by `make bench`
    assert min(*report["jobs"]["as usual"], *report["jobs"]["as forks"]) > 0
    assert set(report["growth"]) == {"neurons", "dimension", "iterations", "replicates", "threads"}
    text = json.dumps(report)
    assert str(Path.home()) not in text
    for name in ("benchmarks.png", "growth.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
