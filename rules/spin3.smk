# The spherical 3-spin: simulations, deterministic flows, and their analyses.
#
# reads   config["experiments"][...] of kind spherical_3spin
# writes  <results>/simulations/{experiment}/{run}/{chunk}.nc          some replicates of a simulation or flow
#         <results>/simulations/{experiment}/{run}.nc                  all of them
#         <results>/analysis/{experiment}/{run}.nc                     what they are reduced to
#         <results>/analysis/{experiment}/comparison.nc                runs against each other and against references


# A flow of one experiment may bear the name of another experiment's simulation: the flows' rules know experiment and
# name together, as `solution`, and come first.
ruleorder: solve_spin3 > simulate_spin3


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
    return config["experiments"][wildcards.experiment]["comparison"]


rule simulate_spin3:
    """Run some replicates of one simulation of the 3-spin."""
    output:
        dataset="<results>/simulations/{experiment}/{simulation}/{chunk}.nc",
    log:
        "<logs>/simulate_spin3/{experiment}/{simulation}/{chunk}.log",
    benchmark:
        "<benchmarks>/simulate_spin3/{experiment}/{simulation}/{chunk}.tsv"
    wildcard_constraints:
        experiment=one_of(SPIN3),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=spin3_simulation_code,
        parameters=spin3_simulation_parameters,
        replicates=spin3_replicates,
    script:
        "../workflow_scripts/simulate_spin3.py"


rule solve_spin3:
    """Integrate one deterministic flow of the 3-spin from some replicates' initial units."""
    output:
        dataset="<results>/simulations/{solution}/{chunk}.nc",
    log:
        "<logs>/solve_spin3/{solution}/{chunk}.log",
    benchmark:
        "<benchmarks>/solve_spin3/{solution}/{chunk}.tsv"
    wildcard_constraints:
        solution=one_of(spin3_solutions()),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=code("solve_spin3.py"),
        parameters=spin3_flow_parameters,
        replicates=spin3_replicates,
    script:
        "../workflow_scripts/solve_spin3.py"


rule analyse_spin3:
    """Join the replicates of one simulation or flow of the 3-spin; reduce them to bands, slopes and pictures."""
    input:
        chunks=spin3_chunks,
    output:
        runs="<results>/simulations/{experiment}/{run}.nc",
        dataset="<results>/analysis/{experiment}/{run}.nc",
    log:
        "<logs>/analyse_spin3/{experiment}/{run}.log",
    benchmark:
        "<benchmarks>/analyse_spin3/{experiment}/{run}.tsv"
    wildcard_constraints:
        experiment=one_of(SPIN3),
        run=one_of({name for experiment in SPIN3 for name in spin3.runs(config, experiment)}),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=code("analyse_spin3.py"),
        settings=spin3_analysis_parameters,
    script:
        "../workflow_scripts/analyse_spin3.py"


rule compare_spin3:
    """Compare SGD in small steps with its flow, and a flow with reference losses."""
    input:
        runs=spin3_comparison_runs,
    output:
        dataset="<results>/analysis/{experiment}/comparison.nc",
    log:
        "<logs>/compare_spin3/{experiment}.log",
    benchmark:
        "<benchmarks>/compare_spin3/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(SPIN3),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("compare_spin3.py"),
        names=spin3_comparison_names,
        settings=spin3_comparison_settings,
    script:
        "../workflow_scripts/compare_spin3.py"
