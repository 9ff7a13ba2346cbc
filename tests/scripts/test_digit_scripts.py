"""The digits' scripts: promised dimensions and units, laws that are known beforehand, and what the figures draw."""

import json

import numpy as np
import pytest
import xarray as xr
from conftest import load
from matplotlib.legend import Legend

from meanfield import io, provenance, registry
from meanfield.digit_training import LEVELS, Digits, train
from meanfield.images.sources import Digits as Found
from meanfield.images.sources import File

SETTINGS = {
    "histogram_bins": 12, "dip_draws": 99, "significance": 0.05, "pictures": 2, "mistakes": 3, "plateau_share": 0.1,
}  # fmt: skip
TANH = {"kind": "tanh", "amplitude": 1.0, "gain": 1.0, "shift": 0.0, "offset": 0.0}


@pytest.fixture(scope="module")
def found():
    generator = np.random.default_rng(0)
    kinds = generator.integers(0, 17, (10, 5, 5))
    parts = []
    for count in (150, 60):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.clip(kinds[labels] + generator.integers(-2, 3, (count, 5, 5)), 0, 16).astype(np.uint8)
        parts += [images, labels]
    return Found("uci", *parts, 16, (File("digits.csv.gz", 5, "ab" * 32),), ("mnist: the files are not in /secret",))


def simulated(found, neurons=30, method="sgd", hyperparameters=None, simulation="sgd"):
    parameters = {
        "experiment": "digits", "simulation": simulation, "seed": 3, "activation": TANH,
        "labels": {"rule": "one_digit", "digit": 2}, "initial_law": {"output_scale": 1.0, "weight_scale": 1.0},
        "neurons": neurons,
        "settings": {
            "method": method, "rate": 1.0, "hyperparameters": hyperparameters or {}, "precision": "float64",
        },
        "iterations": 200,
        "records": {
            "per_decade": 3, "first_time": 0.1, "share": 0.1, "free_operations": 1e8, "windows_per_decade": 3,
        },
        "pictures": 2,
    }  # fmt: skip
    digits = Digits(found.train_images, found.train_labels, found.test_images, found.test_labels)
    runs = load("simulate_digits").labelled(train(**parameters, digits=digits, replicates=range(2)), neurons)
    runs = provenance.stamp(runs, title="t", summary="s", rule="r", parameters=parameters, seed=3)
    runs.attrs["meanfield_data"] = json.dumps(load("prepare_digits").identity(found, "auto"))
    return runs


def analysed(found, runs):
    parameters = io.parameters(runs)
    dataset = load("analyse_digits").analyse(runs, load("prepare_digits").labelled(found), SETTINGS, parameters)
    dataset.attrs = {
        "meanfield_parameters": json.dumps({"simulation": parameters}), "meanfield_data": runs.attrs["meanfield_data"],
    }  # fmt: skip
    return dataset


@pytest.fixture(scope="module")
def runs(found):
    return simulated(found)


def test_data_tell_who_they_are_without_a_path(found):
    script = load("prepare_digits")
    dataset = script.labelled(found)
    assert dataset["train_image"].dims == ("train", "row", "column")
    assert dataset["train_image"].dtype == np.uint8
    card = script.identity(found, "auto")
    assert (card["requested"], card["source"], card["train"], card["test"]) == ("auto", "uci", 150, 60)
    assert card["files"] == [{"name": "digits.csv.gz", "bytes": 5, "sha256": "ab" * 32}]
    assert "secret" not in json.dumps(card)


def test_every_variable_has_a_name_and_a_unit(found, runs):
    widths = load("compare_widths").compare([runs, simulated(found, neurons=60)])
    for dataset in (load("prepare_digits").labelled(found), runs, analysed(found, runs), widths):
        for name, variable in dataset.variables.items():
            assert variable.attrs.get("long_name"), name
            assert variable.attrs.get("units"), name


def test_chunks_are_joined_with_their_data(runs, tmp_path):
    for n in range(2):
        io.write_dataset(runs.isel(replicate=slice(n, n + 1)), tmp_path / f"{n}.nc")
    whole = io.read_parts([tmp_path / "0.nc", tmp_path / "1.nc"])
    for name in runs.variables:
        assert whole[name].identical(runs[name]), name
    assert whole.attrs["meanfield_data"] == runs.attrs["meanfield_data"]


def test_an_analysis_reduces_what_it_says(found, runs):
    dataset = analysed(found, runs)
    assert dataset["loss_test_mean"].values == pytest.approx(runs["loss_test"].values.mean(axis=0))
    assert float(dataset["final_error_test_mean"]) == pytest.approx(runs["error_test"].values[:, -1].mean())
    edges = dataset["edge"].values
    assert dataset["histogram"].values @ np.diff(edges) == pytest.approx([1, 1])
    # Answers by hand: digit 2 is the target, and each digit has six test images.
    positive = runs["output_test"].values > 0
    is_two = found.test_labels == 2
    assert dataset["confusion"].values.tolist() == [
        [int((~positive[:, ~is_two]).sum()), int(positive[:, ~is_two].sum())],
        [int((~positive[:, is_two]).sum()), int(positive[:, is_two].sum())],
    ]
    assert float(dataset["positive"][2]) == pytest.approx(positive[:, is_two].mean())
    assert dataset["digit_count"].values.tolist() == [6] * 10
    margin = np.where(is_two, 1, -1) * runs["output_test"].values.mean(axis=0)
    assert dataset["mistake_digit"].values.tolist() == found.test_labels[np.argsort(margin)[:3]].tolist()
    assert int(dataset["evaluations_per_iteration"]) == 1


