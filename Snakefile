# meanfield-figures: every figure of the report from declared dependencies.
#
#   snakemake --cores 8                                   everything, at full scale
#   snakemake --cores 8 fig02_isotropic_sgd               one figure, by name or by file
#   snakemake --cores 8 --profile profiles/quick          everything at a small scale, in quick/
#   snakemake --list                                      what there is

from snakemake.utils import min_version

min_version("9.25")


configfile: "config.yaml"


# Where generated files go; an overlay may move them (see config/quick.yaml).
pathvars:
    benchmarks="<results>/benchmarks",


include: "rules/common.smk"


wildcard_constraints:
    experiment=one_of(config["experiments"]),
    simulation=one_of(names_under("simulate")),
    limit=one_of(names_under("solve")),
    figure=one_of(config["figures"]),
    chunk=r"\d+",


include: "rules/simulate.smk"
include: "rules/solve.smk"
include: "rules/analyse.smk"
include: "rules/figures.smk"
include: "rules/report.smk"


rule all:
    """Build every figure and the report."""
    default_target: True
    input:
        collect("<results>/figures/{figure}.{format}", figure=config["figures"], format=FORMATS),
        "<results>/report/report.pdf",
