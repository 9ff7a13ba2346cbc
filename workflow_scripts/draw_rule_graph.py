"""Rule draw_rule_graph: draw which rule feeds which, from Snakemake's own account of the workflow."""

import itertools
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as MplPath

from meanfield import plotting
from meanfield.errors import DataError
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# Rules that only gather targets would hide the flow of data.
LEFT_OUT = {"all", "draw_rule_graph", "gallery"}

# In places, of which a rule takes one: groups above this stand in two files; between groups, between columns, and half
# a rule.
_TALLEST, _GAP, _BETWEEN, _HALF = 6, 0.3, 0.5, 0.46


def rule_graph() -> tuple[list[str], list[tuple[str, str]]]:
    """Return the rules and the pairs (producer, consumer) of the whole workflow."""
    answer = subprocess.run(
        [sys.executable, "-m", "snakemake", "--rulegraph", "dot", "--nolock", "--forceall", "--quiet", "all"],
        capture_output=True,
        text=True,
        check=False,
    )
    nodes = dict(re.findall(r'^\s*(\d+)\[label = "([^"]+)"', answer.stdout, re.MULTILINE))
    if answer.returncode or not nodes:
        raise DataError(f"rule graph: snakemake gave none: {answer.stderr.strip().splitlines()[-1:]}")
    edges = re.findall(r"^\s*(\d+) -> (\d+)", answer.stdout, re.MULTILINE)
    names = [name for name in nodes.values() if name not in LEFT_OUT]
    pairs = {(nodes[a], nodes[b]) for a, b in edges}
    return sorted(names), sorted(pair for pair in pairs if not set(pair) & LEFT_OUT)


def layers(names: list[str], edges: list[tuple[str, str]]) -> list[list[str]]:
    """Return the rules by their longest way to an end, farthest first, each layer ordered by its producers' places."""
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for a, b in edges:
            depth[a] = max(depth[a], depth[b] + 1)
    deepest = max(depth.values())
    found = [[name for name in names if depth[name] == deepest - n] for n in range(deepest + 1)]
    place: dict[str, float] = {}
    for layer in found:
        producers = {name: [place[a] for a, b in edges if b == name] for name in layer}
        layer.sort(key=lambda name: sum(producers[name]) / max(len(producers[name]), 1))
        place.update({name: n - (len(layer) - 1) / 2 for n, name in enumerate(layer)})
    return found


def groups(layer: list[str], edges: list[tuple[str, str]]) -> list[list[str]]:
    """Return a layer's rules in groups with the same consumers, in the order of their first members."""
    found: dict[frozenset[str], list[str]] = {}
    for name in layer:
        found.setdefault(frozenset(b for a, b in edges if a == name), []).append(name)
    return list(found.values())


def places(columns: list[list[list[str]]]) -> tuple[dict[str, tuple[float, float]], float, int]:
    """Return the place of each rule, the width of all and the largest number of rows; large ones have two files."""
    place: dict[str, tuple[float, float]] = {}
    left, tallest = 0.0, 0
    for column in columns:
        widths = [2 if len(group) > _TALLEST else 1 for group in column]
        heights = [-(-len(group) // width) for group, width in zip(column, widths, strict=True)]
        rows, widest = sum(heights) + _GAP * (len(column) - 1), max(widths)
        top = (rows - 1) / 2
        for group, width, height in zip(column, widths, heights, strict=True):
            for n, name in enumerate(group):
                place[name] = left + (widest - width) / 2 + n // height, top - n % height
            top -= height + _GAP
        left += widest + _BETWEEN
        tallest = max(tallest, int(np.ceil(rows)))
    return place, left - _BETWEEN, tallest


def draw(names: list[str], edges: list[tuple[str, str]]) -> Figure:
    """Return the drawing, data flowing from left to right; rules that feed the same others share a frame."""
    columns = [groups(layer, edges) for layer in layers(names, edges)]
    place, width, tallest = places(columns)
    figure, axis = plt.subplots(figsize=plotting.size(0.36 * tallest + 0.2, columns=2))
    axis.axis("off")
    axis.set_xlim(-0.55, width - 0.45)
    axis.set_ylim(-tallest / 2 - 0.1, tallest / 2 + 0.1)
    for name, (x, y) in place.items():
        axis.add_patch(_box((x - _HALF, y - 0.36), (x + _HALF, y + 0.36), "white", plotting.COLOURS["sgd"], 4))
        axis.text(
            x, y, name.replace("_", "\n"), ha="center", va="center", fontsize=4.5, linespacing=0.95, zorder=5
        )  # fmt: skip
    grey = plotting.COLOURS["reference"]
    for group in itertools.chain.from_iterable(columns):
        x, y = np.array([place[name] for name in group]).T
        low, high = (x.min() - _HALF, y.min() - 0.36), (x.max() + _HALF, y.max() + 0.36)
        if len(group) > 1:
            low, high = (low[0] - 0.06, low[1] - 0.1), (high[0] + 0.06, high[1] + 0.1)
            axis.add_patch(_box(low, high, "0.95", "0.7", 2))
        start = (high[0], (low[1] + high[1]) / 2)
        for consumer in sorted({b for a, b in edges if a in group}):
            end = (place[consumer][0] - _HALF, place[consumer][1])
            bend = 0.5 * (end[0] - start[0])
            curve = MplPath(
                [start, (start[0] + bend, start[1]), (end[0] - bend, end[1]), end],
                [MplPath.MOVETO, MplPath.CURVE4, MplPath.CURVE4, MplPath.CURVE4],
            )
            arrow = FancyArrowPatch(
                path=curve,
                arrowstyle="-|>",
                mutation_scale=5,
                linewidth=0.6,
                color=grey,
                zorder=3,
                shrinkA=0,
                shrinkB=0,
            )
            axis.add_patch(arrow)
    return figure


def _box(low: tuple[float, float], high: tuple[float, float], face: str, edge: str, zorder: int) -> FancyBboxPatch:
    return FancyBboxPatch(
        low, high[0] - low[0], high[1] - low[1], boxstyle="round,pad=0,rounding_size=0.08", linewidth=0.7,
        facecolor=face, edgecolor=edge, zorder=zorder,
    )  # fmt: skip


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        plotting.save(draw(*rule_graph()), snakemake.output)
