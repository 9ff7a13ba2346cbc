# Rotation-invariant laws: optimal ones, where the dynamics end, stationary ones, minimising movements.
#
# reads   config["experiments"][...] of the kinds isotropic_statics, stationary_laws and radial_flow
# writes  <results>/analysis/{experiment}/laws.nc        optimal laws, best spheres, thresholds
#         <results>/analysis/{experiment}/ends.nc        where SGD and its limit end
#         <results>/analysis/{experiment}/states.nc      stationary laws, their stability, continuation and basins
#         <results>/analysis/{experiment}/movements.nc   minimising movements against characteristics


rule minimise_laws:
    """Find the laws of the smallest risk and where the best one stops being a single sphere."""
    output:
        dataset="<results>/analysis/{experiment}/laws.nc",
    log:
        "<logs>/minimise_laws/{experiment}.log",
    benchmark:
        "<benchmarks>/minimise_laws/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(statics_of("isotropic_statics")),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(30),
    params:
        code=code("minimise_laws.py"),
        parameters=lambda wildcards: statics.law_parameters(config, wildcards.experiment),
    script:
        "../workflow_scripts/minimise_laws.py"


rule find_ends:
    """Follow SGD and its limit for a long time from several initial laws."""
    output:
        dataset="<results>/analysis/{experiment}/ends.nc",
    log:
        "<logs>/find_ends/{experiment}.log",
    benchmark:
        "<benchmarks>/find_ends/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(statics_of("isotropic_statics")),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(30),
    params:
        code=code("find_ends.py", ("meanfield.methods.sgd",)),
        parameters=lambda wildcards: statics.end_parameters(config, wildcards.experiment),
    script:
        "../workflow_scripts/find_ends.py"


rule find_stationary_laws:
    """Find stationary laws on few spheres, follow them in a parameter, and see which initial laws flow to which."""
    output:
        dataset="<results>/analysis/{experiment}/states.nc",
    log:
        "<logs>/find_stationary_laws/{experiment}.log",
    benchmark:
        "<benchmarks>/find_stationary_laws/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(statics_of("stationary_laws")),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(30),
    params:
        code=code("find_stationary_laws.py"),
        parameters=lambda wildcards: statics.state_parameters(config, wildcards.experiment),
    script:
        "../workflow_scripts/find_stationary_laws.py"


rule compare_movements:
    """Compare minimising movements with characteristics and balance the energy."""
    output:
        dataset="<results>/analysis/{experiment}/movements.nc",
    log:
        "<logs>/compare_movements/{experiment}.log",
    benchmark:
        "<benchmarks>/compare_movements/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(statics_of("radial_flow")),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(30),
    params:
        code=code("compare_movements.py"),
        parameters=lambda wildcards: statics.movement_parameters(config, wildcards.experiment),
    script:
        "../workflow_scripts/compare_movements.py"
