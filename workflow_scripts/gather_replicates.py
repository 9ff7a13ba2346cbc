"""Rule gather_replicates: join the chunks of one simulation; the result does not depend on how it was cut."""

from typing import TYPE_CHECKING

import xarray as xr

from meanfield import io
from meanfield.errors import DataError
from meanfield.logs import logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def gather(paths: list[str]) -> xr.Dataset:
    """Return the chunks joined along the replicates."""
    parts = [io.read_dataset(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        io.require(part, path, "replicate", "iteration")
        if part.attrs["meanfield_parameters"] != parts[0].attrs["meanfield_parameters"]:
            raise DataError(f"{path}: made with other parameters than {paths[0]}; delete it and run again")
    return xr.concat(parts, dim="replicate", data_vars="minimal", coords="minimal", compat="equals", join="exact")


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        paths = list(snakemake.input.chunks)
        joined = gather(paths)
        parameters = io.parameters(joined)
        kept = {name: joined.attrs[name] for name in ("meanfield_inputs", "meanfield_data") if name in joined.attrs}
        # The chunks are no parents by content: how many there are must not show in the result.
        dataset = stamp(
            joined,
            title=f"Simulation {parameters['experiment']}/{parameters['simulation']}",
            summary="All replicates of one simulation.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
        )
        # What each chunk was made from, and on which data, is what the whole was made from.
        dataset.attrs.update(kept)
        io.write_dataset(dataset, snakemake.output.dataset)
