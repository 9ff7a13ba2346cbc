"""Validation of the configuration and input functions; no rule lives here."""

import functools
import hashlib
import os
import sys
from pathlib import Path

from meanfield import config as configuration
from meanfield import caches, forks, ledger, locks, registry
from meanfield import workflow as wf
from meanfield.errors import ConfigError
from meanfield.families import (
    digits,
    fluctuations,
    multiscale,
    networks,
    noisy,
    plane,
    sampling,
    spin3,
    statics,
)
from meanfield.families.common import chunks
from meanfield.families.common import simulation_chunks as chunks_of
from meanfield.images import sources

for _name, _value in wf.KEEP_FREED.items():
    os.environ.setdefault(_name, _value)

FORMATS = ("pdf", "svg", "png")
ROOT = Path(workflow.basedir)
SOURCE = ROOT / "src"


def refuse(lines):
    """Stop before any job starts, with the given lines and no traceback."""
    print(f"error: {lines}", file=sys.stderr)
    sys.exit(1)


def checked(settings):
    """Return the configuration without null entries, or stop with one line per problem."""
    try:
        return configuration.check(settings, ROOT / "schemas/config.schema.yaml")
    except ConfigError as error:
        refuse(str(error))


config = checked(config)
if locks.lift_stale_locks():
    print("lifted the locks of a run that was killed", file=sys.stderr)


KERNEL_GROUPS = {
    **dict.fromkeys(("simulate_replicates", "simulate_sweep", "simulate_widths"), ("networks", "limits")),
    **dict.fromkeys(("simulate_ensemble", "simulate_noisy", "find_ends"), ("networks", "limits")),
    **dict.fromkeys(("solve_limit", "solve_convergence", "solve_fluctuations"), ("limits",)),
    **dict.fromkeys(("find_stationary_laws", "compare_movements"), ("limits",)),
    **dict.fromkeys(("simulate_spin3", "solve_spin3", "analyse_spin3", "tune_spin3"), ("spin3",)),
    **dict.fromkeys(("simulate_digits", "analyse_digits"), ("digits",)),
    **dict.fromkeys(("simulate_plane", "survey_plane", "vary_plane"), ("plane",)),
}
# Where an experiment says the precision of a job, by what runs it.
PRECISIONS = {
    "simulate_replicates": lambda block, job: block["simulate"][job.wildcards.simulation],
    "simulate_digits": lambda block, job: block["simulate"][job.wildcards.simulation],
    "simulate_spin3": lambda block, job: block["simulate"][job.wildcards.simulation],
    "simulate_sweep": lambda block, job: block["sweeps"][job.wildcards.sweep],
    "simulate_widths": lambda block, job: block["widths"][job.wildcards.study],
    "find_ends": lambda block, job: block["ends"]["sgd"],
    "simulate_ensemble": lambda block, job: block,
    "simulate_noisy": lambda block, job: block["simulate"],
}
SOLVER_MODULES = tuple(registry.module_name(registry.SOLVERS, name) for name in registry.SOLVERS)


def growing(amount):
    """Return a request that grows with each attempt, so that a job which ran out of memory or time gets more of it."""

    def asked(wildcards, attempt):
        return attempt * (amount(wildcards) if callable(amount) else amount)

    return asked


def experiments_of(family):
    """Return the names of the experiments that belong to a family."""
    return [name for name, block in config["experiments"].items() if registry.family(block) is family]


def one_of(names):
    """Return a closed regular expression of names."""
    return "|".join(sorted(names)) or "none"


def names_under(part, experiments=None):
    """Return the names of all entries of a part, such as the simulations, of all experiments or of some."""
    chosen = config["experiments"] if experiments is None else experiments
    return {entry for name in chosen for entry in config["experiments"][name].get(part, {})}


