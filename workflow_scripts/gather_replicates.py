"""Rule gather_replicates: join the chunks of one simulation; the result does not depend on how it was cut."""

from typing import TYPE_CHECKING

from meanfield import io
from meanfield.logs import logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        joined = io.read_parts(list(snakemake.input.chunks))
        parameters = io.parameters(joined)
        kept = {name: joined.attrs[name] for name in ("meanfield_inputs", "meanfield_data") if name in joined.attrs}
        # The chunks are no parents by content: how many there are must not show in the result.
        dataset = stamp(
            joined,
            title=joined.attrs["title"],
            summary=f"{joined.attrs['summary']} All replicates.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
        )
        # What each chunk was made from, and on which data, is what the whole was made from.
        dataset.attrs.update(kept)
        io.write_dataset(dataset, snakemake.output.dataset)
