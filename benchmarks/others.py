"""What is not one-pass SGD: distributional dynamics, Müller–Brown, inner loops, memory, start-up, risks, jobs."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import fresh_process
from benchmarks.measure import best_of
from benchmarks.workloads import DIPPING_RAMP, RISING_RAMP
from meanfield.forks import SWITCH
from meanfield.limits.characteristics import solve_characteristics
from meanfield.limits.potentials import radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.methods import entropy_sgd, langevin, mf_homsgld
from meanfield.methods.runs import InnerLoopWalk, inner_loop_walk
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw
from meanfield.workflow import KEEP_FREED

ACCURACY = 1e-4  # of the risk, over the whole curve
_STEP = 1e-5

# Müller & Brown (1979): amplitude, coefficients of the quadratic form, centre of each term.
_A, _XX, _XY, _YY = np.array([[-200, -1, 0, -10], [-100, -1, 0, -10], [-170, -6.5, 11, -6.5], [15, 0.7, 0.6, 0.7]]).T
_X0, _Y0 = np.array([1, 0, -0.5, -1.0]), np.array([0, 0.5, 1.5, 1.0])


def dynamics(rounds: int, *, quick: bool = False, say=print) -> dict:
    """Solve the distributional dynamics of workload A to t = 10; the cheapest setting that keeps the risk to 1e-4.

    Returns times [s] of the solution and of the one-off set-up, the error reached, and how many times longer one
    evaluation of the right-hand side takes in numpy's closed form.
    """
    problem = IsotropicGaussians(40, 0.8, RISING_RAMP)
    law = RadialLaw("gaussian", 0.8)
    time_grid = np.concatenate([[0], np.geomspace(1e-3, 1, 20), np.linspace(1, 10, 37)[1:]])
    start = time.perf_counter()
    potentials = radial_potentials(problem)
    setup = time.perf_counter() - start

    def solve(atoms: int, tolerance: float):
        return solve_characteristics(
            potentials, law, time_grid, atoms=atoms, schedule=Schedule(), relative_tolerance=tolerance
        )

    truth = solve(400 if quick else 6400, 1e-8).risk
    tried = {}
    for atoms in (50,) if quick else (50, 100, 200, 400, 800, 1600):
        for tolerance in (1e-3, 1e-4, 1e-5, 1e-6):
            start = time.perf_counter()
            risk = solve(atoms, tolerance).risk
            tried[atoms, tolerance] = (time.perf_counter() - start, float(np.abs(risk - truth).max()))
        good = {setting: value for setting, value in tried.items() if value[1] <= ACCURACY}
        if good:  # more atoms only cost more
            break
    pool = good or tried
    atoms, tolerance = min(pool, key=lambda s: pool[s][0] if good else pool[s][1])
    solution = solve(atoms, tolerance)
    r, mass = solution.radius[len(time_grid) // 2], solution.mass
    fast, slow = [], []
    for _ in range(rounds):
        fast.append(best_of(lambda: solve(atoms, tolerance), 3))
        slow.append(best_of(lambda: potentials.drift(r, r, mass), 3))
    evaluation = float(np.median(fast)) / solution.evaluations
    found = {
        "seconds": fast, "set_up_seconds": setup, "atoms": atoms, "relative_tolerance": tolerance,
        "error": tried[atoms, tolerance][1], "evaluations": solution.evaluations,
        "numpy_closed_form_seconds": slow, "ratio_per_evaluation": float(np.median(slow)) / evaluation,
    }  # fmt: skip
    say(
        f"distributional dynamics to t = 10, {atoms} atoms, tolerance {tolerance:g}: "
        f"{1e3 * np.median(fast):.1f} ms ({1e3 * min(fast):.1f}–{1e3 * max(fast):.1f}), largest error of the risk "
        f"{found['error']:.1e}"
    )
    say(
        f"  {solution.evaluations} evaluations; one takes {1e6 * evaluation:.0f} us, in numpy's closed form "
        f"{1e6 * np.median(slow):.0f} us ({found['ratio_per_evaluation']:.0f} x); set-up once {1e3 * setup:.0f} ms"
    )
    return found


def numpy_descent(points: NDArray, steps: int) -> NDArray:
    """Return the points after gradient descent on the Müller–Brown potential in numpy, across trajectories."""
    x, y = points[:, 0].copy(), points[:, 1].copy()
    for _ in range(steps):
        u, v = x[:, None] - _X0, y[:, None] - _Y0
        e = _A * np.exp(_XX * u * u + _XY * u * v + _YY * v * v)
        x -= _STEP * (e * (2 * _XX * u + _XY * v)).sum(axis=1)
        y -= _STEP * (e * (_XY * u + 2 * _YY * v)).sum(axis=1)
    return np.stack([x, y], axis=1)


def landscape(rounds: int, *, trajectories: int = 1000, steps: int = 100_000, budget: float = 0.3, say=print) -> dict:
    """Time many Müller–Brown trajectories, gradient descent, on one core and on two, against numpy on one."""
    try:
        from meanfield.kernels.landscape import Stage, descend
        from meanfield.problems.plane import muller_brown
    except ImportError:
        say("Müller–Brown: the kernel is not in this checkout")
        return {}
    rng = np.random.default_rng(0)
    starts = np.stack([rng.uniform(-1.5, 1.0, trajectories), rng.uniform(-0.3, 1.8, trajectories)], axis=1)
    terms = muller_brown().terms

    def ours(threads: int, steps: int):
        return descend([Stage(terms, steps, _STEP)], starts, threads=threads).ends

    error = float(np.abs(ours(2, 200) - numpy_descent(starts, 200)).max())
    if not error < 1e-10:
        raise ArithmeticError(f"the landscape kernel and numpy disagree after 200 steps by {error:.1e}")
    start = time.perf_counter()
    numpy_descent(starts, 20)
    few = max(20, int(20 * budget / (time.perf_counter() - start)))
    times = {"numpy": [], "one core": [], "two cores": []}
    for _ in range(rounds):
        start = time.perf_counter()
        numpy_descent(starts, few)
        times["numpy"].append((time.perf_counter() - start) * steps / few)
        for name, threads in (("one core", 1), ("two cores", 2)):
            start = time.perf_counter()
            ours(threads, steps)
            times[name].append(time.perf_counter() - start)
    ratios = {name: float(np.median(np.array(times["numpy"]) / times[name])) for name in times}
    say(
        f"Müller–Brown, {trajectories} x {steps} gradient steps: numpy {np.median(times['numpy']):.1f} s, one core "
        f"{np.median(times['one core']):.3f} s ({ratios['one core']:.0f} x), two cores "
        f"{np.median(times['two cores']):.3f} s ({ratios['two cores']:.0f} x)"
    )
    return {"seconds": times, "ratio": ratios, "error": error, "cores": os.cpu_count()}


# Methods with an inner loop, and how many iterations of blocks and of single steps are timed at once.
_INNER_LOOPS = {
    "noisy SGD": (langevin, langevin.Hyperparameters(1e-4), 640, 64),
    "Entropy-SGD, 20 steps, T = 0": (entropy_sgd, entropy_sgd.Hyperparameters(0.01), 32, 8),
    "MF-HomSGLD, 3 x 20 steps, T = 0": (mf_homsgld, mf_homsgld.Hyperparameters(0.01), 10, 3),
    "MF-HomSGLD, 3 x 20 steps": (mf_homsgld, mf_homsgld.Hyperparameters(0.01, temperature=1e-6), 10, 2),
}


def inner_loops(rounds: int, *, neurons: int = 800, dimensions: tuple[int, ...] = (40, 320), say=print) -> dict:
    """Time inner loops in blocks of samples against the same loops step by step, in turns.

    Returns processor times [s] per gradient of both, by method, dimension and type. Without noise both ends must agree.
    """
    found = {}
    say("inner loops, time per gradient in us: step by step, in blocks of samples, ratio (least, most)")
    for dimension in dimensions:
        problem = IsotropicGaussians(dimension, 0.5, RISING_RAMP if dimension < 100 else DIPPING_RAMP)
        start = RadialLaw("gaussian", 0.8).sample(neurons, dimension, 0, "inner loops", 0)
        for name, (method, hyperparameters, *counts) in _INNER_LOOPS.items():
            loop = method.inner_loop(hyperparameters)
            gradients = loop.steps * loop.agents
            for dtype in ("float64", "float32"):
                names = (0, "inner loops", 0)
                settings = (loop, problem, start.astype(dtype), names, Schedule(), _STEP)
                walks = {"blocks": (inner_loop_walk, counts[0]), "steps": (InnerLoopWalk, counts[1])}
                if loop.temperature == 0 and dtype == "float64":
                    ends = [next(walk(*settings, [counts[1]])) for walk, _ in walks.values()]
                    error = np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(ends[0] - start)
                    if not error < 1e-9:
                        raise ArithmeticError(f"{name}: blocks and single steps disagree by {error:.1e}")
                times = {key: [] for key in walks}
                for turn in range(rounds + 1):
                    for key, (walk, count) in walks.items():
                        run = walk(*settings, [count])
                        before = time.process_time()
                        next(run)
                        if turn:  # the first compiles
                            times[key].append((time.process_time() - before) / (count * gradients))
                ratios = np.array(times["steps"]) / times["blocks"]
                found[f"{name}, d = {dimension}, {dtype}"] = times
                steps, blocks = (1e6 * np.median(times[key]) for key in ("steps", "blocks"))
                say(
                    f"  {name:<32} d = {dimension:<4} {dtype}  {steps:7.1f} {blocks:7.1f} {np.median(ratios):6.1f} x "
                    f"({ratios.min():.1f}–{ratios.max():.1f})"
                )
    return found


def memory(iterations: tuple[int, ...], say=print) -> dict:
    """Measure the peak memory of whole runs of some lengths, each in a process of its own."""
    found = {}
    for count in iterations:
        found[str(count)] = answer = fresh_process.ask("memory", str(count))
        say(
            f"memory: {count:>9} iterations, peak {answer['peak_bytes'] / 1e6:.0f} MB, "
            f"{answer['seconds']:.1f} s with imports, records and output"
        )
    return found


def startup(rounds: int, say=print) -> dict:
    """Measure how long a warm process takes from its imports to its first step."""
    fresh_process.ask("startup")  # fills the compiler's cache if it is cold
    answers = [fresh_process.ask("startup") for _ in range(rounds)]
    found = {key: [answer[key] for answer in answers] for key in answers[0]}
    say(
        f"start-up, warm: imports {np.median(found['imports']):.2f} s, then the first block of steps after "
        f"{np.median(found['first_step']):.2f} s"
    )
    return found


def risks(rounds: int, *, neurons: int = 800, dimension: int = 320, count: int = 40, say=print) -> dict:
    """Measure a risk in processes that hand freed memory back to the system and in such that keep it, as jobs do."""
    found: dict = {}
    sizes = [str(size) for size in (neurons, dimension, count)]
    for _ in range(rounds):
        for kind, environment in (("handed back", dict.fromkeys(KEEP_FREED)), ("kept", KEEP_FREED)):
            for problem, seconds in fresh_process.ask("risks", *sizes, **environment).items():
                found.setdefault(problem, {}).setdefault(kind, []).append(seconds)
    for problem, times in found.items():
        ratios = np.divide(times["handed back"], times["kept"])
        back, kept = (1e3 * np.median(times[kind]) for kind in ("handed back", "kept"))
        say(
            f"risk, {problem}, N = {neurons}, d = {dimension}: {back:.1f} ms, {kept:.1f} where freed memory is kept, "
            f"{np.median(ratios):.2f} x ({ratios.min():.2f}–{ratios.max():.2f})"
        )
    return found


def jobs(rounds: int, *, targets: tuple[str, ...] = ("fig05_failure_isotropic", "ext_tuning"), say=print) -> dict:
    """Run the workflow on two cores at the small scale for some figures, its jobs started as usual and as forks.

    Returns how many jobs there are and the times of both [s] by the clock, planning included, kernels compiled before.
    """
    count, _ = _run_workflow(targets, "1")  # compiles
    found: dict = {"jobs": count, "as usual": [], "as forks": []}
    for _ in range(rounds):
        for kind, switch in (("as usual", "0"), ("as forks", "1")):
            found[kind].append(_run_workflow(targets, switch)[1])
    ratios = np.divide(found["as usual"], found["as forks"])
    usual, forks = (np.median(found[kind]) for kind in ("as usual", "as forks"))
    say(
        f"{count} jobs of the small scale on two cores: {usual:.0f} s, {forks:.0f} s as forks, "
        f"{np.median(ratios):.2f} x ({ratios.min():.2f}–{ratios.max():.2f})"
    )
    return found


def _run_workflow(targets: tuple[str, ...], switch: str) -> tuple[int, float]:
    # Everything from nothing in a folder of its own; returns the number of jobs and the time.
    root, ours = fresh_process.ROOT, fresh_process.ROOT / ".snakemake"
    ours.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ours) as folder:
        overlay, name = Path(folder, "folders.yaml"), Path(folder).relative_to(root).as_posix()
        overlay.write_text(f"pathvars: {{results: {name}/results, logs: {name}/logs}}\n", encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--nolock", *targets]
        command += ["--configfile", "config/quick.yaml", str(overlay)]
        environment = os.environ | {SWITCH: switch}
        start = time.perf_counter()
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return len(list(Path(folder, "results/benchmarks").rglob("*.tsv"))), seconds