NETWORKS = experiments_of(networks)
DIGITS = experiments_of(digits)
PLANES = experiments_of(plane)
SAMPLINGS = experiments_of(sampling)
MULTISCALES = experiments_of(multiscale)
FLUCTUATIONS = experiments_of(fluctuations)
NOISY = experiments_of(noisy)
ISOTROPIC = [name for name in NETWORKS if config["experiments"][name]["problem"]["kind"] == "isotropic_gaussians"]
ANISOTROPIC = [name for name in NETWORKS if name not in ISOTROPIC]
SPIN3 = experiments_of(spin3)
STATICS = experiments_of(statics)


def statics_of(kind):
    """Return the names of the experiments with rotation-invariant laws whose problem is of a kind."""
    return [name for name in STATICS if config["experiments"][name]["problem"]["kind"] == kind]


@functools.cache  # every job of a rule asks for it, and parsing the sources once is enough
def code(script, modules=()):
    """Return the digest of a script and of what it imports, for `params`."""
    return wf.code_digest(ROOT / "workflow_scripts" / script, modules, source=SOURCE)


def kernel_groups(jobs):
    """Return the groups of kernels that some jobs call, see `meanfield.warm_up`."""
    return sorted({group for job in jobs for group in KERNEL_GROUPS.get(job.rule.name, ())})


def precisions(jobs):
    """Return the precisions of the simulations among some jobs."""
    blocks = config["experiments"]
    settings = [
        PRECISIONS[job.rule.name](blocks[job.wildcards.experiment], job) for job in jobs if job.rule.name in PRECISIONS
    ]
    return sorted({one.get("precision", "float64") for one in settings})


def simulation_chunks(wildcards):
    """Return the chunks of one simulation, in the order of their replicates."""
    parts = chunks_of(config, wildcards.experiment, wildcards.simulation)
    return collect(
        "<results>/simulations/{experiment}/{simulation}/{chunk}.nc",
        experiment=wildcards.experiment,
        simulation=wildcards.simulation,
        chunk=range(len(parts)),
    )


def chunk_replicates(wildcards):
    """Return the first replicate of a chunk and the one after its last."""
    part = chunks_of(config, wildcards.experiment, wildcards.simulation)[int(wildcards.chunk)]
    return [part.start, part.stop]


def simulation_tuning(wildcards):
    """Return the analysed sweep that decides the step size of one simulation, if one does."""
    sweep = networks.tuned_by(wildcards.simulation, config["experiments"][wildcards.experiment])
    return collect("<results>/analysis/{experiment}/{sweep}.nc", experiment=wildcards.experiment, sweep=sweep or [])


def sweep_parameters(wildcards):
    """Return what decides the numbers of one sweep."""
    return networks.sweep_parameters(config, wildcards.experiment, wildcards.sweep)


def sweep_code(wildcards):
    """Return the digest of what one sweep runs, its optimiser included."""
    return code("simulate_sweep.py", networks.job_modules(config, wildcards.experiment, "sweeps", wildcards.sweep))


def width_parameters(wildcards):
    """Return what decides the numbers of one width study."""
    return networks.width_parameters(config, wildcards.experiment, wildcards.study)


def width_code(wildcards):
    """Return the digest of what one width study runs, its optimiser included."""
    return code("simulate_widths.py", networks.job_modules(config, wildcards.experiment, "widths", wildcards.study))


def sweep_threshold(wildcards):
    """Return the risk below which a run of a sweep counts as escaped, if there is one."""
    return config["experiments"][wildcards.experiment]["sweeps"][wildcards.sweep].get("escaped_below")


def simulation_parameters(wildcards):
    """Return what decides the numbers of one simulation."""
    return networks.simulation_parameters(config, wildcards.experiment, wildcards.simulation)


def limit_parameters(wildcards):
    """Return what decides the numbers of one limit equation's solution."""
    return networks.limit_parameters(config, wildcards.experiment, wildcards.limit)


def convergence_parameters(wildcards):
    """Return what decides the numbers of one resolution study."""
    return networks.convergence_parameters(config, wildcards.experiment)


