"""What the profiles for clusters rely on, read from their files and from the rules."""

import re

import yaml
from conftest import ROOT, load

RULES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "rules").glob("*.smk")))


def profile(name):
    return yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text(encoding="utf-8"))


def test_both_profiles_group_jobs_alike():
    for key in ("groups", "group-components", "resources", "set-resource-scopes", "retries", "default-resources"):
        assert profile("slurm")[key] == profile("pbs")[key], key


def test_the_groups_name_rules_that_exist():
    rules = set(re.findall(r"^rule (\w+):", RULES, re.MULTILINE))
    groups = dict(entry.split("=") for entry in profile("slurm")["groups"])
    assert set(groups) <= rules
    assert {entry.split("=")[0] for entry in profile("slurm")["group-components"]} <= set(groups.values())


def test_every_request_grows_with_each_attempt():
    asked = re.findall(r"^        (?:mem_mb|runtime)=(.*),$", RULES, re.MULTILINE)
    assert len(asked) > 60
    assert [value for value in asked if not value.startswith("growing(")] == []


def test_measured_jobs_are_compared_with_what_their_rules_ask_for(tmp_path, monkeypatch, capsys):
    measured = load("measured", "profiles")
    for name, seconds, memory in (("a", "2.0", "100.5"), ("b", "4.0", "NA")):
        file = tmp_path / f"gather_replicates/{name}.tsv"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"s\tmax_rss\n{seconds}\t{memory}\n", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["measured.py", str(tmp_path)])
    measured.main()
    assert "| `gather_replicates` | 2 | 3 s | 4 s | 10 min | 100 MB | 1500 MB |" in capsys.readouterr().out
