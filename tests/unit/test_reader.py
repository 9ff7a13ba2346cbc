"""Identity cards, differences and the cost of figures, as a reader sees them at a terminal."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from meanfield import catalogue, figure_times, io, provenance
from meanfield.__main__ import main
from meanfield.errors import DataError
from meanfield.figure_times import Job


def dataset(path, values=(1.0, 2.0, np.nan), *, seed=7, step=0.1, names=("a", "b", "c")):
    v = io.variable
    found = xr.Dataset(
        {"risk": v("record", np.array(values), "population risk"), "count": v("", 3, "how many", "neurons")},
        coords={"record": v("record", np.array(names, dtype=str), "record")},
    )
    parameters = {"settings": {"step_size": step, "method": "sgd"}, "neurons": 40}
    parent = path.parent / "parent.txt"
    parent.write_text("content", encoding="utf-8")
    provenance.stamp(found, title="A run", summary="What it is.", rule="simulate", parameters=parameters, seed=seed,
                     inputs={"digits": parent})  # fmt: skip
    io.write_dataset(found, path)
    return str(path)


@pytest.fixture
def file(tmp_path):
    return dataset(tmp_path / "one.nc")


def test_an_identity_card_says_what_a_dataset_is(file, capsys):
    assert main(["show", file]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    parent = provenance.sha256(file.replace("one.nc", "parent.txt"))
    assert lines[0] == file
    for start, part in (
        ("title", "A run"), ("what", "What it is."), ("made by", "rule simulate, revision "), ("seed", "7"),
        ("with", "numpy "), ("parents", f"digits  SHA-256 {parent[:16]}"), ("axes", "record 3"),
    ):  # fmt: skip
        (line,) = [line for line in lines if line.startswith(start + " ")]
        assert part in line
    assert "risk    (record)  1 to 2  population risk" in text
    assert "how many [neurons]" in text
    assert "  settings:\n    method: sgd\n    step_size: 0.1" in text


def test_equal_files_do_not_differ(file, tmp_path, capsys):
    other = dataset(tmp_path / "two.nc")
    assert main(["diff", file, other]) == 0
    assert capsys.readouterr().out == "the same\n"


def test_differences_are_named_and_measured(file, tmp_path, capsys):
    other = dataset(tmp_path / "two.nc", (1.0, 5.0, 4.0), seed=8, step=0.2, names=("a", "b", "z"))
    assert main(["diff", file, other]) == 1
    lines = capsys.readouterr().out.splitlines()
    # Of two comparable entries one differs by 3: root mean square 3 / sqrt 2, beside sqrt((1 + 25) / 2) of the second.
    relative = (3 / np.sqrt(2)) / np.sqrt(13)
    assert lines == [
        "parameter settings.step_size: 0.1 / 0.2",
        "seed: 7 / 8",
        "variable record: 1 of 3 entries differ",
        "variable risk: 2 of 3 entries differ; "
        f"largest 3, root mean square {3 / np.sqrt(2):.3g}, {relative:.3g} of that of the second; "
        "1 defined in one only",
    ]


def test_other_shapes_and_missing_variables_are_named(file, tmp_path, capsys):
    found = io.read_dataset(file)
    attributes = dict(found.attrs)
    other = found.isel(record=slice(2)).drop_vars("count")
    other.attrs = attributes | {"meanfield_revision": "another"}
    io.write_dataset(other, tmp_path / "two.nc")
    assert main(["diff", file, str(tmp_path / "two.nc")]) == 1
    text = capsys.readouterr().out
    assert "axis record: 3 / 2" in text
    assert "variable count: only in the first" in text
    assert "variable risk: shapes (3,) of ('record',) / (2,) of ('record',)" in text
    assert f"(made differently) revision: {attributes['meanfield_revision']} / another" in text


def test_who_made_a_dataset_does_not_count(file, tmp_path, capsys):
    found = io.read_dataset(file)
    found.attrs["meanfield_revision"] = "another"
    io.write_dataset(found, tmp_path / "two.nc")
    assert main(["diff", file, str(tmp_path / "two.nc")]) == 0
    assert capsys.readouterr().out.endswith("the same, made differently\n")


def broken(tmp_path, kind, good):
    path = tmp_path / f"{kind}.nc"
    if kind == "foreign":
        xr.Dataset({"t": ("x", [1.0])}).to_netcdf(path)
    elif kind == "text":
        path.write_text("not netCDF", encoding="utf-8")
    elif kind == "truncated":
        path.write_bytes(Path(good).read_bytes()[:2000])
    elif kind == "folder":
        path.mkdir()
    return str(path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("folder", "no such file"),
        ("text", "not a readable netCDF-4 file"),
        ("truncated", "cut short"),
        ("foreign", "not a dataset of this project"),
    ],
)
def test_a_file_that_is_not_ours_is_one_clear_line(tmp_path, file, capsys, kind, words):
    path = broken(tmp_path, kind, file)
    for command, status in ((["show", path], 1), (["diff", file, path], 2), (["diff", path, file], 2)):
        assert main(command) == status
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        assert error.startswith(f"error: {path}: ")
        assert words in error


# -- times ----------------------------------------------------------------------------------------------------------

PLAN = """\
Building DAG of jobs...
Job stats:
job        count
total          3

