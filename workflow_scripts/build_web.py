"""Rule build_web: the report as one web page that needs no network: the same text as the printed one, exported as HTML.

Typst exports text, tables, mathematics (MathML) and references; this adds the style, the navigation and the pictures,
each as a data URI, and takes nothing from anywhere else.
"""

import base64
import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

from meanfield import io
from meanfield.errors import DataError
from meanfield.logs import logged_to, logger
from meanfield.typesetting import typeset

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# The page may show its own pictures and run its own lines, and fetch nothing.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


def data_uri(path: Path) -> str:
    """Return a picture as text that stands where its address would."""
    return f"data:{TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def chosen(vector: Path, bitmap: Path, largest_vector: int) -> Path:
    """Return the vector file, or the bitmap if that is smaller and the vector file larger than wanted [bytes]."""
    heavy = vector.stat().st_size > largest_vector and bitmap.stat().st_size < vector.stat().st_size
    return bitmap if heavy else vector


def stand_in(vector: Path) -> bytes:
    """Return an empty drawing with the size and the name of a vector file, for typst to place."""
    head = vector.read_text(encoding="utf-8")[:4000]
    found = re.search(r"<svg\b[^>]*>", head)
    if not found:
        raise DataError(f"{vector}: not an SVG file; delete it and run again")
    size = " ".join(re.findall(r'\b(?:width|height|viewBox)="[^"]*"', found[0]))
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><title>{vector.stem}</title></svg>'.encode()


def part(pattern: str, page: str, what: str) -> re.Match:
    """Return the place of a part of the exported page, which must be there once."""
    found = list(re.finditer(pattern, page, re.DOTALL))
    if len(found) != 1:
        raise DataError(f"report.html: {len(found)} times {what} in what typst exported, one expected")
    return found[0]


def assemble(exported: str, pictures: dict[bytes, Path], style: str, script: str) -> str:
    """Return the whole page.

    Parameters
    ----------
    exported : str
        The page as typst exports it.
    pictures : dict
        The file to show in place of each stand-in.
    style, script : str
        What goes into the head and to the end.

    """
    for drawing, path in pictures.items():
        address = f"data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}"
        if address not in exported:
            logger.info("%s is not in the text", path.stem)
        exported = exported.replace(address, data_uri(path))
    contents = part(r'<nav role="doc-toc">.*?</nav>', exported, "the table of contents")[0]
    figures = part(r'<nav [^>]*class="figures"[^>]*>.*?</nav>', exported, "the list of figures")[0]
    title = html.unescape(part(r"<title>(.*?)</title>", exported, "a title")[1])
    mathematics = part(r"<style>(.*?)</style>", exported, "a style of mathematics")[1]
    body = part(r"<body>(.*)</body>", exported, "a body")[1].replace(contents, "").replace(figures, "")
    body = re.sub(r"<table>.*?</table>", r'<div class="scroll" tabindex="0">\g<0></div>', body, flags=re.DOTALL)
    return f"""<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<style>{mathematics}</style>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#text">Skip to the text</a>
<div class="page">
<aside><details class="menu" open><summary>Contents and figures</summary>
{contents}
{figures}
</details></aside>
<main id="text">{body}</main>
</div>
<dialog id="large"><form method="dialog"><button>Close</button></form></dialog>
<script>{script}</script>
</body>
</html>
"""


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        given = snakemake.input
        vectors = [Path(path) for path in [*given.figures, given.graph]]
        bitmaps = [Path(path) for path in [*given.bitmaps, given.graph_bitmap]]
        drawings = {vector.name: stand_in(vector) for vector in vectors}
        exported = typeset(
            list(given.sources), drawings, {"values.json": given.values, "claims.json": given.claims}, "html"
        )
        pictures = {
            drawings[vector.name]: chosen(vector, bitmap, snakemake.params.largest_vector)
            for vector, bitmap in zip(vectors, bitmaps, strict=True)
        }
        page = assemble(
            exported.decode("utf-8"),
            pictures,
            Path(given.style).read_text(encoding="utf-8"),
            Path(given.script).read_text(encoding="utf-8"),
        )
        io.write_text(page, snakemake.output.page)
        logger.info("%.1f MB", len(page) / 1e6)