def test_two_heaps_are_bimodal_and_one_is_not(found, runs):
    generator = np.random.default_rng(6)
    heaps = np.concatenate([generator.normal(-2, 0.4, (2, 200)), generator.normal(2, 0.4, (2, 200))], axis=1)
    script = load("analyse_digits")
    pair = {name: np.asarray(value[1]) for name, value in script.law(heaps, SETTINGS, 1).items()}
    assert pair["modes"].tolist() == [2, 2]
    assert pair["mode"][:, :2] == pytest.approx(np.array([[-2, 2], [-2, 2]]), abs=0.25)
    assert (pair["p_value"] == 0.01).all()  # 1 of 99 + 1
    assert pair["unimodality_rejected"] == 1
    assert (pair["bic_difference"] > 100).all()
    # Two heaps at distance 2 from the centre: kurtosis (16 + 6 * 4 * 0.16 + 3 * 0.0256)/(4.16)^2 = 1.151.
    assert pair["kurtosis"] == pytest.approx([1.151, 1.151], abs=0.03)
    single = {name: np.asarray(value[1]) for name, value in script.law(np.sort(heaps[:, :200]), SETTINGS, 1).items()}
    assert single["unimodality_rejected"] == 0


def laws(samples):
    found = []
    for c in map(np.asarray, samples):
        quantile = np.quantile(c, LEVELS, axis=1).T
        found.append(
            xr.Dataset(
                {"output_weight": (("replicate", "neuron"), c), "weight_quantile": (("replicate", "level"), quantile)},
                attrs={"meanfield_parameters": json.dumps({"neurons": c.shape[1]})},
            )
        )
    return load("compare_widths").compare(found)


def test_distances_between_widths_are_known_for_shifted_laws():
    # Shifts fall like N^(-1/2): 1, 0.3162, 0.1; two replicates are 10 apart. The laws themselves agree up to 1/N.
    sizes = [400, 4_000, 40_000]
    found = laws(np.linspace(-1, 1, n)[None] + 20 / n**0.5 + np.array([[0.0], [10.0]]) for n in sizes)
    assert found["output_distance_within"].values == pytest.approx([10, 10, 10], abs=1e-9)
    assert found["output_distance_expected"].values == pytest.approx([10, 10], abs=1e-9)
    # Pairs of different replicates: the mean of 10 + shift and 10 - shift.
    assert found["output_distance_mean"].values == pytest.approx([10, 10], abs=0.003)
    assert found["output_excess"].values == pytest.approx([0, 0], abs=0.003)
    assert found["narrower"].values.tolist() == sizes[:-1]
    # With one left out of two, nothing tells the distance within a width.
    assert np.isnan(found["output_excess_low"].values).all()


def test_samples_of_one_law_have_no_excess_and_those_of_others_do():
    generator = np.random.default_rng(8)
    sizes = [100, 300, 900]
    one = laws(generator.normal(size=(8, n)) for n in sizes)
    assert (one["output_distance_mean"].values > 0.05).all()
    assert (one["output_excess_low"].values < 0).all()
    assert (one["output_excess_high"].values > 0).all()
    # Shifts by 1 and 0.3 between successive widths.
    other = laws(generator.normal(size=(8, n)) + s for n, s in zip(sizes, (0.0, 1.0, 1.3), strict=True))
    assert other["output_excess"].values[0] == pytest.approx(0.9, abs=0.1)
    assert (other["output_excess_low"].values > 0).all()
    slope = (other["output_excess"].values[1] - other["output_excess"].values[0]) / np.log10(3)
    assert float(other["output_excess_slope"]) == pytest.approx(slope)
    assert float(other["output_excess_slope_high"]) < 0


def test_figures_draw_any_number_of_runs(found, runs):
    small = analysed(found, runs)
    wide = simulated(found, neurons=60)
    widths = load("compare_widths").compare([runs, wide])
    other = analysed(
        found,
        simulated(found, method="mf_homsgld", hyperparameters={"scope": 1.0, "agents": 2}, simulation="mf"),
    )
    data = [small, analysed(found, wide)]
    seven = load("figures/fig07_digit_histograms")
    figure = seven.draw(data, widths, [small, other])
    texts = " ".join(text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text")))
    assert "uci, 150 training and 60 test images of 5 × 5 pixels" in texts
    assert "N = 60" in texts
    assert len(seven.draw(data, widths, []).axes) < len(figure.axes)
    ten = load("figures/fig10_optimisers_digits").draw([small, other])
    titles = [registry.load(registry.METHODS, name).TITLE for name in ("sgd", "mf_homsgld")]
    (legend,) = ten.findobj(Legend)
    assert [text.get_text() for text in legend.get_texts()] == [f"{title}, 1" for title in titles]
    extra = load("figures/ext_digit_weights").draw(small)
    assert sum(len(axis.images) for axis in extra.axes) >= 4 + 3
