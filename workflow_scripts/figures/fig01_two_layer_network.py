"""Figure fig01_two_layer_network: drawing of the network of eq. (1)."""

from typing import TYPE_CHECKING

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

INPUTS = ("$x_1$", "$x_2$", "$x_3$", None, "$x_d$")
NEURONS = ("$w_1$", "$w_2$", "$w_3$", None, "$w_N$")


def draw() -> Figure:
    """Return the drawing: inputs, neurons with their weight vectors, and the mean that is the prediction."""
    figure, axis = plt.subplots(figsize=plotting.size(3.1, columns=2))
    axis.set_aspect("equal")
    axis.axis("off")
    heights = [2.0, 1.0, 0.0, -0.95, -1.9]
    columns = {"input": 0.0, "neuron": 3.4, "output": 6.8}
    radius = 0.36
    style = {"linewidth": 0.5, "color": plotting.COLOURS["reference"], "zorder": 1}
    for top, source in zip(heights, INPUTS, strict=True):
        for height, neuron in zip(heights, NEURONS, strict=True):
            if source is not None and neuron is not None:
                axis.plot([columns["input"], columns["neuron"]], [top, height], **style)
    for height, neuron in zip(heights, NEURONS, strict=True):
        if neuron is not None:
            axis.plot([columns["neuron"], columns["output"]], [height, 0.0], **{**style, "linewidth": 0.8})

    def node(x, y, text, colour):
        if text is None:
            axis.text(x, y, r"$\vdots$", ha="center", va="center", fontsize="large", zorder=3)
            return
        axis.add_patch(plt.Circle((x, y), radius, facecolor="white", edgecolor=colour, linewidth=1.2, zorder=2))
        axis.text(x, y, text, ha="center", va="center", zorder=3)

    for height, text in zip(heights, INPUTS, strict=True):
        node(columns["input"], height, text, plotting.COLOURS["volume"])
    for height, text in zip(heights, NEURONS, strict=True):
        node(columns["neuron"], height, text, plotting.COLOURS["sgd"])
    node(columns["output"], 0.0, r"$\hat y$", plotting.COLOURS["limit"])
    axis.text(columns["input"], 2.75, r"input $x \in \mathbb{R}^d$", ha="center", va="bottom")
    axis.text(
        columns["neuron"], 2.75, r"neuron $i$: $\sigma(\langle w_i, x\rangle)$, $w_i \in \mathbb{R}^d$",
        ha="center", va="bottom",
    )  # fmt: skip
    axis.text(columns["output"], 2.75, "prediction", ha="center", va="bottom")
    axis.text(5.15, 1.15, r"$1/N$", ha="left", va="bottom", color=plotting.COLOURS["reference"])
    axis.text(
        columns["output"] + 0.6, 0.0, r"$\hat y(x) = \frac{1}{N}\sum_{i=1}^{N} \sigma(\langle w_i, x\rangle)$",
        ha="left", va="center",
    )  # fmt: skip
    axis.set_xlim(-1.0, 10.4)
    axis.set_ylim(-2.5, 3.2)
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        plotting.save(draw(), snakemake.output)
