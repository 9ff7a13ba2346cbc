"""Charts of the benchmarks: time per sample of every method with the roofline drawn in, and growth curves."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator

from benchmarks.growth import AXES
from benchmarks.measure import OURS
from meanfield import plotting

_STYLE = Path(__file__).resolve().parents[1] / "styles" / "report.mplstyle"
_TYPES = {"float64": ("f64", "middle"), "float32": ("f32", "sgd")}
_BAR = 0.4
_METHODS = {"block kernel": ("sgd", "o"), "numpy, plain": ("limit", "s")}


def draw_bars(report: dict, path: Path) -> Path:
    """Draw a panel of bars per workload, one bar per method and type, on a logarithmic axis; return the path.

    The roofline is a vertical line per type: no bar of a program that computes every prediction ends left of it.
    """
    with plt.style.context(_STYLE):
        panels = {
            name: _medians([row for row in report["rows"] if row["workload"] == name]) for name in report["workloads"]
        }
        heights = [len(methods) + 2.2 for methods in panels.values()]
        figure, axes = plt.subplots(
            len(panels), 1, figsize=plotting.size(0.235 * sum(heights) + 0.5, 2), squeeze=False, height_ratios=heights
        )
        for axis, (name, methods) in zip(axes[:, 0], panels.items(), strict=True):
            floors = {row["dtype"]: row["median"] for row in report["floors"] if row["workload"] == name}
            _bars(axis, methods, floors)
        plotting.panels(axes[:, 0], [report["workloads"][name]["title"] for name in panels])
        axes[-1, 0].set_xlabel("time per sample [µs]; whiskers: least and most of the rounds")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=4)
        plotting.save(figure, [path])
    return path


def _medians(rows: list[dict]) -> dict[str, dict[str, dict]]:
    # Method, type: row; slowest on top.
    methods: dict[str, dict[str, dict]] = {}
    for row in rows:
        methods.setdefault(row["method"], {})[row["dtype"]] = row
    return dict(sorted(methods.items(), key=lambda item: max(row["median"] for row in item[1].values())))


def _bars(axis, methods: dict[str, dict[str, dict]], floors: dict[str, float]) -> None:
    every = [1e6 * t for rows in methods.values() for row in rows.values() for t in row["seconds"]]
    left = 0.5 * min([*every, *(1e6 * floor for floor in floors.values())])
    for shift, (dtype, (short, colour)) in zip((1, -1), _TYPES.items(), strict=True):
        places = [n for n, rows in enumerate(methods.values()) if dtype in rows]
        found = [rows[dtype] for rows in methods.values() if dtype in rows]
        medians = np.array([1e6 * row["median"] for row in found])
        least = np.array([1e6 * min(row["seconds"]) for row in found])
        most = np.array([1e6 * max(row["seconds"]) for row in found])
        at = np.array(places) + shift * _BAR / 2
        axis.barh(
            at, medians - left, _BAR, left=left, color=plotting.COLOURS[colour], label=short,
            xerr=[medians - least, most - medians], error_kw={"elinewidth": 0.6, "ecolor": "0.35"},
        )  # fmt: skip
        for place, median, high in zip(at, medians, most, strict=True):
            text = axis.text(high * 1.08, place, _number(median), va="center", fontsize=5.5)
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.3})  # readable across the roofline
        if dtype in floors:
            axis.axvline(
                1e6 * floors[dtype], color="black", linestyle="--" if dtype == "float64" else "-", linewidth=0.8,
                label=f"roofline {short}",
            )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlim(left, 2.2 * max(every))
    plotting.short_log(axis.xaxis)
    axis.set_yticks(range(len(methods)), methods)
    for label in axis.get_yticklabels():
        if label.get_text() == OURS:
            label.set_fontweight("bold")
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.6, len(methods) - 0.4)


def _number(value: float) -> str:
    # Three digits that count, in full.
    digits = max(0, 2 - int(np.floor(np.log10(value))))
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.{digits}f}".replace(",", "\u2009")


def draw_growth(growth: dict, path: Path) -> Path:
    """Draw time against each quantity: points, fitted power laws (dashed), proportion to the work (dotted)."""
    with plt.style.context(_STYLE):
        figure, axes = plt.subplots(2, 3, figsize=plotting.size(4.6, 2))
        axes = axes.ravel()
        for axis, (quantity, curves) in zip(axes, growth.items(), strict=False):
            _curves(axis, quantity, curves)
        for axis in axes[len(growth) :]:
            axis.set_axis_off()
            axis.text(0, 0.9, "dashed: fitted power law\ndotted: in proportion to the work", va="top", fontsize=6.5)
        plotting.panels(axes[: len(growth)])
        plotting.save(figure, [path])
    return path


def _curves(axis, quantity: str, curves: dict[str, dict]) -> None:
    label, ideal = AXES[quantity]
    per_iteration = quantity in ("neurons", "dimension")
    unit = 1e6 if per_iteration else 1e3
    for name, curve in curves.items():
        colour, marker = _METHODS[name]
        x, y = np.array(curve["x"], float), unit * np.array(curve["seconds"])
        # In proportion to the work, through the point where fixed costs matter least.
        anchor = 0 if ideal < 0 else -1
        axis.plot(x, y[anchor] * (x / x[anchor]) ** ideal, ":", color=plotting.COLOURS["reference"], linewidth=0.8)
        text = name
        if "exponent" in curve:
            error = f" ± {curve['standard_error']:.2f}" if len(x) > 2 else ""
            text += f": {curve['exponent']:.2f}{error}"
            text += f", end {curve['last_exponent']:.2f}" if len(x) > 2 else ""
            fit = unit * curve["factor"] * x ** curve["exponent"]
            axis.plot(x, fit, "--", color=plotting.COLOURS[colour], linewidth=0.8)
        axis.plot(x, y, marker, color=plotting.COLOURS[colour], label=text)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel(label)
    axis.set_ylabel("time per iteration [µs]" if per_iteration else "time [ms]")
    shown = x[::2] if len(x) > 4 else x
    axis.set_xticks(shown, [_count(value) for value in shown])
    low, high = axis.get_ylim()
    # Room for the legend above the points.
    axis.set_ylim(low / 1.3, high * (high / low) ** 0.35 * 1.3)
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 30 else (1.0,)))
    plotting.short_log(axis.yaxis)
    axis.minorticks_off()
    legend = axis.legend(
        loc="upper left", fontsize=5.5, handletextpad=0, title="fitted exponent, and that of the last two points",
        title_fontsize=5.5, alignment="left",
    )  # fmt: skip
    legend.set_in_layout(False)


def _count(value: float) -> str:
    return f"{value:g}" if value < 1000 else plotting.power(float(f"{value:.2g}"))
