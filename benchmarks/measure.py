"""Timing in turns, A B A B …, and what is made of the times: medians, ratios round by round, targets, exponents.

Methods that run on one core are timed by the processor time of the whole process, all threads together: the wall time
of an idle machine, without what other programs take on a busy one, and with all cores charged to whoever uses several.
Wall times are kept beside it.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Runner, UnavailableError
from benchmarks.workloads import definition, error

# Error of a float32 network relative to how far it moved: rounding, and the odd neuron that rounding puts on the other
# side of a knot, one such increment among thousands; a wrong update rule gives an error of order one.
TOLERANCE = {4: 1e-2, 8: 1e-9}
OURS = "block kernel (this project)"


@dataclass
class Row:
    """One method on one workload: a time per sample and round."""

    workload: str
    method: str
    dtype: str
    seconds: list[float] = field(default_factory=list)  # processor time per sample, one entry per round [s]
    wall: list[float] = field(default_factory=list)  # wall time per sample, likewise [s]
    samples: int = 0  # per round
    error: float = float("nan")  # against the definition, relative to how far the parameters moved

    @property
    def median(self) -> float:
        """Median over the rounds [s]."""
        return float(np.median(self.seconds))

    @property
    def cores(self) -> float:
        """Processor time over wall time: below one if other programs took part, above if several cores were used."""
        return float(np.median(np.array(self.seconds) / np.array(self.wall))) if self.wall else float("nan")

    def record(self) -> dict:
        """Return the row as it goes to the file."""
        return {**asdict(self), "median": self.median}


class Spread(NamedTuple):
    """Least, median and most of the ratios of the rounds."""

    least: float
    median: float
    most: float


def ratio(slow: Row, fast: Row) -> Spread:
    """Return how many times longer `slow` takes than `fast`, round by round.

    The speed of a shared machine drifts; two methods timed within one round share most of the drift, so that the
    median of the rounds' ratios is steadier than the ratio of medians.
    """
    ratios = np.array(slow.seconds) / np.array(fast.seconds)
    return Spread(float(ratios.min()), float(np.median(ratios)), float(ratios.max()))


def check(runner: Runner) -> float:
    """Compare a fresh runner with the definition on the same samples; return the error.

    Raises
    ------
    ArithmeticError
        If it does not carry out the same update rule.

    """
    w = runner.workload
    count = max(8, runner.granularity)
    inputs, targets = w.samples(count, seed=3)
    steps = np.full(count, w.check_step)
    expected = definition(w, inputs, targets, steps, runner.batch)
    runner.run(*runner.load(inputs, targets), steps)
    found = error(runner.network(), expected, w.initial())
    if not found < TOLERANCE[runner.dtype.itemsize]:
        raise ArithmeticError(f"{runner.name} on {w.name} in {runner.dtype}: error {found:.1e} against the definition")
    return found


def seconds(runner: Runner, count: int) -> tuple[float, float]:
    """Return wall and processor time of `count` samples [s]."""
    start, start_cpu = time.perf_counter(), time.process_time()
    runner.advance(count)
    return time.perf_counter() - start, time.process_time() - start_cpu


def whole(count: float, runner: Runner) -> int:
    """Return a number of samples near `count` that the runner can run."""
    g = runner.granularity
    if runner.workload.scales is None and count > runner.pool:
        g = runner.pool
    return max(1, int(count / g)) * g


def calibrate(runner: Runner, budget: float) -> int:
    """Return how many samples take about `budget` seconds."""
    count = whole(1, runner)
    runner.advance(count)  # compiled, or in the caches
    while True:
        _, used = seconds(runner, count)
        if used > budget / 8:
            return whole(count * budget / used, runner)
        count = whole(count * 4, runner)


class Contest:
    """All methods on one workload, timed in turns.

    Parameters
    ----------
    workload : Workload
        What they run.
    methods : iterable of Runner classes
        Who runs.
    budget : float
        Time of one method in one round [s].
    slow : bool
        Whether methods that take seconds to compile take part.
    say : callable
        Told what is going on.

    """

    def __init__(self, workload, methods: Iterable[type[Runner]], budget: float, *, slow: bool = True, say=print):
        self.workload = workload
        self.skipped: dict[str, str] = {}
        self._entrants = []
        for method in methods:
            if not method.applies(workload) or (method.compiles and not slow):
                continue
            for dtype in (np.float64, np.float32):
                start = time.perf_counter()
                try:
                    runner = method(workload, dtype)
                except UnavailableError as reason:
                    self.skipped[method.name] = str(reason)
                    continue
                row = Row(workload.name, method.name, np.dtype(dtype).name, error=check(runner))
                row.samples = calibrate(runner, budget)
                self._entrants.append((runner, row))
                ready = time.perf_counter() - start
                if ready > 5:
                    say(f"  {method.name} in {row.dtype}: ready after {ready:.0f} s")

    def round(self) -> None:
        """Time everyone once."""
        for runner, row in self._entrants:
            wall, processor = seconds(runner, row.samples)
            row.wall.append(wall / row.samples)
            row.seconds.append(processor / row.samples)

    @property
    def rows(self) -> list[Row]:
        """The rows so far."""
        return [row for _, row in self._entrants]


# -- targets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A claim to be decided by the times.

    Parameters
    ----------
    workload : str
        On which workload; "" for a quantity measured elsewhere.
    text : str
        What is claimed, to be printed.
    limit : float
        The number to reach: a ratio or share at least, a quantity at most.
    own : str
        Type of our arithmetic.
    peers : tuple of str
        The fastest of these counts; empty for a share of the roofline or a quantity.
    dtype : str
        Type of the peers' arithmetic.
    quantity : str
        Name of a quantity measured elsewhere, to be at most `limit`.

    """

    workload: str
    text: str
    limit: float
    own: str = "float32"
    peers: tuple[str, ...] = ()
    dtype: str = ""
    quantity: str = ""
    least: bool = False  # a quantity that has to be at least the limit


