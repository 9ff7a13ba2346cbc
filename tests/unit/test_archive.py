"""Archives of a small made-up project: what is packed, and what a reader refuses."""

import hashlib
import json
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from meanfield import archive, checkout, figure_times, verification
from meanfield.__main__ import main
from meanfield.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"figures": {"fig01": {"description": "One."}}}
FILES = ("results/figures/fig01.pdf", "results/analysis/a/b.nc", "results/report/values.json")


def git(folder, *arguments):
    settings = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A checkout with a script that may be executed, and results beside it that git ignores; tests only read it."""
    folder = tmp_path_factory.mktemp("template") / "tree"
    folder.mkdir()
    (folder / "Snakefile").write_text("rule all:\n")
    (folder / "CITATION.cff").write_bytes((ROOT / "CITATION.cff").read_bytes())
    (folder / ".gitignore").write_text("results/*\n!results/README.md\n")
    (folder / "envs").mkdir()
    (folder / "envs/requirements.lock").write_text("numpy==0.0.1 \\\n    --hash=sha256:0\nno-such-package==1\n")
    (folder / "results").mkdir()
    (folder / "results/README.md").write_text("generated\n")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "one")
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 100)
    values = {"provenance": {"versions": {"python": "3.11.2", "numpy": "2.4.0"}, "revisions": ["0123456789ab"]}}
    (folder / "results/report/values.json").write_text(json.dumps(values))
    return folder


@pytest.fixture
def tree(template, tmp_path):
    return Path(shutil.copytree(template, tmp_path / "tree"))


def packed(tree, path, overlays=()):
    commit = checkout.committed(tree, tuple(overlays))
    members = archive.members(tree, CONFIG, list(overlays), list(FILES), commit)
    archive.write(path, members, checkout.commit_time(commit.text))
    return path


@pytest.fixture(scope="module")
def good(template):
    return packed(template, template.parent / "good.zip")


def changed(good, path, replace=None, leave_out=(), extra=()):
    """Write an archive again with members replaced (None: damaged in place), left out or added."""
    replace = replace or {}
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            if info.filename not in leave_out:
                target.writestr(info, replace.get(info.filename, source.read(info)))
        for info, content in extra:
            target.writestr(info, content)
    return path


def refusal(path):
    with pytest.raises(DataError) as error:
        verification.open_archive(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_archive_holds_source_results_and_what_describes_them(good, template):
    with zipfile.ZipFile(good) as opened:
        names = opened.namelist()
        assert names == sorted(names)
        assert {*FILES, "Snakefile", "results/README.md", "archive.json", "git-commit.txt"} < set(names)
        assert not [name for name in names if name.startswith(".git/")]
        modes = {info.filename: stat.S_IMODE(info.external_attr >> 16) for info in opened.infolist()}
        assert (modes["run"], modes["Snakefile"]) == (0o755, 0o644)
        assert len({info.date_time for info in opened.infolist()}) == 1
        card = json.loads(opened.read("archive.json"))
        text = b"".join(opened.read(name) for name in ("archive.json", "ro-crate-metadata.json"))
    assert card["revision"] == git(template, "rev-parse", "HEAD")
    assert card["versions"]["numpy"] == "2.4.0"
    assert str(template.parent).encode() not in text


def test_the_same_inputs_give_the_same_bytes(good, tree, tmp_path):
    for path in tree.rglob("*.nc"):
        path.touch()
    assert packed(tree, tmp_path / "again.zip").read_bytes() == good.read_bytes()


def test_the_manifest_is_one_that_sha256sum_reads(good, tmp_path):
    with zipfile.ZipFile(good) as opened:
        opened.extractall(tmp_path / "out")
    lines = (tmp_path / "out/manifest-sha256.txt").read_text().splitlines()
    for line in lines:
        digest, name = line.split("  ", 1)
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(lines) == len(files) - 1


def test_the_crate_describes_every_file_and_the_workflow(good):
    with zipfile.ZipFile(good) as opened:
        crate = json.loads(opened.read("ro-crate-metadata.json"))
        names = set(opened.namelist())
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    descriptor, root = entities["ro-crate-metadata.json"], entities["./"]
    assert descriptor["about"] == {"@id": "./"}
    assert {"@id": "https://w3id.org/ro/crate/1.1"} in descriptor["conformsTo"]
    assert {"name", "description", "datePublished", "license"} < set(root)
    assert {part["@id"] for part in root["hasPart"]} == names - {"ro-crate-metadata.json", "manifest-sha256.txt"}
    main = entities[root["mainEntity"]["@id"]]
    assert main["@type"] == ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    assert entities["results/figures/fig01.pdf"]["description"] == "One."
    assert entities["#numpy"]["version"] == "2.4.0"

    def references(value):
        if isinstance(value, dict):
            if set(value) == {"@id"}:
                yield value["@id"]
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    dangling = {one for one in references(crate["@graph"]) if one not in entities}
    assert all(one.startswith("https://") for one in dangling), dangling


def test_a_changed_or_untracked_file_is_refused_by_name(tree):
    (tree / "mine.yaml").write_text("seed: 1\n")  # beside the folders: no part of the build
    checkout.committed(tree)
    (tree / "envs/new.py").write_text("")
    with pytest.raises(DataError, match=r"differs from its commit: envs/new\.py; commit or remove"):
        checkout.committed(tree)
    checkout.committed(tree, ("envs/new.py",))
    (tree / "Snakefile").write_text("rule other:\n")
    with pytest.raises(DataError, match="Snakefile"):
        checkout.committed(tree, ("envs/new.py",))


def test_a_folder_without_git_has_no_revision(tmp_path):
    with pytest.raises(DataError, match="not a git checkout"):
        checkout.committed(tmp_path)


def test_a_missing_result_is_refused_and_nothing_is_written(tree, tmp_path):
    (tree / "results/report/values.json").write_text("[]")
    with pytest.raises(DataError, match=r"values\.json: missing or damaged"):
        packed(tree, tmp_path / "x.zip")
    (tree / "results/analysis/a/b.nc").unlink()
    with pytest.raises(DataError, match=r"results/analysis/a/b\.nc: missing; build"):
        packed(tree, tmp_path / "x.zip")
    assert not list(tmp_path.glob("*x.zip*"))


def test_stale_results_are_refused_with_what_would_run():
    archive.require_current([figure_times.Job("all", ("x",), (), None)])
    with pytest.raises(DataError, match=r"2 jobs would run \(plot_figure, solve_limit\)"):
        archive.require_current([figure_times.Job(rule, (), ("x",), None) for rule in ("solve_limit", "plot_figure")])


def test_parts_and_data_of_others_stay_out():
    outputs = ("results/data/digits.nc", "results/simulations/a/sgd/0.nc", "results/simulations/a/sgd.nc", "docs/x")
    jobs = [figure_times.Job("rule", (), outputs, "results/benchmarks/rule/a.tsv")]
    assert archive.result_files(jobs, "results") == ["results/benchmarks/rule/a.tsv", "results/simulations/a/sgd.nc"]


def test_an_overlay_from_elsewhere_is_packed_too(tree, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("seed: 1\n")
    with verification.open_archive(packed(tree, tmp_path / "x.zip", [str(overlay)])) as opened:
        assert opened.read("overlays/mine.yaml") == b"seed: 1\n"
        assert verification.read_card(opened)["overlays"] == ["overlays/mine.yaml"]
        assert verification.problems(opened) == []


def test_a_restored_folder_answers_git_as_the_checkout_did(good, tree, tmp_path):
    describe = ("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    folder = tmp_path / "restored"
    with verification.open_archive(good) as opened:
        source = ["Snakefile", "CITATION.cff", ".gitignore", "envs/requirements.lock", "run", "results/README.md"]
        verification.unpack(opened, source, folder, 1e9)
        commit, revision = opened.read("git-commit.txt"), verification.read_card(opened)["revision"]
    checkout.restore(folder, revision, commit)
    assert git(folder, *describe) == git(tree, *describe) == revision[:12]
    (folder / "run").write_text("echo changed\n")
    assert git(folder, *describe).endswith("-dirty")
    with pytest.raises(DataError, match="the source is not that of revision"):
        checkout.restore(folder, revision, commit)


def test_each_file_that_is_missing_extra_or_different_is_named(good, tmp_path):
    path = changed(
        good, tmp_path / "x.zip", {"Snakefile": b"rule evil:\n"}, leave_out=["run"], extra=[("more.txt", b"")]
    )
    with verification.open_archive(path) as opened:
        assert verification.problems(opened) == [
            "run: missing",
            "more.txt: extra, not in manifest-sha256.txt",
            "Snakefile: differs from manifest-sha256.txt",
        ]


def test_a_flipped_byte_is_found(good, tmp_path, capsys):
    content = good.read_bytes()
    at = content.index(b"results/analysis/a/b.ncresults") + 40
    path = tmp_path / "x.zip"
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert main(["verify", str(path), "--check"]) == 1
    assert capsys.readouterr().err == "error: results/analysis/a/b.nc: damaged\n"
    assert main(["verify", str(good), "--check"]) == 0


def test_what_is_no_archive_is_refused(good, tmp_path):
    path = tmp_path / "x.zip"
    assert "no such file" in refusal(path)
    path.write_bytes(b"PDF")
    assert "not a complete zip file" in refusal(path)
    path.write_bytes(good.read_bytes()[:-100])
    assert "not a complete zip file" in refusal(path)
    with zipfile.ZipFile(path, "w") as empty:
        empty.writestr("a", b"")
    with (
        verification.open_archive(path) as opened,
        pytest.raises(DataError, match="missing or damaged: not an archive"),
    ):
        verification.problems(opened)


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/../../x", "a//b", "./a", "a\\..\\b", "C:/x", "a\nb", "a/", ".GIT/hooks/x"]
)
def test_names_that_lead_elsewhere_are_refused(good, tmp_path, name):
    assert "refused" in refusal(changed(good, tmp_path / "x.zip", extra=[(zipfile.ZipInfo(name), b"x")]))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFDIR])
def test_links_and_devices_are_refused(good, tmp_path, kind):
    info = zipfile.ZipInfo("x")
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    assert "not a plain file" in refusal(changed(good, tmp_path / "x.zip", extra=[(info, b"/etc/passwd")]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_overwrite_each_other_are_refused(good, tmp_path):
    assert "'SNAKEFILE' is there twice" in refusal(changed(good, tmp_path / "x.zip", extra=[("SNAKEFILE", b"")]))
    assert "twice" in refusal(changed(good, tmp_path / "y.zip", extra=[("Snakefile", b"")]))
    assert "a folder that is a file" in refusal(changed(good, tmp_path / "z.zip", extra=[("run/x", b"")]))


def test_a_bomb_is_refused(good, tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "_LARGEST_BASE", 1 << 20)
    bomb = zipfile.ZipInfo("bomb")
    bomb.compress_type = zipfile.ZIP_DEFLATED
    assert "unpacks to" in refusal(changed(good, tmp_path / "x.zip", extra=[(bomb, bytes(1 << 24))]))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, "format: 2 found"),
        ("figures", [], "figures: list found, mapping needed"),
        ("revision", "main", "a full revision needed"),
        ("overlays", ["../x.yaml"], "is not in the archive"),
        ("results", "..", "no file of the archive lies in"),
    ],
)
def test_a_card_that_is_not_ours_is_refused(good, tmp_path, key, value, message):
    with zipfile.ZipFile(good) as opened:
        card = json.loads(opened.read("archive.json"))
    path = changed(good, tmp_path / "x.zip", {"archive.json": json.dumps({**card, key: value}).encode()})
    with verification.open_archive(path) as opened, pytest.raises(DataError, match=message):
        verification.read_card(opened)


def test_an_unknown_figure_is_answered_with_the_known_ones(good, capsys):
    assert main(["verify", str(good), "fig1", "--check"]) == 1
    assert "'fig1' found (did you mean 'fig01'?); known: fig01, report" in capsys.readouterr().err


def test_other_versions_than_the_locked_ones_are_told(good):
    with verification.open_archive(good) as opened:
        (numpy, *_) = verification.other_versions(opened, verification.read_card(opened))
    assert numpy.startswith("numpy ")
    assert numpy.endswith("(locked: 0.0.1)")
    rows = [verification.Row("fig01", [], ["a.png: differs from byte 3 on"])]
    assert verification.why(rows, [numpy]).startswith(
        "1 files differ: other versions than the archive's may be why: numpy"
    )
    assert "another kind of processor" in verification.why(rows, [])
    rows = [verification.Row("datasets", [], ["a.nc: the same values, made differently (revision: a / b)"])]
    assert "no value does, only who made them" in verification.why(rows, [])


def test_the_table_says_which_files_differ():
    rows = [
        verification.Row("fig01", ["a.pdf", "a.svg"], ["a.png: not rebuilt"]),
        verification.Row("datasets", [f"{n}.nc" for n in range(9)], []),
    ]
    assert verification.table(rows).splitlines() == [
        "fig01     identical  pdf svg",
        "fig01     DIFFERS    a.png: not rebuilt",
        "datasets  identical  9 files",
    ]