def simulation_code(wildcards):
    """Return the digest of what one simulation runs, its optimiser included."""
    modules = networks.job_modules(config, wildcards.experiment, "simulate", wildcards.simulation)
    return code("simulate_replicates.py", modules)


def comparison_pairs(wildcards):
    """Return the pairs of simulations of an experiment that are compared run by run."""
    return networks.pairs(config["experiments"][wildcards.experiment])


def compared_runs(wildcards):
    """Return the runs that are compared."""
    names = {pair[role] for pair in comparison_pairs(wildcards) for role in ("first", "second")}
    return collect(
        "<results>/simulations/{experiment}/{simulation}.nc",
        experiment=wildcards.experiment,
        simulation=sorted(names),
    )


def limit_code(wildcards):
    """Return the digest of what one limit equation's job runs, its solver included."""
    return code("solve_limit.py", networks.job_modules(config, wildcards.experiment, "solve", wildcards.limit))


def solutions(experiment, limits):
    """Return the solutions of some limit equations of an experiment."""
    return collect("<results>/simulations/{experiment}/{limit}.nc", experiment=experiment, limit=limits)


def limit_names(wildcards):
    """Return the names of an experiment's limit equations."""
    return list(config["experiments"][wildcards.experiment]["solve"])


def limit_datasets(wildcards):
    """Return the solutions of an experiment's limit equations."""
    return solutions(wildcards.experiment, limit_names(wildcards))


def study_limit_names(wildcards):
    """Return the names of the limit equations that a width study is compared with."""
    return networks.study_limits(config, wildcards.experiment, wildcards.study)


def study_limit_datasets(wildcards):
    """Return their solutions."""
    return solutions(wildcards.experiment, study_limit_names(wildcards))


def experiment_problem(wildcards):
    """Return an experiment's problem and the activation that it names."""
    return networks.problem_parameters(config, wildcards.experiment)


def analysis_settings(wildcards):
    """Return how an experiment is analysed."""
    return config["experiments"][wildcards.experiment]["analyse"]


def digit_source(wildcards):
    """Return what decides where the digits come from, except the folders that are searched."""
    return digits.source_parameters(config)


def digit_folders(wildcards):
    """Return the folders that are searched for the MNIST files."""
    return [str(folder) for folder in sources.folders(config["data"]["digits"]["folders"])]


def digit_files(wildcards):
    """Return the MNIST files of the folders that the source may read."""
    source, folders = config["data"]["digits"]["source"], sources.folders(config["data"]["digits"]["folders"])
    parts = {"mnist": [("train", "test")], "mnist-t10k": [("test",)], "auto": [("train", "test"), ("test",)]}
    found = (sources.local_files(wanted, folders) for wanted in parts.get(source, []))
    return [str(path) for path in next((paths for paths in found if paths), [])]


def refuse_other_digits(planned):
    """Stop if a planned job would replace the digits by other images only because their files were not found."""
    settings = config["data"]["digits"]
    if settings["source"] != "auto" or all(job.rule.name != "prepare_digits" for job in planned):
        return
    dataset = Path(workflow.pathvars.apply("<results>/data/digits.nc"))
    folders = sources.folders(settings["folders"])
    lost = sources.gone(dataset, folders, settings["mirrors"])
    if lost:
        refuse(
            f"{dataset}: made from {lost}, whose files are not in {', '.join(map(str, folders))} now; name their folder "
            f"in {sources.VARIABLE}, or let data.digits.source say which images replace them (auto found; mnist, "
            "mnist-t10k or uci)"
        )


def digit_parameters(wildcards):
    """Return what decides the numbers of one classifier's training."""
    return digits.simulation_parameters(config, wildcards.experiment, wildcards.simulation)


def digit_simulation_code(wildcards):
    """Return the digest of what one classifier's training runs, its optimiser included."""
    return code("simulate_digits.py", digits.job_modules(config, wildcards.experiment, wildcards.simulation))


