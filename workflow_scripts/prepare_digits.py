"""Rule prepare_digits: read handwritten digits from the first source that is available, and say which."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.images import sources
from meanfield.logs import logged_to
from meanfield.provenance import canonical_json, stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def labelled(digits: sources.Digits) -> xr.Dataset:
    """Return the images with names and units on every axis."""
    v = io.variable
    return xr.Dataset(
        {
            "train_image": v("train row column", digits.train_images, "grey values of the training images"),
            "train_label": v("train", digits.train_labels, "digit of each training image"),
            "test_image": v("test row column", digits.test_images, "grey values of the test images"),
            "test_label": v("test", digits.test_labels, "digit of each test image"),
            "white": v("", np.int64(digits.white), "largest grey value of the scale"),
        }
    )


def identity(digits: sources.Digits, requested: str) -> dict:
    """Return what every figure and the report tell about the data; no path, no address, no time."""
    return {
        "requested": requested,
        "source": digits.source,
        "train": len(digits.train_labels),
        "test": len(digits.test_labels),
        "rows": digits.train_images.shape[1],
        "columns": digits.train_images.shape[2],
        "files": [file._asdict() for file in digits.files],
    }


if __name__ == "__main__":
    with logged_to(snakemake.log[0]) as logger:
        settings = snakemake.params.parameters
        digits = sources.load(
            settings["source"],
            searched=[Path(folder) for folder in snakemake.params.folders],
            mirrors=settings["mirrors"],
            checksums=settings["checksums"],
            timeout=settings["timeout"],
            test_share=settings["test_share"],
        )
        line = sources.describe(digits)
        logger.info(line)
        print(line, file=sys.stderr)
        dataset = stamp(
            labelled(digits),
            title="Handwritten digits",
            summary="Images of handwritten digits with their labels, split into training and test set.",
            rule=snakemake.rule,
            parameters=settings,
        )
        dataset.attrs["meanfield_data"] = canonical_json(identity(digits, settings["source"]))
        io.write_dataset(dataset, snakemake.output.dataset)
