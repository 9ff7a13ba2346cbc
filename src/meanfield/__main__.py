"""The command line: `python -m meanfield check | run | show | diff | times | archive | verify | parameters | …`.

The workflow does not go through here; this is for a reader at a terminal: one simulation with a progress bar, what a
dataset is, how two differ, what a figure costs, archives, and the generated pages and metadata. `show`, `diff` and
`verify` work anywhere, the others in the project's folder.
"""

import argparse
import importlib.util
import logging
import sys
import tempfile
from pathlib import Path

from meanfield import archive, catalogue, figure_times, metadata, reader, registry, verification, words
from meanfield import config as configuration
from meanfield.errors import ConfigError, DataError, UserError

CONFIG = Path("config.yaml")
SCHEMA = Path("schemas/config.schema.yaml")
SCRIPT = Path("workflow_scripts/simulate_replicates.py")


def _load(overlays: list[str]) -> dict:
    for path in (CONFIG, SCHEMA):
        if not path.is_file():
            raise DataError(f"{path}: no such file here; run this in the project's folder")
    return configuration.load_config(CONFIG, overlays, schema=SCHEMA)


def _check(arguments: argparse.Namespace) -> None:
    config = _load(arguments.configfile)
    print(f"config: fine ({len(config['experiments'])} experiments, {len(config['figures'])} figures)")