def digit_memory(wildcards):
    """Return the memory that one classifier's training needs [MB], with room to spare."""
    settings = config["experiments"][wildcards.experiment]["simulate"][wildcards.simulation]
    return 1500 + settings["neurons"] // 25


def digit_runtime(wildcards):
    """Return the time that one chunk of a classifier's training may take [minutes], several times what it should."""
    settings = digits.simulation_parameters(config, wildcards.experiment, wildcards.simulation)
    first, last = chunk_replicates(wildcards)
    return 60 + int(3.0e-9 * settings["neurons"] * settings["iterations"] * (last - first))


def digit_width_names(wildcards):
    """Return the simulations of growing width that an experiment compares."""
    return config["experiments"][wildcards.experiment].get("compared_widths", [])


def digit_widths(wildcards):
    """Return their datasets."""
    return collect(
        "<results>/simulations/{experiment}/{simulation}.nc",
        experiment=wildcards.experiment,
        simulation=digit_width_names(wildcards),
    )


def plane_parameters(job):
    """Return the input function of what decides the numbers of one kind of job on the plane."""
    function = getattr(plane, f"{job}_parameters")

    def parameters(wildcards):
        names = [wildcards.experiment, *([wildcards.simulation] if job == "simulation" else [])]
        return function(config, *names)

    return parameters


def plane_labels(part):
    """Return the input function of the labels of the runs that a comparison takes, by their names and in order."""
    return lambda wildcards: plane.labels(config, wildcards.experiment, part)


def plane_runs(part):
    """Return the input function of the runs that a comparison takes."""
    return lambda wildcards: collect(
        "<results>/simulations/{experiment}/{simulation}.nc",
        experiment=wildcards.experiment,
        simulation=list(plane.labels(config, wildcards.experiment, part)),
    )


def plane_code(script, part=None):
    """Return the input function of the digest of a script and of the methods of its runs."""

    def digest(wildcards):
        names = list(plane.labels(config, wildcards.experiment, part)) if part else [wildcards.simulation]
        return code(script, plane.job_modules(config, wildcards.experiment, names))

    return digest


def ensemble_parameters(wildcards):
    """Return what decides the numbers of one ensemble."""
    return fluctuations.ensemble_parameters(config, wildcards.experiment, wildcards.ensemble)


def analysed_ensembles(dataset):
    """Return the input function of the ensembles that one analysis reads."""
    return lambda wildcards: collect(
        "<results>/simulations/{experiment}/ensembles/{ensemble}.nc",
        experiment=wildcards.experiment,
        ensemble=fluctuations.ensembles_of(config["experiments"][wildcards.experiment], dataset),
    )


def ensemble_analysis(dataset):
    """Return the input function of how one analysis of ensembles is done."""
    return lambda wildcards: fluctuations.analysis_parameters(config, wildcards.experiment, dataset)


def figure_data(wildcards):
    """Return the analysed datasets that one figure shows."""
    return collect("<results>/analysis/{item}.nc", item=config["figures"][wildcards.figure]["data"])


def figure_items(wildcards):
    """Return the names of the datasets that one figure shows."""
    return config["figures"][wildcards.figure]["data"]


def titles_of(items):
    """Return the labels of datasets, where their family gives them one."""
    titles = {}
    for item in items:
        name, tail = item.split("/")
        block = config["experiments"][name]
        title = getattr(registry.family(block), "title", lambda block, tail: None)(block, tail)
        if title:
            titles[item] = title
    return titles


def figure_titles(wildcards):
    """Return the labels of the datasets that one figure shows."""
    return titles_of(figure_items(wildcards))


def figure_code(wildcards):
    """Return the digest of one figure's script."""
    return code(f"figures/{wildcards.figure}.py")


def report_items():
    """Return the names of all datasets that some figure shows."""
    return sorted({item for figure in config["figures"].values() for item in figure["data"]})


for _figure in config["figures"]:
    if not (ROOT / f"workflow_scripts/figures/{_figure}.py").is_file():
        refuse(
            f"config: figures.{_figure}: its script workflow_scripts/figures/{_figure}.py is missing; "
            f"known figures: {', '.join(sorted(p.stem for p in (ROOT / 'workflow_scripts/figures').glob('*.py')))}"
        )


