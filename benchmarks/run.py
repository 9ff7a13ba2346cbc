"""Run the benchmarks: `python -m benchmarks.run [--rounds 5] [--only A B growth] [--quick] [--output FOLDER]`.

Every workload has its methods timed in turns in this one process, A B A B …, on one thread unless said otherwise, and
each method is compared with the definition on the same samples before it is timed. Prints tables of medians and of
ratios round by round, the targets and whether they are met; writes all of it to a JSON file and draws two charts.
"""

import os

# One thread for everyone, before any library starts its pool; and numpy's library chooses its own kernels.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
os.environ.pop("OPENBLAS_CORETYPE", None)

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks import chart, growth, machine, others, peers, roofline, table
from benchmarks.measure import Contest, Row, decide, targets
from benchmarks.workloads import active_share, workloads

OTHERS = ("dynamics", "landscape", "inner", "memory", "startup", "risks", "jobs", "growth")
BY_NAME = ("jobs",)  # only where it is named: it takes as long as all others
FLOOR = "= multiply-add peak of this core"
_BUSY = 0.9


def contests(names: list[str], rounds: int, budget: float, report: dict, *, quick: bool) -> tuple[list[Row], dict]:
    """Time the methods of the named workloads; returns all rows, and the roofline as rows by workload and type."""
    bandwidth = report["limits"]["read_bytes_per_s"]
    everyone = peers.methods()
    rows, floors = [], {}
    for workload in workloads(small=quick).values():
        if workload.name not in names:
            continue
        start = time.perf_counter()
        contest = Contest(workload, everyone, budget, slow=not quick)
        floor = {t: Row(workload.name, FLOOR, t) for t in ("float64", "float32")}
        for _ in range(rounds):
            contest.round()
            # The peak moves with the clock of the processor; measured in the same round, shares move less.
            for t, row in floor.items():
                row.seconds.append(workload.flop / roofline.multiply_add_peak(t, min(budget, 0.03)))
        reading = {}
        for t in floor:
            size = workload.neurons * workload.dimension * np.dtype(t).itemsize
            reading[t] = roofline.floors(workload.flop, size, np.inf, bandwidth)["one pass over the weights"]
        print(table.workload_table(workload, contest.rows, floor, reading))
        for name, reason in contest.skipped.items():
            print(f"skipped: {name}: {reason}")
        share = active_share(workload)
        shared = [row for row in contest.rows if row.cores < _BUSY]
        print(
            f"neurons that a sample moves, at the start: {100 * share:.0f} %; all agree with the definition; "
            f"{time.perf_counter() - start:.0f} s"
        )
        if shared:
            print(
                f"note: other programs took part of the core from {len(shared)} of {len(contest.rows)} methods "
                f"(least share {min(row.cores for row in shared):.2f})"
            )
        if crowd := [row.method for row in contest.rows if row.cores > 1.2]:
            print(f"note: more than one core was used by {', '.join(crowd)}")
        rows += contest.rows
        floors |= {f"{workload.name}/{t}": row for t, row in floor.items()}
        report["workloads"][workload.name] = {
            "title": workload.title, "neurons": workload.neurons, "dimension": workload.dimension,
            "flop_per_sample": workload.flop, "active_share": share, "reading_seconds": reading,
            "skipped": contest.skipped,
        }  # fmt: skip
    return rows, floors


