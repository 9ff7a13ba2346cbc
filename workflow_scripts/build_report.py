"""Rule build_report: typeset the report from its sections, the figures, the values and the ledger."""

from pathlib import Path
from typing import TYPE_CHECKING

from meanfield import io
from meanfield.logs import logged_to
from meanfield.typesetting import typeset

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        figures = map(Path, [*snakemake.input.figures, snakemake.input.graph])
        pdf = typeset(
            list(snakemake.input.sources),
            {figure.name: figure for figure in figures},
            {"values.json": snakemake.input.values, "claims.json": snakemake.input.claims},
            "pdf",
        )
        with io.atomic(snakemake.output.report) as temporary:
            temporary.write_bytes(pdf)