def _run(arguments: argparse.Namespace) -> None:
    config = _load(arguments.configfile)
    experiments = config["experiments"]
    if arguments.experiment not in experiments:
        raise ConfigError(f"experiment {arguments.experiment!r} is unknown; known: {', '.join(experiments)}")
    block = experiments[arguments.experiment]
    family = registry.family(block)
    known = block.get("simulate", {})
    if arguments.simulation not in known:
        listed = ", ".join(known) or "none"
        raise ConfigError(f"simulation {arguments.simulation!r} of {arguments.experiment} is unknown; known: {listed}")
    spec = importlib.util.spec_from_file_location("simulate_replicates", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    parameters = family.simulation_parameters(config, arguments.experiment, arguments.simulation)
    sweep = family.tuned_by(arguments.simulation, block)
    tuning = _tuning(config, arguments.experiment, sweep) if sweep else None
    replicates = arguments.replicates or known[arguments.simulation]["replicates"]
    output = arguments.output or f"{arguments.experiment}_{arguments.simulation}.nc"
    script.main(parameters, tuning, range(replicates), arguments.threads, "command line", output)
    print(f"written: {output}")


def _tuning(config: dict, experiment: str, sweep: str) -> str:
    # The analysed sweep that decides the step size: made by the workflow.
    results = config.get("pathvars", {}).get("results", "results")
    path = Path(results, "analysis", experiment, f"{sweep}.nc")
    if not path.is_file():
        raise DataError(f"{path}: no such file, and the simulation is tuned by it; `snakemake {path}` makes it")
    return str(path)


def _methods(arguments: argparse.Namespace) -> None:
    print(catalogue.method_page(_load([])), end="")


def _parameters(arguments: argparse.Namespace) -> None:
    print(configuration.parameter_page(SCHEMA), end="")


def _gallery(arguments: argparse.Namespace) -> None:
    config = _load(arguments.configfile)
    readme = Path("README.md")
    readme.write_text(catalogue.with_gallery(readme.read_text(encoding="utf-8"), config), encoding="utf-8")
    page = Path("docs/figures.md")
    page.write_text(catalogue.with_figure_page(page.read_text(encoding="utf-8"), config), encoding="utf-8")
    print(f"gallery: {len(config['figures'])} figures in {readme} and {page}")


def _show(arguments: argparse.Namespace) -> None:
    for n, path in enumerate(arguments.file):
        print(("\n" if n else "") + reader.identity_card(path))


def _diff(arguments: argparse.Namespace) -> int:
    try:
        found = reader.compare(arguments.first, arguments.second)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in found.differences:
        print(line)
    for line in found.provenance:
        print(f"(made differently) {line}")
    if not found.differences:
        print("the same" + (", made differently" if found.provenance else ""))
    return 1 if found.differences else 0


def _times(arguments: argparse.Namespace) -> None:
    figures = _load(arguments.configfile)["figures"]
    chosen = arguments.figure or list(figures)
    for figure in chosen:
        if figure not in figures:
            raise ConfigError(words.unknown("figure", figure, figures))
    costs = figure_times.figure_costs(figure_times.plan(arguments.configfile), chosen)
    print(figure_times.page(costs), end="")


def _archive(arguments: argparse.Namespace) -> None:
    path, notes = archive.pack(Path(), _load(arguments.configfile), arguments.configfile, arguments.output)
    for note in notes:
        print(note)
    print(f"written: {path} ({path.stat().st_size / 1e6:.1f} MB)")


def _verify(arguments: argparse.Namespace) -> int:
    kept = Path(arguments.keep) if arguments.keep else None
    if kept and kept.exists():
        raise DataError(f"{kept}: exists; --keep needs a folder that does not")
    with verification.open_archive(Path(arguments.archive)) as opened:
        problems = verification.problems(opened)
        for line in problems:
            print(f"error: {line}", file=sys.stderr)
        if problems:
            return 1
        card = verification.read_card(opened)
        chosen = verification.chosen(card, arguments.figure)
        print(f"{archive.MANIFEST}: all {len(opened.infolist()) - 1} files are as listed", flush=True)
        if arguments.check:
            return 0
        with tempfile.TemporaryDirectory(prefix="meanfield-verify-") as temporary:
            folder = kept or Path(temporary, "project")
            rows = verification.rebuild(opened, chosen, folder, deep=arguments.deep, cores=arguments.cores)
        print(f"source: revision {card['revision'][:12]}, by its files")
        print(verification.table(rows))
        differing = any(row.differing for row in rows)
        if differing:
            print(verification.why(rows, verification.other_versions(opened, card)))
        return 1 if differing else 0


def _codemeta(arguments: argparse.Namespace) -> None:
    print(metadata.codemeta_text(Path()), end="")


def _positive(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} found, a whole number of at least 1 needed")
    return number


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m meanfield", description="Mean-field limits, at a terminal.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="check config.yaml and overlays")
    parameters = commands.add_parser("parameters", help="print the page of all parameters, as Markdown")
    methods = commands.add_parser("methods", help="print the page of all optimisers, as Markdown")
    run = commands.add_parser("run", help="run one simulation in the terminal and write its dataset")
    run.add_argument("experiment")
    run.add_argument("simulation")
    run.add_argument("--output", "-o", help="netCDF file to write [EXPERIMENT_SIMULATION.nc]")
    run.add_argument("--replicates", type=_positive, help="number of replicates [that of the configuration]")
    run.add_argument("--threads", type=_positive, default=1, help="replicates run at once [1]")
    show = commands.add_parser("show", help="print the identity card of datasets")
    show.add_argument("file", nargs="+", help="netCDF file of this project")
    diff = commands.add_parser(
        "diff", help="say how two datasets differ; exit status 0: not, 1: they differ, 2: unreadable"
    )
    diff.add_argument("first")
    diff.add_argument("second")
    times = commands.add_parser("times", help="print what figures cost from nothing, by benchmark files")
    times.add_argument("figure", nargs="*", help="name of a figure [all]")
    gallery = commands.add_parser("gallery", help="renew the table of figures in README.md and docs/figures.md")
    pack = commands.add_parser("archive", help="pack source, datasets, figures and report into one file")
    pack.add_argument("--output", "-o", help="zip file to write [meanfield-figures-VERSION-REVISION.zip]")
    verify = commands.add_parser(
        "verify", help="check an archive, rebuild figures from it and compare them; exit status 1: they differ"
    )
    verify.add_argument("archive", help="zip file that `archive` wrote")
    verify.add_argument("figure", nargs="*", help="name of a figure, or `report` [all]")
    verify.add_argument("--check", action="store_true", help="compare with the manifest only; runs nothing")
    verify.add_argument("--deep", action="store_true", help="simulate and analyse anew too, and compare the datasets")
    verify.add_argument("--cores", default="all", help="cores for rebuilding [all]")
    verify.add_argument("--keep", metavar="FOLDER", help="rebuild in this new folder and leave it")
    codemeta = commands.add_parser("codemeta", help="print codemeta.json, from CITATION.cff and pyproject.toml")
    for command, action in (
        (parameters, _parameters), (methods, _methods), (codemeta, _codemeta),
        (show, _show), (diff, _diff), (verify, _verify),
    ):  # fmt: skip
        command.set_defaults(action=action)
    for command, action in (
        (check, _check), (run, _run), (times, _times), (gallery, _gallery), (pack, _archive),
    ):  # fmt: skip
        command.add_argument("--configfile", nargs="+", default=[], help="overlays of config.yaml")
        command.set_defaults(action=action)
    arguments = parser.parse_args(argv)
    logger = logging.getLogger("meanfield")
    logger.setLevel(logging.INFO)
    handler = logging.NullHandler() if sys.stderr.isatty() else logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    try:
        return arguments.action(arguments) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    finally:
        logger.removeHandler(handler)


if __name__ == "__main__":
    sys.exit(main())
