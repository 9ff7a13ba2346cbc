"""The overlay of many replicates: valid, complete, and planned with the chunks that were asked for."""

import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, load

from meanfield import config as checking

SCRIPT = ROOT / "profiles/more_replicates.py"


def test_every_simulation_gets_the_replicates_and_the_chunks(tmp_path, configuration):
    script = load("more_replicates", "profiles")
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(script.overlay(configuration, 3000, 250)), encoding="utf-8")
    config = check(tmp_path / "more.yaml")
    found = list(script.simulations(config))
    assert len(found) > 100
    assert {settings["replicates"] for *_, settings in found} == {3000}
    assert {settings.get("replicates_per_job", config["replicates_per_job"]) for *_, settings in found} == {250}


def check(overlay):
    return checking.load_config(ROOT / "config.yaml", [overlay], schema=ROOT / "schemas/config.schema.yaml")


def test_the_cost_is_that_of_the_benchmark_files(tmp_path, configuration):
    script = load("more_replicates", "profiles")
    replicates = configuration["experiments"]["isotropic"]["simulate"]["sgd"]["replicates"]
    folder = tmp_path / "simulate_replicates/isotropic/sgd"
    folder.mkdir(parents=True)
    for chunk in range(2):
        (folder / f"{chunk}.tsv").write_text("s\tmax_rss\n30.0\t5\n", encoding="utf-8")
    taken = script.seconds_per_replicate(configuration, tmp_path)
    assert taken == {("isotropic", "sgd"): pytest.approx(60 / replicates)}


@pytest.mark.parametrize("arguments", [[], ["3"], ["0", "1"], ["ten", "1"], ["1", "2", "3", "4"]])
def test_a_wrong_call_is_refused_in_a_line(arguments):
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode
    assert done.stderr.startswith("usage: ")
    assert not done.stdout
