"""The page of all optimisers is current, and says of each what a reader needs."""

import dataclasses
import re
from pathlib import Path

import pytest

from meanfield import catalogue, registry
from meanfield import config as configuration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def config():
    return configuration.load_config(ROOT / "config.yaml", schema=ROOT / "schemas/config.schema.yaml")


def test_the_page_of_optimisers_is_current(config):
    page = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    assert page == catalogue.method_page(config), "python -m meanfield methods > docs/methods.md"


def test_the_gallery_shows_every_figure_and_no_other(config):
    readme, page = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/figures.md"))
    assert readme == catalogue.with_gallery(readme, config), "python -m meanfield gallery"
    assert page == catalogue.with_figure_page(page, config), "python -m meanfield gallery"
    for text, folder in ((readme, "docs/gallery"), (page, "gallery")):
        shown = set(re.findall(rf"!\[(\w+)\]\({folder}/(\w+)\.png\)", text))
        assert {(name, name) for name in config["figures"]} <= shown
    pictures = {path.stem for path in (ROOT / "docs/gallery").glob("*.png")}
    assert set(config["figures"]) <= pictures, "snakemake gallery"
    assert {name for name in pictures if name.startswith(("fig", "ext_"))} <= set(config["figures"])


def test_the_page_of_times_lists_every_figure(config):
    page = (ROOT / "docs/times.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| \d+ \| \d+ \| [\d.]+ (?:s|min|h) ", page, re.MULTILINE)
    assert set(listed) == set(config["figures"]), "python -m meanfield times"


@pytest.mark.parametrize("name", registry.METHODS)
def test_every_optimiser_has_equation_ranges_cost_clock_and_source(name):
    module = registry.load(registry.METHODS, name)
    source, cost = catalogue.source_and_cost(module)
    assert len(source) > 10
    assert "gradient" in cost
    assert len(catalogue.clock(module)) > 2
    assert ".. math::" in module.__doc__
    text = catalogue.hyperparameters(module)
    for field in dataclasses.fields(module.Hyperparameters):
        assert f"`{field.name}`" in text
    assert "—" not in text


def test_every_optimiser_is_run_on_every_kind_of_problem_and_every_entry_is_listed(config):
    page = catalogue.method_page(config)
    for name in registry.METHODS:
        for experiment in ("isotropic", "nonmonotone_near", "anisotropic"):
            (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` | `{experiment}` |")]
            assert row.count("`") >= 8
    for experiment, block in config["experiments"].items():
        rows = "".join(line for line in page.splitlines() if f"| `{experiment}` |" in line)
        for part in ("simulate", "sweeps", "widths"):
            for entry in block.get(part, {}):
                if registry.family(block).__name__.endswith("networks"):
                    assert f"`{entry}`" in rows, (experiment, entry)


def test_restructured_text_becomes_markdown():
    text = "First line,\nsecond with ``code`` and :math:`a_1 < \\mu`.\n\n.. math:: x' = x\n          + 1 .\n\nLast."
    assert catalogue.markdown(text) == (
        "First line, second with `code` and $a_1 < \\mu$.\n\n$$ x' = x + 1 . $$\n\nLast."
    )


def test_rows_of_the_table_keep_their_cells(config):
    lines = [line.replace(r"\|", "") for line in catalogue.method_page(config).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {7, 5}


def test_what_a_docstring_does_not_say_is_a_dash():
    class Bare:
        """Nothing much."""

        @dataclasses.dataclass
        class Hyperparameters:
            """One without a word."""

            size: int = 3

        @staticmethod
        def clock(hyperparameters, step_size):
            """Return one."""

    assert catalogue.source_and_cost(Bare) == ("—", "—")
    assert catalogue.clock(Bare) == "—"
    assert catalogue.hyperparameters(Bare) == "`size` (3): —"
