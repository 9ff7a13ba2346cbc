"""Rule simulate_digits: train some replicates of a classifier of handwritten digits."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import checkpoints, io
from meanfield.digit_training import LEVELS, Digits, Runs, train
from meanfield.logs import Progress, logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def labelled(found: Runs, neurons: int) -> xr.Dataset:
    """Return the records with names and units on every axis."""
    v = io.variable

    def each(name: str) -> np.ndarray:
        return np.array([getattr(run, name) for run in found.runs])

    return xr.Dataset(
        {
            "loss_train": v("replicate record", each("loss_train"), "mean squared error over the training set"),
            "loss_test": v("replicate record", each("loss_test"), "mean squared error over the test set"),
            "error_train": v("replicate record", each("error_train"), "share of training images with the wrong sign"),
            "error_test": v("replicate record", each("error_test"), "share of test images with the wrong sign"),
            "online_loss": v(
                "replicate window", each("online_loss"), "mean squared error of the samples before their own iterations"
            ),
            "output_weight": v("replicate neuron", each("output_weight"), "output weight c at the end"),
            "weight_quantile": v(
                "replicate level", each("weight_quantile"), "quantile of all input weights at the end"
            ),
            "weight_moment": v(
                "replicate moment", each("weight_moments"), "mean, deviation and kurtosis of all input weights"
            ),
            "picture": v(
                "replicate picture row column",
                each("picture"),
                "input weights of the neurons with the largest and with the smallest output weights",
            ),
            "picture_output": v("replicate picture", each("picture_output"), "output weights of these neurons"),
            "output_test": v("replicate test", each("output_test"), "output for each test image at the end"),
            "matched_rate": v("", found.matched_rate, "rate of the SGD that moves alike for slowly varying gradients"),
            "active": v("row column", found.active.astype(np.int8), "whether the pixel varies over the images"),
        },
        coords={
            "replicate": v("replicate", found.replicate, "index of the replicate"),
            "iteration": v("record", found.iteration, "iteration"),
            "evaluation": v("record", found.evaluation, "gradient evaluations so far"),
            "time": v("record", found.evaluation / neurons, "gradient evaluations over neurons; time k/N for SGD"),
            "window_start": v("window", found.window[:-1], "first iteration of the window"),
            "window_end": v("window", found.window[1:], "iteration after the last of the window"),
            "level": v("level", LEVELS, "level of the quantile"),
            "moment": v("moment", np.array(["mean", "deviation", "kurtosis"]), "name of the moment"),
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        replicates = range(*snakemake.params.replicates)
        path = snakemake.input.digits
        data = io.read_dataset(path)
        io.require(data, path, "train_image", "train_label", "test_image", "test_label")
        digits = Digits(*(data[name].values for name in ("train_image", "train_label", "test_image", "test_label")))
        name = f"{parameters['experiment']}/{parameters['simulation']}"
        progress = Progress(
            parameters["iterations"] * len(replicates), f"{name} replicates {replicates.start}-{replicates.stop - 1}"
        )
        checkpoint = checkpoints.of_job(snakemake)
        runs = train(**parameters, digits=digits, replicates=replicates, progress=progress, checkpoint=checkpoint)
        progress.close()
        dataset = stamp(
            labelled(runs, parameters["neurons"]),
            title=f"Simulation {name}",
            summary="Losses, errors and final weights of a classifier of handwritten digits.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
            inputs={"digits": path},
        )
        dataset.attrs["meanfield_data"] = data.attrs["meanfield_data"]
        io.write_dataset(dataset, snakemake.output.dataset)
        checkpoint.remove()