class Verdict(NamedTuple):
    """A target, what was found, and whether it is met; nothing found, nothing decided."""

    target: Target
    found: float | None
    met: bool | None


def decide(target: Target, rows: Iterable[Row], floors: dict[str, Row], quantities: dict[str, float]) -> Verdict:
    """Compare one target with what was measured.

    Parameters
    ----------
    target : Target
        The claim.
    rows : iterable of Row
        All rows.
    floors : dict
        The roofline as a row, by workload and type as in "A/float32".
    quantities : dict
        What was measured besides, by name.

    """
    if target.quantity:
        found = quantities.get(target.quantity)
        if found is None:
            return Verdict(target, None, None)
        return Verdict(target, found, found >= target.limit if target.least else found <= target.limit)
    table = {(row.workload, row.method, row.dtype): row for row in rows}
    ours = table.get((target.workload, OURS, target.own))
    if target.peers:
        others = [table[key] for peer in target.peers if (key := (target.workload, peer, target.dtype)) in table]
        found = min((ratio(other, ours).median for other in others), default=None) if ours else None
    else:
        floor = floors.get(f"{target.workload}/{target.own}")
        found = ratio(floor, ours).median if ours and floor else None
    return Verdict(target, found, None if found is None else found >= target.limit)


_NUMPY = ("numpy, plain", "numpy, the definition")
_COMPILED = ("PyTorch compiled, a step a call", "PyTorch compiled, 32 steps a call")
_BATCHES = "PyTorch autograd, batches of 100", "PyTorch by hand, batches of 100"


def targets() -> list[Target]:
    """Return what the project claims; where a claim does not say which type, it is decided in both."""
    both = ("float64", "float32")
    made = [Target("A", "A: at least 45 x plain numpy in float64", 45, "float32", _NUMPY, "float64")]
    made += [Target("A", "A: at least 8 x JAX scan", 8, t, ("JAX, compiled scan",), t) for t in both]
    made += [Target("A", "A: at least 10 x PyTorch compiled", 10, t, _COMPILED, t) for t in both]
    made += [Target("A", "A: at least 40 % of the roofline of the prediction", 0.40)]
    made += [Target("B", "B: at least 10 x plain numpy", 10, t, _NUMPY, t) for t in both]
    made += [Target("B", "B: at least 8 x PyTorch by hand", 8, t, ("PyTorch by hand, eager",), t) for t in both]
    made += [Target("B", "B: at least 60 % of the roofline", 0.60, t) for t in both]
    made += [Target("C10000", "C, N = 10000: at least 20 x plain numpy", 20, t, _NUMPY, t) for t in both]
    made += [
        Target("C10000", f"C, N = 10000: a sample cheaper than {peer}", 1, t, (peer,), t)
        for peer in _BATCHES for t in both
    ]  # fmt: skip
    made += [Target("C10000", "C, N = 10000: at least 55 % of the roofline", 0.55, t) for t in both]
    made += [
        Target("", "distributional dynamics to t = 10, error 1e-4: at most 50 ms", 50, quantity="dynamics_ms"),
        Target("", "Müller–Brown, 1000 x 10^5 steps on 2 cores: at least 60 x numpy", 60,
               quantity="landscape_ratio", least=True),
        Target("", "peak memory of 10^7 iterations: at most 400 MB", 400, quantity="memory_mb"),
        Target("", "memory of 10^7 over that of 10^5 iterations: at most 1.1", 1.1, quantity="memory_growth"),
        Target("", "warm process, imports to first step: at most 1 s", 1, quantity="startup_s"),
    ]  # fmt: skip
    return made


# -- growth ----------------------------------------------------------------------------------------------------------


class Exponent(NamedTuple):
    """A power law fitted to times."""

    exponent: float
    standard_error: float
    factor: float


def fit_exponent(x: NDArray, times: NDArray) -> Exponent:
    """Fit time = factor * x^exponent by least squares of the logarithms; the standard error is of the fit alone."""
    u, v = np.log(np.asarray(x, float)), np.log(np.asarray(times, float))
    spread = ((u - u.mean()) ** 2).sum()
    exponent = float(((u - u.mean()) * v).sum() / spread)
    level = float(v.mean() - exponent * u.mean())
    residual = v - level - exponent * u
    freedom = len(u) - 2
    error = float(np.sqrt((residual**2).sum() / freedom / spread)) if freedom > 0 else float("nan")
    return Exponent(exponent, error, float(np.exp(level)))


def best_of(action: Callable[[], None], repeats: int) -> float:
    """Return the least wall time of some repeats [s]."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
    return best
