# The spherical 3-spin: simulations, deterministic flows, and their analyses.
#
# reads   config["experiments"][...] of kind spherical_3spin
# writes  <results>/simulations/{experiment}/{run}/{chunk}.nc          some replicates of a simulation or flow
#         <results>/simulations/{experiment}/{run}.nc                  all of them
#         <results>/analysis/{experiment}/{run}.nc                     what they are reduced to
#         <results>/analysis/{experiment}/comparison.nc                runs against each other and against references
#         <results>/analysis/{experiment}/{study}.nc                   optimisers, each at its best step


# A flow of one experiment may bear the name of another experiment's simulation: the flows' rules know experiment and
# name together, as `solution`, and come first.
ruleorder: solve_spin3 > simulate_spin3


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
        mem_mb=growing(1500),
        runtime=growing(20),
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
        mem_mb=growing(1500),
        runtime=growing(20),
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
        mem_mb=growing(1500),
        runtime=growing(20),
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
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("compare_spin3.py"),
        names=spin3_comparison_names,
        settings=spin3_comparison_settings,
    script:
        "../workflow_scripts/compare_spin3.py"


rule tune_spin3:
    """Choose the best step of each optimiser on the 3-spin, and compare the optimisers at these."""
    output:
        dataset="<results>/analysis/{experiment}/{study}.nc",
    log:
        "<logs>/tune_spin3/{experiment}/{study}.log",
    benchmark:
        "<benchmarks>/tune_spin3/{experiment}/{study}.tsv"
    wildcard_constraints:
        experiment=one_of(SPIN3),
        study=one_of(names_under("tuning", SPIN3)),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        code=spin3_tuning_code,
        parameters=spin3_tuning_parameters,
    script:
        "../workflow_scripts/tune_spin3.py"
