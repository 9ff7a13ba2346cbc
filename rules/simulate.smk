# Simulations: optimisers that move the weights.
#
# reads   config["experiments"][...]["simulate"]
#         <results>/analysis/{experiment}/{sweep}.nc                   of a simulation that a sweep tunes
# writes  <results>/simulations/{experiment}/{simulation}/{chunk}.nc   some replicates
#         <results>/simulations/{experiment}/{simulation}.nc           all replicates
#         <results>/simulations/{experiment}/{sweep}.nc                every candidate of a sweep
#
# Code counts by digest (params), not as input: these are the costly jobs, and a comment must not rerun them.


rule simulate_replicates:
    """Run some replicates of one simulation."""
    input:
        tuning=simulation_tuning,
    output:
        dataset="<results>/simulations/{experiment}/{simulation}/{chunk}.nc",
    log:
        "<logs>/simulate_replicates/{experiment}/{simulation}/{chunk}.log",
    benchmark:
        "<benchmarks>/simulate_replicates/{experiment}/{simulation}/{chunk}.tsv"
    wildcard_constraints:
        experiment=one_of(NETWORKS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        code=simulation_code,
        parameters=simulation_parameters,
        replicates=chunk_replicates,
    script:
        "../workflow_scripts/simulate_replicates.py"


rule gather_replicates:
    """Join the replicates of one simulation."""
    input:
        chunks=simulation_chunks,
    output:
        dataset="<results>/simulations/{experiment}/{simulation}.nc",
    log:
        "<logs>/gather_replicates/{experiment}/{simulation}.log",
    benchmark:
        "<benchmarks>/gather_replicates/{experiment}/{simulation}.tsv"
    wildcard_constraints:
        experiment=one_of([*NETWORKS, *DIGITS]),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("gather_replicates.py"),
    script:
        "../workflow_scripts/gather_replicates.py"


rule simulate_sweep:
    """Run every candidate of a sweep over step sizes and hyper-parameters."""
    output:
        dataset="<results>/simulations/{experiment}/{sweep}.nc",
    log:
        "<logs>/simulate_sweep/{experiment}/{sweep}.log",
    benchmark:
        "<benchmarks>/simulate_sweep/{experiment}/{sweep}.tsv"
    wildcard_constraints:
        experiment=one_of(NETWORKS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        code=sweep_code,
        parameters=sweep_parameters,
    script:
        "../workflow_scripts/simulate_sweep.py"


rule simulate_widths:
    """Run one optimiser at several widths."""
    output:
        dataset="<results>/simulations/{experiment}/{study}.nc",
    log:
        "<logs>/simulate_widths/{experiment}/{study}.log",
    benchmark:
        "<benchmarks>/simulate_widths/{experiment}/{study}.tsv"
    wildcard_constraints:
        experiment=one_of(NETWORKS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        code=width_code,
        parameters=width_parameters,
    script:
        "../workflow_scripts/simulate_widths.py"