def report_sources():
    """Return the report's text: its frame, its sections in the order of their numbers, and the bibliography."""
    sections = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "report/sections").glob("*.typ"))
    return ["report/report.typ", *sections, "report/references.bib"]


def claims_of_ledger():
    """Return the claims, or stop with one line per problem."""
    try:
        return ledger.load_claims(
            ROOT / "report/claims.yaml",
            schema=ROOT / "schemas/claims.schema.yaml",
            config=config,
            base=ROOT / "config.yaml",
        )
    except ConfigError as error:
        refuse(str(error))


CLAIMS = claims_of_ledger()
CLAIM_DATA = ledger.needed(CLAIMS, config)


def claim_items():
    """Return the names of the datasets that decide claims and that this run has."""
    return [item for item, reason in CLAIM_DATA.items() if not reason]


def rules_digest():
    """Return a digest of the rules' text, for what draws the workflow itself."""
    files = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def spin3_solutions():
    """Return experiment/flow of all flows."""
    return [f"{experiment}/{flow}" for experiment in SPIN3 for flow in config["experiments"][experiment]["solve"]]


def spin3_run(wildcards):
    """Return the experiment and the name of a simulation or of a flow."""
    if hasattr(wildcards, "solution"):
        return wildcards.solution.split("/")
    return [wildcards.experiment, wildcards.get("simulation", wildcards.get("run"))]


def spin3_parts(wildcards):
    """Return the replicates of each job of a simulation or flow."""
    settings = spin3.run_settings(config, *spin3_run(wildcards))
    return chunks(settings, config["replicates_per_job"])


def spin3_chunks(wildcards):
    """Return the chunks of a run, in the order of their replicates."""
    return collect(
        "<results>/simulations/{experiment}/{run}/{chunk}.nc",
        experiment=wildcards.experiment,
        run=wildcards.run,
        chunk=range(len(spin3_parts(wildcards))),
    )


def spin3_replicates(wildcards):
    """Return the first replicate of a chunk and the one after its last."""
    part = spin3_parts(wildcards)[int(wildcards.chunk)]
    return [part.start, part.stop]


def spin3_simulation_parameters(wildcards):
    """Return what decides the numbers of one simulation."""
    return spin3.simulation_parameters(config, wildcards.experiment, wildcards.simulation)


def spin3_flow_parameters(wildcards):
    """Return what decides the numbers of one flow."""
    return spin3.flow_parameters(config, *spin3_run(wildcards))


def spin3_simulation_code(wildcards):
    """Return the digest of what one simulation runs, its optimiser included."""
    return code("simulate_spin3.py", spin3.job_modules(config, wildcards.experiment, wildcards.simulation))


def spin3_tuning_parameters(wildcards):
    """Return what decides the numbers of one tuning."""
    return spin3.tuning_parameters(config, wildcards.experiment, wildcards.study)


def spin3_tuning_code(wildcards):
    """Return the digest of what one tuning runs, its optimisers included."""
    return code("tune_spin3.py", spin3.tuning_modules(config, wildcards.experiment, wildcards.study))


def spin3_analysis_parameters(wildcards):
    """Return how one run is analysed."""
    return spin3.analysis_parameters(config, wildcards.experiment, wildcards.run)


def spin3_comparison_runs(wildcards):
    """Return the runs that the comparison of an experiment reads."""
    return collect(
        "<results>/simulations/{experiment}/{run}.nc",
        experiment=wildcards.experiment,
        run=spin3.comparison_runs(config, wildcards.experiment),
    )


def spin3_comparison_names(wildcards):
    """Return their names."""
    return spin3.comparison_runs(config, wildcards.experiment)


def spin3_comparison_settings(wildcards):
    """Return what is compared."""
    return spin3.comparison_settings(config, wildcards.experiment)
