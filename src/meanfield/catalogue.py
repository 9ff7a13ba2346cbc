"""Generated pages: all optimisers with their docstrings, hyper-parameters and uses, and the gallery of figures."""

import dataclasses
import inspect
import re
from types import ModuleType

from meanfield import registry
from meanfield.errors import DataError

_INTRODUCTION = """\
# Optimisers

Rendered from the modules of `src/meanfield/methods/` and from `config.yaml` by `python -m meanfield methods`; a test
keeps it current. An entry `method: <name>` selects one. All optimisers compared on one experiment see the same samples
and the same initial weights. The *clock* is the factor by which the step of SGD has to be larger to move alike; a
simulation with `control_of` runs SGD at that step.
"""


def method_page(config: dict) -> str:
    """Return the documentation of every optimiser as Markdown.

    Parameters
    ----------
    config : dict
        Checked configuration, for the entries that use each method.

    """
    modules = {name: registry.load(registry.METHODS, name) for name in registry.METHODS}
    lines = [
        _INTRODUCTION,
        "| method | name | hyper-parameters (default) | cost of an iteration | clock | source |",
        "|---|---|---|---|---|---|",
        *(_row(name, module) for name, module in modules.items()),
    ]
    for name, module in modules.items():
        lines += ["", f"## {module.TITLE}", "", f"`method: {name}`", "", markdown(_prose(module))]
    lines += [
        "",
        "## Where they run",
        "",
        "Entries of each experiment: simulations, sweeps and width studies. The dataset of an entry is",
        "`results/analysis/<experiment>/<entry>.nc`.",
        "",
        "| method | experiment | problem | entries |",
        "|---|---|---|---|",
    ]
    for name in modules:
        for experiment, block in config["experiments"].items():
            entries = _entries(block).get(name, [])
            if entries:
                listed = ", ".join(f"`{entry}`" for entry in entries)
                lines.append(f"| `{name}` | `{experiment}` | `{block['problem']['kind']}` | {listed} |")
    return "\n".join(lines) + "\n"


def _entries(experiment: dict) -> dict[str, list[str]]:
    list_entries = getattr(registry.family(experiment), "method_entries", None)
    return list_entries(experiment) if list_entries else {}


def _row(name: str, module: ModuleType) -> str:
    source, cost = source_and_cost(module)
    cells = [f"`{name}`", module.TITLE, hyperparameters(module), cost, clock(module), source]
    return "| " + " | ".join(markdown(cell).replace("|", r"\|") for cell in cells) + " |"


def _prose(module: ModuleType) -> str:
    return inspect.cleandoc(module.__doc__ or "")


def source_and_cost(module: ModuleType) -> tuple[str, str]:
    """Return what a module's docstring says after ``Source:`` and ``Cost:``; a dash where it says nothing."""
    text = " ".join(_prose(module).split())
    source = re.search(r"Source: (.*?)\.(?: Cost: |$)", text)
    cost = re.search(r"Cost: (.*?)\.?$", text)
    return (source[1] if source else "—"), (cost[1] if cost else "—")


def clock(module: ModuleType) -> str:
    """Return what the docstring of a module's clock says after its colon; a dash where it says nothing."""
    text = " ".join((inspect.getdoc(module.clock) or "").split())
    return text.partition(": ")[2].rstrip(".") or "—"


def hyperparameters(module: ModuleType) -> str:
    """Return the hyper-parameters with their defaults and what the docstring says of them: ranges and units."""
    described = dict(_described(inspect.getdoc(module.Hyperparameters) or ""))
    cells = []
    for field in dataclasses.fields(module.Hyperparameters):
        default = "" if field.default is dataclasses.MISSING else f" ({field.default})"
        cells.append(f"`{field.name}`{default}: {described.get(field.name, '—')}")
    return "<br>".join(cells) or "none"


def _described(doc: str):
    # Names and descriptions of a numpydoc list of parameters; `a, b : int` describes both.
    heading = re.compile(r"^([a-z_]+(?:, [a-z_]+)*) : .*\n((?:    .*\n?)+)", re.MULTILINE)
    for names, text in heading.findall(doc):
        for name in names.split(", "):
            yield name, " ".join(text.split()).rstrip(".")


def markdown(text: str) -> str:
    """Return reStructuredText as Markdown: formulas, literals and paragraphs are all that docstrings here have."""
    paragraphs = []
    for part in re.split(r"\n\s*\n", text):
        display = re.match(r"\.\. math:: (.*)", part, re.DOTALL)
        if display:
            paragraphs.append(f"$$ {' '.join(display[1].split())} $$")
            continue
        inline = re.sub(r":math:`([^`]*)`", r"$\1$", " ".join(part.split()))
        paragraphs.append(inline.replace("``", "`"))
    return "\n\n".join(paragraphs)


# -- the gallery ----------------------------------------------------------------------------------------------------

_BEGIN, _END = "<!-- gallery: begin, made by `python -m meanfield gallery` -->", "<!-- gallery: end -->"


def ordered_figures(config: dict) -> list[str]:
    """Return the names of all figures, numbered ones first."""
    return sorted(config["figures"], key=lambda name: (not name.startswith("fig"), name))


def with_gallery(text: str, config: dict, columns: int = 3) -> str:
    """Return the text of README.md with a current table of pictures between its marks."""
    cells = [f"![{name}](docs/gallery/{name}.png)<br>`{name}`" for name in ordered_figures(config)]
    cells += [""] * (-len(cells) % columns)
    rows = [f"| {' | '.join(cells[n : n + columns])} |" for n in range(0, len(cells), columns)]
    return _between(text, ["|" + " |" * columns, "|" + "---|" * columns, *rows], "README.md")


def with_figure_page(text: str, config: dict) -> str:
    """Return the text of docs/figures.md with a current list of figures between its marks."""
    lines = []
    for name in ordered_figures(config):
        figure = config["figures"][name]
        data = ", ".join(f"`{item}`" for item in figure["data"]) or "nothing"
        lines += [
            f"### {name}",
            "",
            f"{figure['description']} From {data}.",
            "",
            f"```\nsnakemake --cores 8 {name}\n```",
            "",
            f"![{name}](gallery/{name}.png)",
            "",
        ]
    return _between(text, lines[:-1], "docs/figures.md")


def _between(text: str, lines: list[str], name: str) -> str:
    if text.count(_BEGIN) != 1 or text.count(_END) != 1:
        raise DataError(f"{name}: the marks {_BEGIN} and {_END} are missing; each is needed once")
    head, rest = text.split(_BEGIN)
    return "\n".join([f"{head}{_BEGIN}", "", *lines, "", f"{_END}{rest.split(_END)[1]}"])
