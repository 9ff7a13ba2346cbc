"""Rule analyse_digits: losses with bands, the law of the weights and its modes, and the mistakes of one classifier."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io, registry
from meanfield.analysis import modality
from meanfield.analysis.intervals import mean_interval
from meanfield.analysis.plateau import plateau, rise
from meanfield.logs import logged_to
from meanfield.problems.digits import targets
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

LARGEST_NUMBER_OF_MODES = 6
_POINTS = 1024  # of a density

CURVES = {
    "loss_train": "mean squared error over the training set",
    "loss_test": "mean squared error over the test set",
    "error_train": "share of training images with the wrong sign",
    "error_test": "share of test images with the wrong sign",
}


def bands(name: str, dims: str, values: np.ndarray, words: str) -> dict:
    """Return the mean over replicates and the ends of its interval as variables."""
    v, found = io.variable, mean_interval(values)
    return {
        f"{name}_mean": v(dims, found.mean, words),
        f"{name}_low": v(dims, found.low, "lower end of its 95 % interval"),
        f"{name}_high": v(dims, found.high, "upper end of its 95 % interval"),
    }


@cache
def _null(size: int, draws: int, seed: int) -> np.ndarray:
    return modality.dip_null(size, draws, seed)


def law(outputs: np.ndarray, settings: dict, seed: int) -> dict:
    """Return histogram, density and modes of the output weights, and the tests of one mode, per replicate."""
    v = io.variable
    reach = 1.05 * np.abs(outputs).max()
    edges = np.linspace(-reach, reach, settings["histogram_bins"] + 1)
    histogram = [np.histogram(row, edges, density=True)[0] for row in outputs]
    null = _null(outputs.shape[1], settings["dip_draws"], seed)
    density = modality.kernel_density(outputs.reshape(-1), _POINTS)
    positions = np.full((len(outputs), LARGEST_NUMBER_OF_MODES), np.nan)
    numbers = {key: [] for key in ("modes", "valley", "kurtosis", "deviation", "dip", "p_value", "bic_difference")}
    for n, row in enumerate(outputs):
        found = modality.modes(modality.kernel_density(row, _POINTS))
        kept = found.position[:LARGEST_NUMBER_OF_MODES]
        positions[n, : len(kept)] = kept
        dip = modality.dip(row)
        centred = row - row.mean()
        values = (
            len(found.position), found.valley, (centred**4).mean() / (centred**2).mean() ** 2, row.std(), dip,
            modality.p_value(dip, null), modality.gaussian_bic_difference(row),
        )  # fmt: skip
        for key, value in zip(numbers, values, strict=True):
            numbers[key].append(float(value))
    words = {
        "modes": "number of modes of the density estimate of the output weights",
        "valley": "lowest density between the two highest modes over the lower of them",
        "kurtosis": "kurtosis of the output weights; 3 for a Gaussian, 1.8 for a uniform law, 1 for two atoms",
        "deviation": "standard deviation of the output weights",
        "dip": "Hartigan's dip of the output weights",
        "p_value": "p-value of the dip test of one mode",
        "bic_difference": "BIC of one Gaussian minus BIC of two; positive speaks for two",
    }
    rejected = float(np.mean(np.array(numbers["p_value"]) < settings["significance"]))
    variables = {
        "histogram": v("replicate bin", histogram, "density of the output weights"),
        "edge": v("edge", edges, "boundary of the bins, output weight"),
        "density_position": v("point", density.position, "output weight"),
        "density": v("point", density.value, "density estimate of the output weights of all replicates"),
        "mode": v("replicate mode", positions, "positions of the modes"),
        "unimodality_rejected": v("", rejected, "share of replicates in which the dip test rejects one mode"),
    }
    for key, values in numbers.items():
        variables[key] = v("replicate", values, words[key])
        variables |= bands(key, "", np.array(values), f"mean of: {words[key]}")
    return variables


def input_law(runs: xr.Dataset) -> dict:
    """Return a density estimate of all input weights and its modes."""
    v = io.variable
    quantiles = runs["weight_quantile"].values
    moments = runs["weight_moment"].values
    try:
        density = modality.kernel_density(quantiles.reshape(-1), _POINTS)
    except ValueError:  # all input weights are equal
        density = modality.Density(np.linspace(-1, 1, _POINTS), np.full(_POINTS, np.nan))
    count = modality.modes(density).position.size if np.isfinite(density.value).all() else 0
    return {
        "weight_position": v("point", density.position, "input weight"),
        "weight_density": v("point", density.value, "density estimate of all input weights"),
        "weight_modes": v("", count, "number of modes of the density estimate of all input weights"),
        **bands("weight_deviation", "", moments[:, 1], "standard deviation of all input weights"),
        **bands("weight_kurtosis", "", moments[:, 2], "kurtosis of all input weights"),
    }


def mistakes(runs: xr.Dataset, digits: xr.Dataset, labels: dict, count: int) -> dict:
    """Return what the outputs say about each digit, and the test images that are most mistaken."""
    v = io.variable
    truth = targets(digits["test_label"].values, **labels)
    outputs = runs["output_test"].values
    digit = digits["test_label"].values
    positive = np.array([[(row[digit == d] > 0).mean() if (digit == d).any() else np.nan for d in range(10)]
                         for row in outputs])  # fmt: skip
    worst = np.argsort(truth * outputs.mean(axis=0), kind="stable")[:count]
    table = [[int(((outputs > 0) == (p > 0))[:, truth == t].sum()) for p in (-1, 1)] for t in (-1, 1)]
    return {
        "positive": v("digit", positive.mean(axis=0), "share of the test images of a digit with a positive output"),
        "digit_count": v("digit", [(digit == d).sum() for d in range(10)], "test images of a digit"),
        "output_by_digit": v(
            "digit",
            [outputs[:, digit == d].mean() if (digit == d).any() else np.nan for d in range(10)],
            "mean output for the test images of a digit",
        ),
        "confusion": v("truth answer", table, "test images of all replicates by target and sign of the output"),
        "mistake_image": v("mistake row column", digits["test_image"].values[worst], "most mistaken test images"),
        "mistake_digit": v("mistake", digit[worst], "their digits"),
        "mistake_output": v("mistake", outputs.mean(axis=0)[worst], "their mean outputs"),
    }


def analyse(runs: xr.Dataset, digits: xr.Dataset, settings: dict, parameters: dict) -> xr.Dataset:
    """Return the reduced dataset of one classifier."""
    v = io.variable
    variables = {}
    for name, words in CURVES.items():
        variables[name] = v("replicate record", runs[name].values, words)
        variables |= bands(name, "record", runs[name].values, words)
        variables[f"{name}_least"] = v("record", runs[name].values.min(axis=0), f"smallest over replicates: {words}")
        variables[f"{name}_largest"] = v("record", runs[name].values.max(axis=0), f"largest over replicates: {words}")
        variables |= bands(f"final_{name}", "", runs[name].values[:, -1], f"{words}, at the end")
        variables[f"final_{name}_each"] = v("replicate", runs[name].values[:, -1], f"{words}, at the end")
    variables |= bands("online_loss", "window", runs["online_loss"].values, runs["online_loss"].attrs["long_name"])
    words = "training loss"
    found = plateau(runs["evaluation"].values, runs["loss_train"].values, settings["plateau_share"])
    variables |= {
        "plateau_loss_train": v("", found.level, f"{words}, averaged over the last half decade of gradients"),
        "plateau_loss_train_start": v("", found.start, f"gradients after which the {words} stays near that level"),
        "plateau_loss_train_exponent": v(
            "", found.exponent, f"power of the gradients with which the {words} goes in the last decade"
        ),
        "plateau_loss_train_exponent_low": v("", found.low, "lower end of its 95 % interval"),
        "plateau_loss_train_exponent_high": v("", found.high, "upper end of its 95 % interval"),
    }
    again = rise(runs["loss_test"].values)
    variables |= {
        "rise_loss_test_mean": v("", again.mean, "test loss at the end by that at its smallest recorded mean"),
        "rise_loss_test_low": v("", again.low, "lower end of its 95 % interval"),
        "rise_loss_test_high": v("", again.high, "upper end of its 95 % interval"),
    }
    variables |= law(runs["output_weight"].values, settings, parameters["seed"])
    variables |= input_law(runs)
    variables |= mistakes(runs, digits, parameters["labels"], settings["mistakes"])
    method = registry.load(registry.METHODS, parameters["settings"]["method"])
    variables |= {
        "picture": v("picture row column", runs["picture"].values[0], runs["picture"].attrs["long_name"]),
        "picture_output": v("picture", runs["picture_output"].values[0], "output weights of these neurons"),
        "active": runs["active"],
        "matched_rate": runs["matched_rate"],
        "neurons": v("", parameters["neurons"], "width N"),
        "evaluations_per_iteration": v(
            "",
            method.evaluations(method.Hyperparameters(**parameters["settings"]["hyperparameters"])),
            "gradient evaluations per iteration",
        ),
    }
    neurons = parameters["neurons"]
    start, end = runs["window_start"].values, runs["window_end"].values
    return xr.Dataset(
        variables,
        coords={
            "replicate": runs["replicate"],
            "iteration": runs["iteration"],
            "evaluation": runs["evaluation"],
            "time": runs["time"],
            "window_time": v("window", np.sqrt(np.maximum(start, 0.5) * end) / neurons, "time k/N within the window"),
            "digit": v("digit", np.arange(10), "digit"),
            "truth": v("truth", [-1, 1], "target"),
            "answer": v("answer", [-1, 1], "sign of the output"),
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        runs = io.read_dataset(snakemake.input.runs)
        io.require(runs, snakemake.input.runs, *CURVES, "output_weight", "weight_quantile", "output_test", "picture")
        digits = io.read_dataset(snakemake.input.digits)
        io.require(digits, snakemake.input.digits, "test_image", "test_label")
        parameters = io.parameters(runs)
        dataset = stamp(
            analyse(runs, digits, snakemake.params.settings, parameters),
            title=f"Analysis of {parameters['experiment']}/{parameters['simulation']}",
            summary="Losses with bands, the law of the weights with its modes, and the mistakes of a digit classifier.",
            rule=snakemake.rule,
            parameters={"simulation": parameters, "analysis": snakemake.params.settings},
            seed=parameters["seed"],
            inputs={"runs": snakemake.input.runs, "digits": snakemake.input.digits},
        )
        dataset.attrs["meanfield_data"] = runs.attrs["meanfield_data"]
        io.write_dataset(dataset, snakemake.output.dataset)
