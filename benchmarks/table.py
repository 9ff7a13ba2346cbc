"""The plain-text table: medians, spreads, ratios round by round, shares of the roofline, and the targets."""

from collections.abc import Iterable

from benchmarks.measure import OURS, Row, Verdict, ratio
from benchmarks.workloads import Workload

_HEAD = (
    f"{'method':36} {'type':>4} {'us/sample':>10} {'least':>10} {'most':>10}   "
    f"{'x ours':>8} {'least':>8} {'most':>8}   {'GFLOP/s':>8} {'of peak':>8}"
)


def _short(dtype: str) -> str:
    return {"float64": "f64", "float32": "f32"}[dtype]


def workload_table(workload: Workload, rows: Iterable[Row], floors: dict[str, Row], reading: dict[str, float]) -> str:
    """Return the table of one workload.

    Parameters
    ----------
    workload : Workload
        What was run.
    rows : iterable of Row
        Its rows.
    floors : dict
        By type, the time of a sample at the multiply-add peak, round by round.
    reading : dict
        By type, the least time of a step of any program that reads the weights once per step [s].

    """
    rows = list(rows)
    ours = {row.dtype: row for row in rows if row.method == OURS}
    lines = ["", workload.title, _HEAD, "-" * len(_HEAD)]
    for dtype in ("float64", "float32"):
        for row in sorted((row for row in rows if row.dtype == dtype), key=lambda row: -row.median):
            line = _times(row)
            if dtype in ours:
                spread = ratio(row, ours[dtype])
                line += f"   {spread.median:8.2f} {spread.least:8.2f} {spread.most:8.2f}"
            else:
                line += f"   {'–':>8} {'–':>8} {'–':>8}"
            share = ratio(floors[dtype], row).median
            lines.append(f"{line}   {workload.flop / row.median / 1e9:8.2f} {100 * share:7.1f}%")
        floor = floors[dtype]
        lines.append(f"{_times(floor)}   {'':26}   {workload.flop / floor.median / 1e9:8.2f} {'100.0%':>8}")
        lines.append(f"{'= reading the weights once a step':36} {_short(dtype):>4} {1e6 * reading[dtype]:10.3f}")
    return "\n".join(lines)


def _times(row: Row) -> str:
    return (
        f"{row.method:36} {_short(row.dtype):>4} {1e6 * row.median:10.3f} "
        f"{1e6 * min(row.seconds):10.3f} {1e6 * max(row.seconds):10.3f}"
    )


def targets_table(verdicts: Iterable[Verdict]) -> str:
    """Return the table of targets: what was found and whether it is met."""
    lines = ["", f"{'target':68} {'types':>9} {'found':>9}", "-" * 100]
    for target, found, met in verdicts:
        types = ""
        if target.workload:
            types = f"{_short(target.dtype)}/{_short(target.own)}" if target.dtype else _short(target.own)
        number = "–" if found is None else f"{found:.3g}"
        word = {True: "met", False: "NOT MET", None: "not measured"}[met]
        lines.append(f"{target.text:68} {types:>9} {number:>9}  {word}")
    lines.append("types: theirs/ours; the fastest of the peers that fit a target counts")
    return "\n".join(lines)
