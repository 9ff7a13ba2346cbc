"""Rule build_report: typeset the report from its sections, the figures and the values."""

import json
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import typst

from meanfield import io
from meanfield.errors import DataError
from meanfield.logs import logged_to, logger

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def typeset(sources: list[str], figures: list[str], values: str, output: str) -> None:
    """Compile the report in a folder of its own, where typst finds sources, figures and values by fixed names.

    Parameters
    ----------
    sources : list of path
        report.typ, its sections and the bibliography; sections go to sections/.
    figures : list of path
        Vector figures.
    values : path
        The numbers of the report, JSON.
    output : path
        The PDF.

    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "sections").mkdir()
        (root / "figures").mkdir()
        for source in map(Path, sources):
            shutil.copy(source, root / ("sections" if source.parent.name == "sections" else ".") / source.name)
        for figure in map(Path, figures):
            shutil.copy(figure, root / "figures" / figure.name)
        shutil.copy(values, root / "values.json")
        sections = sorted(f"sections/{path.name}" for path in (root / "sections").iterdir())
        (root / "sections.json").write_text(json.dumps(sections), encoding="utf-8")
        try:
            with warnings.catch_warnings(record=True) as raised:
                warnings.simplefilter("always")
                # The fixed timestamp keeps wall-clock time out of the file; system fonts would differ by machine.
                compiler = typst.Compiler(str(root / "report.typ"), root=str(root), ignore_system_fonts=True)
                pdf = compiler.compile(format="pdf", timestamp=0)
        except typst.TypstError as error:
            first = str(error.message).splitlines()[0]
            raise DataError(f"report: typst could not compile it: {first} {error.diagnostic or ''}".strip()) from error
        for warning in raised:
            logger.warning("typst: %s", warning.message)
    with io.atomic(output) as temporary:
        temporary.write_bytes(pdf)


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        typeset(
            list(snakemake.input.sources),
            [*snakemake.input.figures, snakemake.input.graph],
            snakemake.input.values,
            snakemake.output.report,
        )
