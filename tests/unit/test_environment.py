"""One environment, written down four times: the four agree, and no file names where packages come from."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = ("build.lock", "requirements.lock", "requirements-test.lock", "requirements-cluster.lock")
CONDA_NAMES = {"matplotlib-base": "matplotlib", "snakemake-minimal": "snakemake"}


def pins(name):
    text = (ROOT / "envs" / name).read_text(encoding="utf-8")
    return {name.lower(): Version(version) for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)}


def test_locks_hold_no_address_and_hash_every_package():
    for name in LOCKS:
        text = (ROOT / "envs" / name).read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index" not in text
        for block in re.split(r"\n(?=[\w.-]+==)", text):
            assert "--hash=sha256:" in block, (name, block[:60])


def test_the_lock_has_one_version_of_each_package():
    for name in LOCKS:
        text = (ROOT / "envs" / name).read_text(encoding="utf-8")
        names = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
        assert len(names) == len(set(names)), name


def test_the_lock_satisfies_the_project():
    locked = pins("requirements.lock")
    for line in PROJECT["dependencies"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(locked[requirement.name.lower()]), line
    for extra in ("test", "cluster"):
        added = pins(f"requirements-{extra}.lock")
        for line in PROJECT["optional-dependencies"][extra]:
            requirement = Requirement(line)
            assert requirement.specifier.contains(added[requirement.name.lower()]), line


def test_extras_change_no_version_of_what_users_get():
    locked = pins("requirements.lock")
    for extra in ("test", "cluster"):
        added = pins(f"requirements-{extra}.lock")
        assert {name: added[name] for name in locked} == locked, extra


def test_the_conda_environment_agrees_with_the_lock_and_the_project():
    environment = yaml.safe_load((ROOT / "envs/environment.yaml").read_text(encoding="utf-8"))
    locked = pins("requirements.lock")
    found = set()
    for line in environment["dependencies"]:
        if isinstance(line, dict):
            for requirement in map(Requirement, line["pip"]):
                assert requirement.specifier.contains(locked[requirement.name])
                found.add(requirement.name)
            continue
        name, _, wanted = line.partition(" ")
        if name in ("pip", "setuptools"):
            continue
        if name == "python":
            assert SpecifierSet(wanted) == SpecifierSet(PROJECT["requires-python"])
            continue
        name = CONDA_NAMES.get(name, name)
        assert str(locked[name]).startswith(wanted.removeprefix("=")), line
        found.add(name)
    assert found == {Requirement(line).name.lower() for line in PROJECT["dependencies"]}


def test_the_container_installs_the_same_locks():
    text = (ROOT / "envs/Containerfile").read_text(encoding="utf-8")
    for name in ("build.lock", "requirements.lock"):
        assert f"--require-hashes -r envs/{name}" in text.replace("--no-deps --no-build-isolation ", "")
    version = re.search(r"FROM python:(\d+\.\d+)", text)[1]
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)


def test_versions_agree_everywhere():
    version = PROJECT["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert f"[{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    tested = pins("requirements-test.lock")
    revisions = {hook["repo"].rsplit("/", 1)[-1]: hook.get("rev") for hook in hooks}
    assert revisions["ruff-pre-commit"] == f"v{tested['ruff']}"
    assert revisions["snakefmt"] == f"v{tested['snakefmt']}"