[Sat Nov 28 00:18:43 2026]
rule simulate:
    output: r/simulations/a.nc
    log: logs/a.log
    jobid: 1
    benchmark: {folder}/a.tsv
    resources: tmpdir=/tmp, mem_mb=1000
[Sat Nov 28 00:18:43 2026]
rule solve:
    output: r/simulations/b.nc
    benchmark: {folder}/b.tsv
[Sat Nov 28 00:18:43 2026]
rule other:
    output: r/simulations/c.nc
    benchmark: {folder}/c.tsv

[Sat Nov 28 00:18:43 2026]
rule plot_figure:
    input: r/simulations/a.nc, r/simulations/b.nc, style
    output: r/figures/fig.pdf, r/figures/fig.svg
    benchmark: {folder}/fig.tsv
localrule all:
    input: r/figures/fig.svg, r/simulations/c.nc
Reasons:
    input files: none
"""


def test_a_figure_costs_the_jobs_that_it_needs(tmp_path):
    for name, wall, processor in (("a", 10.0, "8.5"), ("b", 4.0, "4.0"), ("fig", 1.0, "-"), ("c", 99.0, "99.0")):
        (tmp_path / f"{name}.tsv").write_text(f"s\th:m:s\tcpu_time\n{wall}\t0:00:01\t{processor}\n", encoding="utf-8")
    jobs = figure_times.parse_plan(PLAN.format(folder=tmp_path))
    assert [job.rule for job in jobs] == ["simulate", "solve", "other", "plot_figure", "all"]
    assert jobs[3].outputs == ("r/figures/fig.pdf", "r/figures/fig.svg")
    (found,) = figure_times.figure_costs(jobs, ["fig"]).values()
    # Without a processor time on record a job took its own time; the chain is the longest parent and the figure.
    assert found == (3, 3, 15.0, 13.5, 11.0)
    (tmp_path / "b.tsv").unlink()
    assert figure_times.cost(jobs, "r/figures/fig.svg")[:2] == (3, 2)
    row = figure_times.page({"fig": found}).splitlines()[-1]
    assert row == "| `fig` | 3 | 3 | 14 s | 15 s | 11 s |"


def test_what_no_job_makes_and_what_is_no_benchmark_file_is_said(tmp_path):
    jobs = [Job("a", (), ("r/figures/x.svg",), str(tmp_path / "a.tsv"))]
    with pytest.raises(DataError, match=r"y: no job of the plan draws it"):
        figure_times.figure_costs(jobs, ["y"])
    (tmp_path / "a.tsv").write_text("nothing of the kind\n1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.tsv: not a benchmark file"):
        figure_times.figure_costs(jobs, ["x"])


def test_times_are_in_readable_units():
    assert [figure_times.duration(s) for s in (3.2, 600, 7200)] == ["3 s", "10.0 min", "2.0 h"]


# -- the gallery ----------------------------------------------------------------------------------------------------


def test_the_gallery_needs_its_marks():
    config = {
        "figures": {"fig02": {"description": "Two.", "data": ["a/b"]}, "ext_x": {"description": "X.", "data": []}}
    }
    text = f"before\n{catalogue._BEGIN}\nold\n{catalogue._END}\nafter\n"
    page = catalogue.with_figure_page(text, config)
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "old" not in page
    assert page.index("### fig02") < page.index("### ext_x")
    assert "Two. From `a/b`." in page
    assert catalogue.with_figure_page(page, config) == page
    assert "![fig02](docs/gallery/fig02.png)" in catalogue.with_gallery(text, config)
    with pytest.raises(DataError, match=r"README\.md: the marks"):
        catalogue.with_gallery("no marks", config)
