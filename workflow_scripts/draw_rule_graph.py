"""Rule draw_rule_graph: draw which rule feeds which, from Snakemake's own account of the workflow."""

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield.errors import DataError
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# Rules that only gather targets would hide the flow of data.
LEFT_OUT = {"all", "draw_rule_graph", "gallery"}


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


def draw(names: list[str], edges: list[tuple[str, str]]) -> Figure:
    """Return the drawing, data flowing from left to right."""
    columns = layers(names, edges)
    tallest = max(map(len, columns))
    figure, axis = plt.subplots(figsize=plotting.size(0.55 * tallest + 0.5, columns=2))
    axis.axis("off")
    place = {
        name: (float(x), (len(column) - 1) / 2 - y) for x, column in enumerate(columns) for y, name in enumerate(column)
    }
    for name, (x, y) in place.items():
        axis.text(
            x, y, name.replace("_", "\n", 1), ha="center", va="center", fontsize="medium", zorder=3,
            bbox={
                "boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": plotting.COLOURS["sgd"],
                "linewidth": 0.9,
            },
        )  # fmt: skip
    for a, b in edges:
        bend = 0.0 if place[b][0] - place[a][0] <= 1 else -0.18
        axis.annotate(
            "", xy=place[b], xytext=place[a], zorder=1,
            arrowprops={
                "arrowstyle": "-|>", "color": plotting.COLOURS["reference"], "linewidth": 0.8, "shrinkA": 26,
                "shrinkB": 26, "connectionstyle": f"arc3,rad={bend}",
            },
        )  # fmt: skip
    axis.set_xlim(-0.6, len(columns) - 0.4)
    axis.set_ylim(-tallest / 2 - 0.1, tallest / 2 + 0.1)
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        plotting.save(draw(*rule_graph()), snakemake.output)