def extras(names: list[str], rounds: int, report: dict, *, quick: bool) -> dict[str, float]:
    """Measure what is not one-pass SGD; returns the quantities that targets ask for."""
    quantities = {}
    print()
    if "dynamics" in names:
        found = report["dynamics"] = others.dynamics(rounds, quick=quick)
        if found["error"] <= others.ACCURACY:
            quantities["dynamics_ms"] = 1e3 * float(np.median(found["seconds"]))
    if "landscape" in names:
        sizes = {"trajectories": 64, "steps": 100, "budget": 0.01} if quick else {}
        found = report["landscape"] = others.landscape(rounds, **sizes)
        if found:
            quantities["landscape_ratio"] = found["ratio"]["two cores"]
    if "inner" in names:
        report["inner_loops"] = others.inner_loops(rounds, **({"neurons": 16, "dimensions": (8,)} if quick else {}))
    if "memory" in names:
        lengths = (10_000,) if quick else (10**5, 10**6, 10**7)
        found = report["memory"] = others.memory(lengths)
        peaks = [found[str(length)]["peak_bytes"] for length in lengths]
        if not quick:
            quantities |= {"memory_mb": peaks[-1] / 1e6, "memory_growth": peaks[-1] / peaks[0]}
    if "startup" in names:
        found = report["startup"] = others.startup(1 if quick else 3)
        quantities["startup_s"] = float(np.median(found["first_step"]))
    if "risks" in names:
        sizes = {"neurons": 40, "dimension": 10, "count": 2} if quick else {}
        report["risks"] = others.risks(rounds, **sizes)
    if "jobs" in names:
        report["jobs"] = others.jobs(min(rounds, 3), **({"targets": ("fig01_two_layer_network",)} if quick else {}))
    if "growth" in names:
        print()
        report["growth"] = growth.grow(workloads(small=quick)["A"], 0.002 if quick else 0.1, quick=quick)
    return quantities


def limits_text(limits: dict) -> str:
    """Return the measured limits of one core in words."""
    peak, product, read = (
        limits[key] for key in ("multiply_add_flop_per_s", "matrix_product_flop_per_s", "read_bytes_per_s")
    )
    return (
        f"one core: multiply-add peak {peak['float32'] / 1e9:.1f} GFLOP/s f32, {peak['float64'] / 1e9:.1f} f64; "
        f"numpy's matrix product {product['float32'] / 1e9:.1f}, {product['float64'] / 1e9:.1f}\n"
        "reading: " + ", ".join(f"{level} {speed / 1e9:.0f} GB/s" for level, speed in read.items())
    )


def main(argv: list[str] | None = None) -> int:
    """Run what was asked for."""
    known = [*workloads(small=True), *OTHERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each method is timed, in turns [5]")
    parts = f"some of {', '.join(known)} [all but {', '.join(BY_NAME)}]"
    parser.add_argument("--only", nargs="+", choices=known, metavar="PART", help=parts)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing that compiles: to try the machinery")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder [benchmarks/results]")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    names = arguments.only or [name for name in known if name not in BY_NAME]
    start = time.perf_counter()
    report = {
        "machine": machine.facts(),
        "limits": machine.measured(0.005 if arguments.quick else 0.05),
        "rounds": arguments.rounds, "quick": arguments.quick, "missing": peers.missing(), "workloads": {},
    }  # fmt: skip
    facts = report["machine"]
    print(
        f"{facts['processor']}, {facts['cores']} cores; " + ", ".join(f"{k} {v}" for k, v in facts["packages"].items())
    )
    print(limits_text(report["limits"]))
    for reason in dict.fromkeys(report["missing"].values()):
        print(f"missing: {reason}")

    budget = 0.005 if arguments.quick else 0.3
    rows, floors = contests(names, arguments.rounds, budget, report, quick=arguments.quick)
    quantities = extras(names, arguments.rounds, report, quick=arguments.quick)
    if not arguments.quick:
        verdicts = [decide(target, rows, floors, quantities) for target in targets()]
        print(table.targets_table(verdicts))
        report["targets"] = [
            {"text": t.text, "own": t.own, "peers": t.peers, "dtype": t.dtype, "limit": t.limit, "found": f, "met": m}
            for t, f, m in verdicts
        ]
    report["rows"] = [row.record() for row in rows]
    report["floors"] = [row.record() for row in floors.values()]

    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "benchmarks.json"
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    written = [path]
    if rows:
        written.append(chart.draw_bars(report, arguments.output / "benchmarks.png"))
    if "growth" in report:
        written.append(chart.draw_growth(report["growth"], arguments.output / "growth.png"))
    print(f"\nwritten in {time.perf_counter() - start:.0f} s: " + ", ".join(map(str, written)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
