# meanfield-figures: every figure of the report from declared dependencies.
#
#   snakemake --cores 8                                   everything, at full scale
#   snakemake --cores 8 fig02_isotropic_sgd               one figure, by name or by file
#   snakemake --cores 8 --profile profiles/quick          everything at a small scale, in quick/
#   snakemake --list                                      what there is

import os
import sys

from snakemake.utils import min_version

min_version("9.25")

# The package is used from this folder, installed or not, by this file and by every job.
sys.path.insert(0, os.path.join(workflow.basedir, "src"))
os.environ.setdefault("NUMBA_CACHE_DIR", os.path.join(workflow.basedir, ".numba"))
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [sys.path[0], os.getenv("PYTHONPATH")])))


configfile: "config.yaml"


# Where generated files go; an overlay may move them (see config/quick.yaml).
pathvars:
    benchmarks="<results>/benchmarks",


include: "rules/common.smk"


wildcard_constraints:
    experiment=one_of(config["experiments"]),
    simulation=one_of(names_under("simulate")),
    limit=one_of(names_under("solve")),
    sweep=one_of(names_under("sweeps", NETWORKS)),
    study=one_of(names_under("widths", NETWORKS)),
    figure=one_of(config["figures"]),
    chunk=r"\d+",


include: "rules/data.smk"
include: "rules/simulate.smk"
include: "rules/solve.smk"
include: "rules/analyse.smk"
include: "rules/spin3.smk"
include: "rules/digits.smk"
include: "rules/plane.smk"
include: "rules/sampling.smk"
include: "rules/multiscale.smk"
include: "rules/statics.smk"
include: "rules/fluctuations.smk"
include: "rules/figures.smk"
include: "rules/claims.smk"
include: "rules/report.smk"


# A run that was killed leaves its locks; the same command again lifts them and goes on. Kernels are compiled once,
# before the jobs fan out: those that the planned jobs call. (A rule that all jobs name as `ancient` would not do: where
# it has to run, Snakemake looks at no other reason for the jobs behind it, and a changed parameter would go unnoticed.)
# On this machine jobs then start as forks of one process that has loaded what they need.
onstart:
    planned = list(workflow.dag.needrun_jobs())
    refuse_other_digits(planned)
    locks.note_run()
    wf.lift_default_rate_limit(workflow.scheduler)
    if kernel_groups(planned):
        caches.warm_up(precisions(planned), kernel_groups(planned))
    if workflow.local_exec and not workflow.execution_settings.debug:
        forks.serve(len(planned), precisions(planned) + kernel_groups(planned))


onsuccess:
    locks.forget_run()


onerror:
    locks.forget_run()


rule all:
    """Build every figure and both reports."""
    default_target: True
    input:
        collect("<results>/figures/{figure}.{format}", figure=config["figures"], format=FORMATS),
        "<results>/report/report.pdf",
        "<results>/report/report.html",
