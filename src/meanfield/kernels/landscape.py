r"""Thousands of trajectories on a potential of the plane at once: descent, smoothing, sampling.

The potential is a table of terms :math:`A \exp(a\,\delta_x^2 + b\,\delta_x\delta_y + c\,\delta_y^2)`, one row
:math:`(A, a, b, c, x_0, y_0)` each (`meanfield.problems.plane`). Trajectories run in compiled lanes, blocks of them on
threads. A trajectory's noise is a function of (key, its number, the iteration), hence no result depends on the number
of threads, on chunks or on the trajectories that run alongside, in any bit.

The definition of every method, in plain numpy, is `meanfield.kernels.landscape_reference`. Arrays in, arrays out.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.kernels.exponentials import LN_2, LOG2_E
from meanfield.kernels.landscape_lanes import (
    CONSTANT,
    CONVERGED,
    COUPLED_NOISE,
    DESCENT,
    FUNCTION,
    GRADIENT,
    HEAVY_BALL,
    HOPF_LAX,
    INNER_LANGEVIN,
    INNER_NOISE,
    LANES,
    LEFT_DOMAIN,
    LOCAL_ENTROPY,
    NESTEROV,
    NO_RESTART,
    PLAIN,
    RATIONAL,
    RUNNING,
    STEP_NOISE,
    THETA,
    affine_group,
    descend_block,
    fill_normals,
    homogenised_group,
)
from meanfield.kernels.lanes import aligned_zeros

__all__ = [
    "CONVERGED",
    "COUPLED_NOISE",
    "INNER_NOISE",
    "LANES",
    "LEFT_DOMAIN",
    "RUNNING",
    "STEP_NOISE",
    "EnsembleStage",
    "HomogenisedStage",
    "HopfLax",
    "InnerLangevin",
    "LocalEntropy",
    "Rule",
    "Stage",
    "Trajectories",
    "affine_invariant_langevin",
    "descend",
    "gradient_descent",
    "homogenised",
    "langevin_noise",
    "normals",
    "window_grid",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LocalEntropy:
    r"""Viscous Hamilton–Jacobi smoothing by quadrature on a grid.

    The smoothed potential is :math:`-\beta^{-1} \log E\, e^{-\beta V(x + \sqrt{t/\beta}\, G)}`; its gradient is
    :math:`(x - \langle y\rangle)/t` under the weights :math:`e^{-\beta V(y) - \beta |x - y|^2/(2t)}` (Chaudhari,
    Oberman, Osher, Soatto & Carlier 2018, Deep relaxation, Lemma 1, with the sign put right).

    Parameters
    ----------
    time : float
        t [1].
    inverse_temperature : float
        beta [1].

    """

    time: float
    inverse_temperature: float


@dataclass(frozen=True)
class InnerLangevin:
    r"""The same gradient by Langevin averaging: :math:`(x - \langle y\rangle)/t`, y simulated from y = x.

    .. math:: y \leftarrow y - \delta[\nabla V(y) + (y - x)/t] + \sqrt{2\delta/\beta}\,\xi .

    The factor 2 makes the Gibbs law above stationary; the paper prints the noise without it. With infinite beta and
    the last iterate in place of the mean this is the paper's inviscid variant.

    Parameters
    ----------
    time, inverse_temperature : float
        t and beta [1]; beta may be infinite.
    step_size : float
        delta [1].
    steps, burn_in : int
        Inner iterations, and how many of them the mean leaves out.
    forgetting : float or None
        None: arithmetic mean. A number in [0, 1): exponential mean
        :math:`\langle y\rangle \leftarrow \alpha \langle y\rangle + (1 - \alpha) y` from x, as in Entropy-SGD;
        0 is the last iterate.

    """

    time: float
    inverse_temperature: float
    step_size: float
    steps: int = 20
    burn_in: int = 0
    forgetting: float | None = None

    def averaging(self) -> Floats:
        """Return the weight of each inner iterate in the running mean, shape (steps,)."""
        weights = np.zeros(self.steps)
        kept = np.arange(1, self.steps - self.burn_in + 1)
        weights[self.burn_in :] = 1 / kept if self.forgetting is None else 1 - self.forgetting
        return weights


@dataclass(frozen=True)
class HopfLax:
    r"""Inviscid Hamilton–Jacobi smoothing: :math:`\inf_y V(y) + |x - y|^2/(2t)`, gradient :math:`(x - y_*)/t`.

    The minimiser is sought on the whole grid, then refined by damped Newton steps of which only those that descend
    are kept.

    Parameters
    ----------
    time : float
        t [1].
    iterations : int
        Newton steps, kept or not.

    """

    time: float
    iterations: int = 12


@dataclass(frozen=True)
class Stage:
    r"""So many iterations on one potential: a schedule is a list of stages.

    Parameters
    ----------
    terms : array, shape (term, 6)
        The potential [1]; all stages have as many terms.
    steps : int
        Iterations.
    step_size : float
        epsilon [1].
    noise : float
        Standard deviation of the Gaussian noise added to each component of the gradient [1]. `langevin_noise` gives
        the one that makes gradient descent overdamped Langevin dynamics.
    smoothing : LocalEntropy, InnerLangevin, HopfLax or None
        What replaces the potential by a smoother one. Heat smoothing is closed form: give the smoothed terms.

    """

    terms: Floats
    steps: int
    step_size: float
    noise: float = 0.0
    smoothing: LocalEntropy | InnerLangevin | HopfLax | None = None


@dataclass(frozen=True)
class Rule:
    r"""How gradients are used.

    * ``"descent"``: :math:`w \leftarrow w - \epsilon g(w)`.
    * ``"heavy ball"``: :math:`w_{k+1} = w_k - \epsilon g(w_k) + \mu (w_k - w_{k-1})` (Polyak 1964).
    * ``"nesterov"``: :math:`w_{k+1} = u_k - \epsilon g(u_k)`, :math:`u_{k+1} = w_{k+1} + \mu_k (w_{k+1} - w_k) +
      \eta_2 g(u_k)`; with :math:`\eta_2 > 0` this is MaSS (Liu & Belkin 2020, eq. 5).

    Parameters
    ----------
    method : str
        One of the above.
    momentum : float or str
        mu, or ``"k/(k+3)"`` with k the iterations since the last restart, or ``"theta"``, the sequence of
        O'Donoghue & Candès (2015), Algorithm 1.
    second_step : float
        eta_2 [1], only with ``"nesterov"``.
    restart : str or None
        ``"function"``: when the value at w rises; ``"gradient"``: when :math:`g(u_k)\cdot(w_{k+1} - w_k) > 0`
        (O'Donoghue & Candès 2015, Section 3.2). A restart sets u = w and k = 0.
    step_back : bool
        On a restart also undo the step, as their code does.
    inverse_condition : float
        q of the sequence ``"theta"`` [1]; 0 is the standard one.

    """

    method: str = "descent"
    momentum: float | str = 0.0
    second_step: float = 0.0
    restart: str | None = None
    step_back: bool = False
    inverse_condition: float = 0.0

    def code(self) -> tuple:
        """Return the rule as the kernel takes it."""
        methods = {"descent": DESCENT, "heavy ball": HEAVY_BALL, "nesterov": NESTEROV}
        restarts = {None: NO_RESTART, "function": FUNCTION, "gradient": GRADIENT}
        if self.method not in methods or self.restart not in restarts:
            msg = f"method must be one of {list(methods)} and restart one of {list(restarts)}, not {self}"
            raise ValueError(msg)
        named = {"k/(k+3)": RATIONAL, "theta": THETA}
        if isinstance(self.momentum, str):
            if self.momentum not in named:
                msg = f"momentum must be a number or one of {list(named)}, not {self.momentum!r}"
                raise ValueError(msg)
            growth, value = (
                named[self.momentum],
                float(self.inverse_condition),
            )  # the kernel keeps q in momentum's place
        else:
            growth, value = CONSTANT, float(self.momentum)
        if (self.restart or self.second_step or growth != CONSTANT) and self.method != "nesterov":
            msg = f"restarts, second steps and growing momentum belong to the method 'nesterov', not {self.method!r}"
            raise ValueError(msg)
        if self.inverse_condition and growth != THETA:
            msg = "an inverse condition number belongs to the sequence 'theta'"
            raise ValueError(msg)
        if value and self.method == "descent":
            msg = "gradient descent has no momentum: choose 'heavy ball' or 'nesterov'"
            raise ValueError(msg)
        codes = (methods[self.method], growth, restarts[self.restart], self.step_back)
        return codes, value, float(self.second_step)


@dataclass(frozen=True)
class Trajectories:
    """What became of the trajectories.

    Parameters
    ----------
    ends : array, shape (trajectory, 2)
        Last points [1]; of a trajectory that left the domain, the last point inside.
    steps : array of int, shape (trajectory,)
        Iterations made, that which left the domain included.
    evaluations : array of int, shape (trajectory,)
        Evaluations of the potential, its gradient or its Hessian; one for each smoothed gradient by quadrature.
    outcome : array of int, shape (trajectory,)
        `RUNNING` (the budget is spent), `CONVERGED` or `LEFT_DOMAIN`.
    records : array, shape (record, trajectory, 2)
        Points after 0, R, 2R, … iterations [1]; empty if none were asked for.

    """

    ends: Floats
    steps: NDArray[np.int64]
    evaluations: NDArray[np.int64]
    outcome: NDArray[np.int64]
    records: Floats = field(default_factory=lambda: np.empty((0, 0, 2)))


def langevin_noise(step_size: float, inverse_temperature: float) -> float:
    r"""Return the gradient noise :math:`\sqrt{2/(\beta\epsilon)}` of overdamped Langevin dynamics [1].

    Gradient descent with it is :math:`w \leftarrow w - \epsilon \nabla V(w) + \sqrt{2\epsilon/\beta}\,\xi`.
    """
    return math.sqrt(2 / (inverse_temperature * step_size))


def window_grid(
    window: tuple[float, float, float, float], spacing: float, margin: float = 0.0
) -> tuple[Floats, Floats]:
    """Return the nodes of a square grid over (least x, greatest x, least y, greatest y), widened by `margin` [1]."""
    low_x, high_x, low_y, high_y = window
    xs = np.arange(low_x - margin, high_x + margin + spacing / 2, spacing)
    ys = np.arange(low_y - margin, high_y + margin + spacing / 2, spacing)
    return xs, ys


def _table(terms: ArrayLike) -> Floats:
    # Terms as the lanes take them, an even number of rows.
    terms = np.asarray(terms, np.float64)
    amplitude, a, b, c, x0, y0 = terms.T
    rows = [x0, y0, a * LOG2_E, b / 2 * LOG2_E, c * LOG2_E, 2 * LN_2 * amplitude, amplitude]
    table = np.zeros((len(terms) + len(terms) % 2, 7))
    table[: len(terms)] = np.stack(rows, axis=1)
    return table


def _tables(stages_terms: Sequence[ArrayLike]) -> Floats:
    tables = [_table(terms) for terms in stages_terms]
    if len({table.shape for table in tables}) != 1:
        msg = "all stages must have the same number of terms"
        raise ValueError(msg)
    return np.stack(tables)


def _padded_nodes(nodes: ArrayLike) -> Floats:
    nodes = np.asarray(nodes, np.float64)
    return np.concatenate([nodes, np.repeat(nodes[-1:], -nodes.size % 4)])


def _heights(terms: ArrayLike, xs: Floats, ys: Floats, shape: tuple[int, int]) -> Floats:
    # V at the nodes, infinite at the padding.
    heights = np.full(shape, np.inf)
    x, y = xs[:, None], ys[None, :]
    total = np.zeros((xs.size, ys.size))
    for amplitude, a, b, c, x0, y0 in np.asarray(terms, np.float64):
        dx, dy = x - x0, y - y0
        total += amplitude * np.exp(a * dx * dx + b * dx * dy + c * dy * dy)
    heights[: xs.size, : ys.size] = total
    return heights


def _stage_arrays(stages: Sequence[Stage], grid: tuple[ArrayLike, ArrayLike] | None) -> tuple:
    sources = {type(None): PLAIN, LocalEntropy: LOCAL_ENTROPY, InnerLangevin: INNER_LANGEVIN, HopfLax: HOPF_LAX}
    count = len(stages)
    source = np.array([sources[type(stage.smoothing)] for stage in stages])
    gridded = np.isin(source, (LOCAL_ENTROPY, HOPF_LAX))
    if gridded.any() and grid is None:
        msg = "LocalEntropy and HopfLax need a grid"
        raise ValueError(msg)
    raw = tuple(np.asarray(nodes, np.float64) for nodes in grid) if gridded.any() else (np.zeros(4), np.zeros(4))
    xs, ys = (_padded_nodes(nodes) for nodes in raw)
    heights = np.zeros((count, xs.size, ys.size))
    weights = np.zeros((count, xs.size, ys.size))
    settings = np.zeros((count, 3))
    costs = np.ones(count)
    averaging = np.zeros(1)
    inner = None
    for s, stage in enumerate(stages):
        smoothing = stage.smoothing
        if gridded[s]:
            heights[s] = _heights(stage.terms, *raw, heights[s].shape)
        if isinstance(smoothing, LocalEntropy):
            heights[s] -= heights[s].min()
            weights[s] = np.exp(-smoothing.inverse_temperature * heights[s])
            settings[s] = smoothing.time, smoothing.inverse_temperature, 0
        elif isinstance(smoothing, HopfLax):
            settings[s] = smoothing.time, smoothing.iterations, 0
            costs[s] = smoothing.iterations + 1
        elif isinstance(smoothing, InnerLangevin):
            if inner is not None and not np.array_equal(inner, smoothing.averaging()):
                msg = "all stages with inner Langevin averaging must average alike"
                raise ValueError(msg)
            inner = averaging = smoothing.averaging()
            amplitude = math.sqrt(2 * smoothing.step_size / smoothing.inverse_temperature)
            settings[s] = smoothing.time, amplitude, smoothing.step_size
            costs[s] = smoothing.steps
    return (
        source.astype(np.int64),
        np.array([stage.steps for stage in stages], np.int64),
        np.array([stage.step_size for stage in stages], np.float64),
        np.array([stage.noise for stage in stages], np.float64),
        settings, _tables([stage.terms for stage in stages]), xs, ys, heights, weights, averaging, costs,
    )  # fmt: skip


def _stream(key: NDArray | None, numbers: ArrayLike | None, count: int, noisy: bool) -> tuple[NDArray, NDArray]:
    if noisy and key is None:
        msg = "noise needs the key of a stream"
        raise ValueError(msg)
    key = np.zeros(2, np.uint32) if key is None else np.asarray(key, np.uint32)
    numbers = np.arange(count, dtype=np.uint32) if numbers is None else np.asarray(numbers, np.uint32)
    if numbers.shape != (count,):
        msg = f"{count} trajectories cannot have {numbers.shape} numbers"
        raise ValueError(msg)
    return key, numbers


def _points(starts: ArrayLike) -> Floats:
    starts = np.asarray(starts, np.float64)
    if starts.ndim < 2 or starts.shape[-1] != 2 or not starts.size or not np.isfinite(starts).all():
        msg = f"starts must be finite points, the last axis of length 2, not of shape {starts.shape}"
        raise ValueError(msg)
    return starts


def _in_lanes(values: NDArray) -> NDArray:
    # (trajectory, …) to (block, …, lane); lanes beyond the last trajectory repeat it.
    padded = np.concatenate([values, np.repeat(values[-1:], -len(values) % LANES, axis=0)])
    return np.ascontiguousarray(np.moveaxis(padded.reshape(-1, LANES, *values.shape[1:]), 1, -1))


def _parallel(task: Callable[[int, int], None], count: int, threads: int) -> None:
    # Contiguous shares of `count` pieces of work, one per thread.
    threads = max(1, min(threads, count))
    bounds = [count * n // threads for n in range(threads + 1)]
    if threads == 1:
        task(0, count)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(task, bounds[:-1], bounds[1:]))


def descend(
    stages: Sequence[Stage],
    starts: ArrayLike,
    *,
    rule: Rule | None = None,
    gradient_tolerance: float = 0.0,
    step_tolerance: float = 0.0,
    domain: tuple[float, float, float, float] | None = None,
    clip: float = 0.0,
    grid: tuple[ArrayLike, ArrayLike] | None = None,
    key: NDArray[np.uint32] | None = None,
    numbers: ArrayLike | None = None,
    record_every: int = 0,
    threads: int = 1,
) -> Trajectories:
    r"""Run many trajectories through a schedule of potentials.

    Parameters
    ----------
    stages : sequence of Stage
        One after the other. Momentum starts afresh with each stage, and so do trajectories that had converged.
    starts : array, shape (trajectory, 2)
        Initial points [1].
    rule : Rule
        Gradient descent if left out.
    gradient_tolerance, step_tolerance : float
        A trajectory is frozen when the norm of its (clipped, noiseless) gradient, or of a step, is below [1]; zero
        switches a test off.
    domain : tuple of float
        Least and greatest x, least and greatest y [1]; whoever leaves is frozen at its last point inside.
    clip : float
        Largest norm of a gradient, before noise is added [1]; zero switches it off.
    grid : pair of arrays
        Nodes along x and along y for `LocalEntropy` and `HopfLax` [1], evenly spaced; see `window_grid`.
    key : array of uint32, shape (2,)
        From `meanfield.kernels.streams.stream_key`; needed with noise.
    numbers : array of int, shape (trajectory,)
        Which trajectories of the stream these are; 0, 1, … if left out.
    record_every : int
        R: keep the points after 0, R, 2R, … iterations; zero keeps none.
    threads : int
        Number of threads; changes no bit.

    Returns
    -------
    Trajectories
        End points, counts, outcomes and records.

    Raises
    ------
    ValueError
        On shapes or combinations that make no sense: noise without a key, smoothing without a grid, restarts without
        momentum, the function restart where no value is known (inner averaging).

    """
    stages = list(stages)
    starts = _points(starts)
    rule = rule or Rule()
    if not stages or any(stage.steps < 0 for stage in stages):
        msg = "at least one stage, and no negative number of steps"
        raise ValueError(msg)
    if rule.restart == "function" and any(isinstance(stage.smoothing, InnerLangevin) for stage in stages):
        msg = "the function restart needs values, which inner averaging does not give: choose the gradient restart"
        raise ValueError(msg)
    arrays = _stage_arrays(stages, grid)
    if rule.restart == "function":
        arrays = (*arrays[:-1], 2 * arrays[-1])
    noisy = any(
        stage.noise > 0
        or (isinstance(stage.smoothing, InnerLangevin) and math.isfinite(stage.smoothing.inverse_temperature))
        for stage in stages
    )
    count = len(starts)
    key, numbers = _stream(key, numbers, count, noisy)
    watch = gradient_tolerance > 0 or step_tolerance > 0 or domain is not None
    box = (-np.inf, np.inf, -np.inf, np.inf) if domain is None else tuple(float(bound) for bound in domain)
    stop = (watch, float(gradient_tolerance) ** 2, float(step_tolerance) ** 2, box, float(clip))
    lanes = _in_lanes(starts)
    lane_numbers = _in_lanes(numbers)
    blocks = len(lanes)
    kept = sum(stage.steps for stage in stages) // record_every + 1 if record_every else 0
    ends = np.empty_like(lanes)
    taken, evaluations = np.empty((2, blocks, LANES))
    outcome = np.empty((blocks, LANES), np.int64)
    records = np.empty((blocks, kept, 2, LANES))
    code = rule.code()

    def share(first: int, last: int) -> None:
        xs, ys = arrays[6], arrays[7]
        work = tuple(aligned_zeros((rows, LANES), np.float64) for rows in (19, 4, 14, xs.size, ys.size, xs.size))
        for b in range(first, last):
            out = (ends[b], taken[b], evaluations[b], outcome[b], records[b])
            descend_block(lanes[b], lane_numbers[b], arrays, code, stop, key, record_every, out, work)

    _parallel(share, blocks, threads)
    return Trajectories(
        ends=np.moveaxis(ends, 1, 2).reshape(-1, 2)[:count],
        steps=taken.reshape(-1)[:count].astype(np.int64),
        evaluations=evaluations.reshape(-1)[:count].astype(np.int64),
        outcome=outcome.reshape(-1)[:count],
        records=np.ascontiguousarray(records.transpose(1, 0, 3, 2).reshape(kept, blocks * LANES, 2)[:, :count]),
    )


def gradient_descent(terms: ArrayLike, starts: ArrayLike, *, step_size: float, steps: int, threads: int = 1) -> Floats:
    """Return where gradient descent is after so many steps, shape (trajectory, 2) [1]; see `descend`."""
    return descend([Stage(np.asarray(terms), steps, step_size)], starts, threads=threads).ends


@dataclass(frozen=True)
class HomogenisedStage:
    r"""So many macroscopic steps of MF-HomSGLD at fixed parameters.

    Parameters
    ----------
    terms : array, shape (term, 6)
        The potential [1].
    steps : int
        Macroscopic steps.
    inverse_temperature, time : float
        beta and gamma: the local entropy that agents descend [1].
    coupling : float
        eta, the strength of the attraction to the mean of the ensemble [1].
    micro_step, macro_step : float
        delta and h [1]; stable only for h (1/gamma + eta) < 2.
    macro_noise : float
        Standard deviation :math:`\sqrt{2h/\beta_x}` of the noise added to an agent in a macroscopic step [1].

    """

    terms: Floats
    steps: int
    inverse_temperature: float
    time: float
    coupling: float
    micro_step: float
    macro_step: float
    macro_noise: float = 0.0


def _ensembles(starts: ArrayLike, numbers: ArrayLike | None) -> tuple[Floats, ArrayLike | None]:
    starts = _points(starts)
    if starts.ndim != 3:
        msg = f"starts must have the shape (ensemble, agent, 2), not {starts.shape}"
        raise ValueError(msg)
    return starts, None if numbers is None else np.asarray(numbers).reshape(-1)


def _run_groups(run: Callable, starts: Floats, numbers: NDArray, kept: int, threads: int) -> tuple[Floats, Floats]:
    # Ensembles in groups of a few blocks of lanes, so that small ensembles fill them.
    ensembles, agents, _ = starts.shape
    size = max(1, 4 * LANES // agents)
    groups = -(-ensembles // size)
    ends = np.empty_like(starts)
    records = np.empty((kept, *starts.shape))

    def share(first: int, last: int) -> None:
        for group in range(first, last):
            part = slice(group * size, min((group + 1) * size, ensembles))
            points = starts[part].reshape(-1, 2)
            lanes = _in_lanes(points)
            x, y = np.ascontiguousarray(lanes[:, 0]), np.ascontiguousarray(lanes[:, 1])
            lane_numbers = _in_lanes(numbers[part.start * agents : part.start * agents + len(points)])
            record = np.empty((kept, 2, x.size))
            run(x, y, agents, len(points) // agents, lane_numbers, record)
            ends[part, :, 0] = x.reshape(-1)[: len(points)].reshape(-1, agents)
            ends[part, :, 1] = y.reshape(-1)[: len(points)].reshape(-1, agents)
            records[:, part] = (
                record[:, :, : len(points)].transpose(0, 2, 1).reshape(kept, len(points) // agents, agents, 2)
            )

    _parallel(share, groups, threads)
    return ends, records


def homogenised(
    stages: Sequence[HomogenisedStage],
    starts: ArrayLike,
    *,
    burn_in: int,
    average: int,
    key: NDArray[np.uint32],
    numbers: ArrayLike | None = None,
    clip: float = 0.0,
    record_every: int = 0,
    threads: int = 1,
) -> tuple[Floats, Floats]:
    r"""Run MF-HomSGLD: ensembles of agents that descend a local entropy and are drawn to their mean.

    Each macroscopic step makes ``burn_in + average`` microscopic ones of the fast variable, carried over from the last,

    .. math:: Y \leftarrow Y - \delta[\nabla V(Y) + (Y - X)/\gamma] + \sqrt{2\delta/\beta}\,\xi,

    averages the last ``average`` of them, and sets :math:`X \leftarrow X - h[(X - \bar Y)/\gamma + \eta(X - \bar X)]`.
    Reconstruction after Kantas, Parpas & Pavliotis (2019), arXiv:1905.04121, abstract and its relatives: the exact
    equations were not at hand.

    Parameters
    ----------
    stages : sequence of HomogenisedStage
        One after the other.
    starts : array, shape (ensemble, agent, 2)
        Initial points [1], of the fast variables too.
    burn_in, average : int
        Microscopic steps before and during averaging.
    key, numbers, clip, record_every, threads
        As in `descend`; `numbers` has the shape (ensemble, agent), and records count macroscopic steps.

    Returns
    -------
    ends : array, shape (ensemble, agent, 2)
        Last points [1]. Each agent has made ``burn_in + average`` evaluations per macroscopic step.
    records : array, shape (record, ensemble, agent, 2)
        Points after 0, R, 2R, … macroscopic steps [1].

    Raises
    ------
    ValueError
        If a stage's macroscopic step is unstable or nothing is averaged.

    """
    stages = list(stages)
    starts, numbers = _ensembles(starts, numbers)
    if average < 1 or burn_in < 0:
        msg = f"average at least one microscopic step after a burn-in of zero or more, not {average} after {burn_in}"
        raise ValueError(msg)
    for stage in stages:
        rate = stage.macro_step * (1 / stage.time + stage.coupling)
        if not 0 < rate < 2 or stage.macro_step > stage.time:
            msg = f"h (1/gamma + eta) must be in (0, 2) and h at most gamma, not {rate:g} and {stage.macro_step:g}"
            raise ValueError(msg)
    key, numbers = _stream(key, numbers, starts.shape[0] * starts.shape[1], True)
    kept = sum(stage.steps for stage in stages) // record_every + 1 if record_every else 0
    columns = [
        np.array([getattr(stage, name) for stage in stages], np.float64)
        for name in ("micro_step", "inverse_temperature", "time", "coupling", "macro_step", "macro_noise")
    ]
    macro = np.array([stage.steps for stage in stages], np.int64)
    schedule = (macro, _tables([stage.terms for stage in stages]), *columns, burn_in, average)

    def run(x, y, agents, count, lane_numbers, record):
        homogenised_group(x, y, agents, count, lane_numbers, schedule, float(clip), key, record_every, record)

    return _run_groups(run, starts, numbers, kept, threads)


@dataclass(frozen=True)
class EnsembleStage:
    r"""So many steps of affine-invariant Langevin dynamics at fixed parameters.

    Parameters
    ----------
    terms : array, shape (term, 6)
        The potential [1].
    steps : int
        Iterations.
    step_size, inverse_temperature : float
        h and beta [1].

    """

    terms: Floats
    steps: int
    step_size: float
    inverse_temperature: float


def affine_invariant_langevin(
    stages: Sequence[EnsembleStage],
    starts: ArrayLike,
    *,
    key: NDArray[np.uint32],
    finite_ensemble_correction: bool = True,
    numbers: ArrayLike | None = None,
    clip: float = 0.0,
    record_every: int = 0,
    threads: int = 1,
) -> tuple[Floats, Floats]:
    r"""Run Langevin dynamics preconditioned by the ensemble's own covariance C, with the finite-ensemble correction.

    .. math:: \theta^j \leftarrow \theta^j - h\,\beta\, C \nabla V(\theta^j)
              + h\,\tfrac{d + 1}{J}(\theta^j - \bar\theta) + \sqrt{2h}\, C^{1/2} \xi^j, \qquad d = 2,

    :math:`C = J^{-1}\sum_j (\theta^j - \bar\theta)(\theta^j - \bar\theta)^\top` (Garbuno-Iñigo, Nüsken & Reich 2020;
    without the middle term the Gibbs law is invariant only as J grows). The root is the Cholesky factor: the law is
    affine invariant, the path itself under lower triangular maps.

    Parameters
    ----------
    stages : sequence of EnsembleStage
        One after the other.
    starts : array, shape (ensemble, agent, 2)
        Initial points [1], at least four agents each.
    finite_ensemble_correction : bool
        Whether the middle term is there.
    key, numbers, clip, record_every, threads
        As in `descend`; `numbers` has the shape (ensemble, agent), and the gradient of V is clipped.

    Returns
    -------
    ends : array, shape (ensemble, agent, 2)
        Last points [1]. Each agent has made one evaluation per step.
    records : array, shape (record, ensemble, agent, 2)
        Points after 0, R, 2R, … steps [1].

    Raises
    ------
    ValueError
        If there are fewer than d + 2 = 4 agents: the covariance would not stay definite.

    """
    stages = list(stages)
    starts, numbers = _ensembles(starts, numbers)
    if starts.shape[1] < 4:
        msg = f"an ensemble needs 4 agents in the plane, not {starts.shape[1]}"
        raise ValueError(msg)
    key, numbers = _stream(key, numbers, starts.shape[0] * starts.shape[1], True)
    kept = sum(stage.steps for stage in stages) // record_every + 1 if record_every else 0
    schedule = (
        np.array([stage.steps for stage in stages], np.int64), _tables([stage.terms for stage in stages]),
        np.array([stage.step_size for stage in stages], np.float64),
        np.array([stage.inverse_temperature for stage in stages], np.float64),
    )  # fmt: skip
    correction = 1.0 if finite_ensemble_correction else 0.0

    def run(x, y, agents, count, lane_numbers, record):
        affine_group(
            x, y, agents, count, lane_numbers, schedule, correction, float(clip), key, record_every, record
        )  # fmt: skip

    return _run_groups(run, starts, numbers, kept, threads)


def normals(key: NDArray[np.uint32], numbers: ArrayLike, first: int, count: int, purpose: int = STEP_NOISE) -> Floats:
    """Return the kernels' standard normals of iterations `first` … `first + count - 1` of some trajectories.

    Parameters
    ----------
    key : array of uint32, shape (2,)
        The stream's key.
    numbers : array of int, shape (trajectory,)
        Numbers of the trajectories.
    first, count : int
        Which iterations.
    purpose : int
        `STEP_NOISE`, `INNER_NOISE` (numbered on through all inner iterations) or `COUPLED_NOISE`.

    Returns
    -------
    array, shape (count, trajectory, 2)
        Standard normals [1], with the resolution and the tails of `meanfield.kernels.streams`.

    """
    numbers = np.asarray(numbers, np.uint32)
    lanes = _in_lanes(numbers)
    out = np.empty((len(lanes), count, 2, LANES))
    fill_normals(lanes, first, purpose, np.asarray(key, np.uint32), out)
    return np.ascontiguousarray(out.transpose(1, 0, 3, 2).reshape(count, -1, 2)[:, : numbers.size])
