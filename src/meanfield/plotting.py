"""What the figure scripts share: sizes, one colour per meaning, saving without wall-clock facts. Draws no data."""

import json
import string
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from meanfield import io

# Okabe & Ito's palette, safe for colour-blind readers; styles differ too, for readers in grey.
COLOURS = {
    "sgd": "#0072B2",
    "limit": "#D55E00",
    "volume": "#000000",
    "infinite": "#009E73",
    "formula": "#000000",
    "reference": "#7F7F7F",
    "early": "#56B4E9",
    "middle": "#E69F00",
    "final": "#0072B2",
}
# Optimisers: colour, line and marker, so that each is known by any one of them. Dashes are left to the controls.
METHODS = {
    "sgd": ("#0072B2", "-", "o"),
    "heavy_ball": ("#E69F00", (0, (1, 0.8)), "s"),
    "nesterov": ("#009E73", "-", "^"),
    "nesterov_restart": ("#56B4E9", "-.", "v"),
    "mass": ("#CC79A7", "-", "D"),
    "langevin": ("#7A4A21", (0, (3, 1, 1, 1)), "P"),
    "entropy_sgd": ("#8A8A00", (0, (3, 1, 1, 1, 1, 1)), "X"),
    "mf_homsgld": ("#5B3A8E", (0, (6, 1, 1, 1)), "h"),
}
_OTHER_COLOURS = ("#000000", "#B2182B", "#1B7837", "#4D4D4D", "#C51B7D", "#01665E")
_OTHER_LINES = ("-", "-.", (0, (1, 0.8)), (0, (3, 1, 1, 1)))
# An ordered palette for a swept parameter, dark to light: matplotlib's viridis without its palest end.
SEQUENCE = ("#440154", "#3e4989", "#2c728e", "#20a486", "#4ec36b", "#a5cd1d")
MARKERS = ("o", "s", "^", "D", "v", "P")

COLUMN = 3.4  # inches, one column
PAGE = 7.0  # inches, text width


def size(height: float, columns: int = 1) -> tuple[float, float]:
    """Return a figure size in inches for one or two columns."""
    return (COLUMN if columns == 1 else PAGE, height)


def panels(axes: Iterable[Axes], titles: Iterable[str] = (), first: str = "a") -> None:
    """Letter the panels (a), (b), … before their titles."""
    titles = [*titles]
    for n, axis in enumerate(axes):
        title = titles[n] if n < len(titles) else ""
        axis.set_title(rf"$\bf{{{string.ascii_lowercase[string.ascii_lowercase.index(first) + n]}}}$  {title}")


def power(value: float) -> str:
    """Return a number as mathtext in powers of ten, such as 3 × 10⁻⁶; plain where that is shorter."""
    if value == 0:
        return "$0$"
    exponent = int(np.floor(np.log10(abs(value)) + 1e-12))
    if -2 <= exponent <= 3:
        return f"${value:g}$"
    mantissa = value / 10.0**exponent
    factor = "" if abs(mantissa - 1) < 1e-9 else rf"{mantissa:g}\times "
    return rf"${factor}10^{{{exponent}}}$"


