"""Figure fig08_optimisers_gaussian: all optimisers on Gaussian problems, by iteration, by gradients, on SGD's clock."""

from typing import TYPE_CHECKING

import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from meanfield import plotting
from meanfield import plotting_optimisers as optimisers
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

COLUMNS = (
    ("iteration", "iteration $k$"),
    ("evaluation", "gradient evaluations"),
    ("limit_time", "time on SGD's clock"),
)


def draw(data: dict[str, xr.Dataset], titles: dict[str, str]) -> Figure:
    """Return the figure: for each experiment a row of runs at one step size and a row of tuned ones."""
    rows = []
    for experiment in optimisers.experiments(data):
        runs = optimisers.runs_of(data, titles, experiment)
        words = experiment.replace("_", " ")
        step = optimisers.common_step(runs)
        same = optimisers.same_step(runs)
        rows.append((experiment, rf"{words}, $\varepsilon =${plotting.power(step or 0)}", same))
        rows.append((experiment, f"{words}, tuned", optimisers.tuned(runs)))
    rows = [row for row in rows if row[2]]
    figure = plt.figure(figsize=plotting.size(1.75 * max(len(rows), 1) + 0.7, columns=2))
    axes = figure.subplots(max(len(rows), 1), len(COLUMNS), squeeze=False, sharey="row")
    for row, (experiment, _, runs) in zip(axes, rows, strict=False):
        for axis, (name, label) in zip(row, COLUMNS, strict=True):
            optimisers.curves(axis, runs, name, label)
        optimisers.limit_curve(row[-1], data.get(f"{experiment}/limits"))
        row[0].set_ylim(*optimisers.risk_range(runs))
        plotting.risk_labels(row[0].yaxis)
        row[0].set_ylabel("population risk $R$")
    heads = [title if n == 0 else "" for _, title, _ in rows for n in range(len(COLUMNS))]
    plotting.panels(axes.flat, heads)
    shown = [run for _, _, runs in rows for run in runs]
    optimisers.legend(figure, shown, any(name.endswith("/limits") for name in data))
    return figure


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        plt.style.use(snakemake.input.style)
        data = plotting.load(snakemake.input.data, snakemake.params.names)
        plotting.save(draw(data, snakemake.params.titles), snakemake.output)
