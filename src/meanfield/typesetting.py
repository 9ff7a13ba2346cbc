"""Compile the report with typst, in a folder of its own where it finds everything by fixed names."""

import json
import shutil
import tempfile
import warnings
from pathlib import Path

import typst

from meanfield.errors import DataError
from meanfield.logs import logger


def typeset(sources: list[str], figures: dict[str, bytes | str | Path], data: dict[str, str], form: str) -> bytes:
    """Return the compiled report.

    Parameters
    ----------
    sources : list of path
        report.typ, its sections and the bibliography; sections go to sections/.
    figures : dict
        Vector figures by file name: a path, or the content.
    data : dict
        JSON files by the name under which the text reads them.
    form : str
        ``pdf`` or ``html``.

    Raises
    ------
    DataError
        If typst refuses the text.

    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "sections").mkdir()
        (root / "figures").mkdir()
        for source in map(Path, sources):
            shutil.copy(source, root / ("sections" if source.parent.name == "sections" else ".") / source.name)
        for name, figure in figures.items():
            content = figure if isinstance(figure, bytes) else Path(figure).read_bytes()
            (root / "figures" / name).write_bytes(content)
        for name, path in data.items():
            shutil.copy(path, root / name)
        sections = sorted(f"sections/{path.name}" for path in (root / "sections").iterdir())
        (root / "sections.json").write_text(json.dumps(sections), encoding="utf-8")
        try:
            with warnings.catch_warnings(record=True) as raised:
                warnings.simplefilter("always")
                # The fixed timestamp keeps wall-clock time out of the file; system fonts would differ by machine.
                compiler = typst.Compiler(str(root / "report.typ"), root=str(root), ignore_system_fonts=True)
                compiled = compiler.compile(format=form, **({"timestamp": 0} if form == "pdf" else {}))
        except typst.TypstError as error:
            first = str(error.message).splitlines()[0]
            raise DataError(f"report: typst could not compile it: {first} {error.diagnostic or ''}".strip()) from error
        for warning in raised:
            logger.warning("typst: %s", warning.message)
    return compiled