def short_log(axis) -> None:
    """Label the decades of a logarithmic axis and nothing between them."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    axis.set_minor_formatter(NullFormatter())


def risk_labels(axis) -> None:
    """Label the decades of a logarithmic axis; where it shows less than two, a few numbers between them."""
    low, high = np.log10(sorted(axis.get_view_interval()))
    decades = np.floor(high + 1e-9) - np.ceil(low - 1e-9) + 1
    short_log(axis)
    if decades > 1:
        return
    axis.set_minor_locator(LogLocator(subs=(2, 5) if decades else (2, 3, 5, 7)))
    axis.set_minor_formatter(FuncFormatter(lambda value, _: power(value)))


def stacked(figure: Figure, place: SubplotSpec, rows: int) -> list[Axes]:
    """Return axes stacked in one place of a figure, sharing the horizontal axis, for laws of unequal height."""
    grid = place.subgridspec(max(rows, 1), 1, hspace=0.08)
    axes = [figure.add_subplot(grid[0])]
    axes += [figure.add_subplot(grid[n], sharex=axes[0]) for n in range(1, rows)]
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    for axis in axes:
        axis.yaxis.set_major_locator(MaxNLocator(2, integer=False, min_n_ticks=2))
    return axes


def snapshot_colour(n: int) -> str:
    """Return the colour of the n-th snapshot of a run."""
    palette = [COLOURS["early"], COLOURS["middle"], COLOURS["final"], *SEQUENCE]
    return palette[n % len(palette)]


def method_style(name: str, others: Sequence[str] = ()) -> dict:
    """Return colour, line and marker of an optimiser; those that have none of their own take the next free ones.

    Parameters
    ----------
    name : str
        Name in the registry.
    others : sequence of str
        Names of the optimisers of a figure, which decide which style is the next free one.

    """
    if name in METHODS:
        colour, line, marker = METHODS[name]
    else:
        n = sorted({*others, name} - set(METHODS)).index(name)
        colour, line = _OTHER_COLOURS[n % len(_OTHER_COLOURS)], _OTHER_LINES[n % len(_OTHER_LINES)]
        marker = "<>*dHp"[n % 6]
    return {"color": colour, "linestyle": line, "marker": marker}


def mixed(colour: str, with_colour: str, share: float) -> str:
    """Return a colour mixed with a share of another one."""
    one, other = np.array(to_rgb(colour)), np.array(to_rgb(with_colour))
    return to_hex((1 - share) * one + share * other)


def band(axis: Axes, x, mean, low, high, **style) -> None:
    """Draw a mean with its interval as a shaded band."""
    (line,) = axis.plot(x, mean, **style)
    if np.isfinite(low).any():
        axis.fill_between(x, low, high, color=line.get_color(), alpha=0.25, linewidth=0)


def load(paths: Iterable[str], names: Iterable[str]) -> dict[str, xr.Dataset]:
    """Return the analysed datasets of a figure by their names in the configuration."""
    return {name: io.read_dataset(path) for name, path in zip(names, paths, strict=True)}


def parameters(dataset: xr.Dataset) -> dict:
    """Return the parameters of the simulation behind an analysed dataset."""
    return json.loads(dataset.attrs["meanfield_parameters"])["simulation"]


def kind(dataset: xr.Dataset) -> str:
    """Return what an analysed dataset is of: simulation, sweep, study, limits, or other."""
    found = json.loads(dataset.attrs["meanfield_parameters"])
    return next((name for name in ("simulation", "sweep", "study", "limits") if name in found), "other")


def data_card(dataset: xr.Dataset) -> dict:
    """Return which data an analysed dataset was computed from; empty for what was not."""
    return json.loads(dataset.attrs.get("meanfield_data", "{}"))


def data_line(dataset: xr.Dataset) -> str:
    """Return one line on the data: source, sizes and the beginning of the first file's checksum."""
    card = data_card(dataset)
    if not card:
        return ""
    return (
        f"data: {card['source']}, {card['train']} training and {card['test']} test images of "
        f"{card['rows']} × {card['columns']} pixels, SHA-256 {card['files'][0]['sha256'][:8]}…"
    )


def footnote(figure: Figure, text: str) -> None:
    """Write a line at the lower left, below everything else."""
    figure.supxlabel(text, x=0.01, ha="left", fontsize=5.5, color="#555555")


def _settle(figure: Figure) -> None:
    # The layout is decided once and rounded: its solver leaves the last bits of the positions to chance, and the names
    # of clip paths in SVG follow those bits. To be called where no layout is the default: even an engine that does
    # nothing has matplotlib draw each format twice.
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    for axis in figure.axes:
        axis.set_position(np.round(axis.get_position(original=True).bounds, 6))


def save(figure: Figure, outputs: Iterable[str | Path]) -> None:
    """Save a figure under each name, by its ending, with nothing in it that changes from run to run."""
    with plt.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        _settle(figure)
        for output in map(Path, outputs):
            metadata = {
                ".pdf": {"CreationDate": None, "ModDate": None},
                ".svg": {"Date": None},
                ".png": {"Software": None},
            }[output.suffix]
            # Drawn in memory: a disk that is full in the middle of a PDF ends in an error of matplotlib's own making.
            drawn = BytesIO()
            figure.savefig(drawn, format=output.suffix[1:], metadata=metadata)
            with io.atomic(output) as temporary:
                temporary.write_bytes(drawn.getbuffer())
    plt.close(figure)
