# Analyses: risk bands, histograms, distances to the limit.
#
# reads   <results>/simulations/{experiment}/*.nc, config["experiments"][...]["analyse"]
# writes  <results>/analysis/{experiment}/{simulation}.nc   one simulation against its limit equations
#         <results>/analysis/{experiment}/{sweep}.nc        one sweep
#         <results>/analysis/{experiment}/comparison.nc     optimisers against SGD and against their controls
#         <results>/analysis/{experiment}/limits.nc         the limit equations against each other


rule analyse_simulation:
    """Reduce one simulation to risk bands, histograms and distances to its limit equations."""
    input:
        runs="<results>/simulations/{experiment}/{simulation}.nc",
        limits=limit_datasets,
    output:
        dataset="<results>/analysis/{experiment}/{simulation}.nc",
    log:
        "<logs>/analyse_simulation/{experiment}/{simulation}.log",
    benchmark:
        "<benchmarks>/analyse_simulation/{experiment}/{simulation}.tsv"
    wildcard_constraints:
        experiment=one_of(ISOTROPIC),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        code=code("analyse_simulation.py"),
        limits=limit_names,
        settings=analysis_settings,
    script:
        "../workflow_scripts/analyse_simulation.py"


rule analyse_reduced_simulation:
    """Reduce one simulation of the anisotropic problem to bands of risk and of the reduced variables."""
    input:
        runs="<results>/simulations/{experiment}/{simulation}.nc",
        limits=limit_datasets,
    output:
        dataset="<results>/analysis/{experiment}/{simulation}.nc",
    log:
        "<logs>/analyse_reduced_simulation/{experiment}/{simulation}.log",
    benchmark:
        "<benchmarks>/analyse_reduced_simulation/{experiment}/{simulation}.tsv"
    wildcard_constraints:
        experiment=one_of(ANISOTROPIC),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        code=code("analyse_reduced_simulation.py"),
        limits=limit_names,
        settings=analysis_settings,
    script:
        "../workflow_scripts/analyse_reduced_simulation.py"


rule analyse_comparison:
    """Compare optimisers run by run: with their clock-matched controls and with SGD."""
    input:
        runs=compared_runs,
    output:
        dataset="<results>/analysis/{experiment}/comparison.nc",
    log:
        "<logs>/analyse_comparison/{experiment}.log",
    benchmark:
        "<benchmarks>/analyse_comparison/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(NETWORKS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("analyse_comparison.py"),
        pairs=comparison_pairs,
    script:
        "../workflow_scripts/analyse_comparison.py"


rule analyse_limits:
    """Compare the limit equations of one experiment with each other."""
    input:
        limits=limit_datasets,
    output:
        dataset="<results>/analysis/{experiment}/limits.nc",
    log:
        "<logs>/analyse_limits/{experiment}.log",
    benchmark:
        "<benchmarks>/analyse_limits/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(ISOTROPIC),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("analyse_limits.py"),
        limits=limit_names,
        problem=experiment_problem,
        settings=analysis_settings,
    script:
        "../workflow_scripts/analyse_limits.py"


rule analyse_reduced_limits:
    """Compare the limit equations of one experiment with each other."""
    input:
        limits=limit_datasets,
    output:
        dataset="<results>/analysis/{experiment}/limits.nc",
    log:
        "<logs>/analyse_reduced_limits/{experiment}.log",
    benchmark:
        "<benchmarks>/analyse_reduced_limits/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(ANISOTROPIC),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("analyse_reduced_limits.py"),
        limits=limit_names,
    script:
        "../workflow_scripts/analyse_reduced_limits.py"


rule analyse_sweep:
    """Reduce a sweep to means, intervals, its best candidate and its escape probabilities."""
    input:
        runs="<results>/simulations/{experiment}/{sweep}.nc",
    output:
        dataset="<results>/analysis/{experiment}/{sweep}.nc",
    log:
        "<logs>/analyse_sweep/{experiment}/{sweep}.log",
    benchmark:
        "<benchmarks>/analyse_sweep/{experiment}/{sweep}.tsv"
    wildcard_constraints:
        experiment=one_of(NETWORKS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("analyse_sweep.py"),
        escaped_below=sweep_threshold,
    script:
        "../workflow_scripts/analyse_sweep.py"


rule analyse_widths:
    """Reduce a width study to distances to the limit equations and their slopes."""
    input:
        runs="<results>/simulations/{experiment}/{study}.nc",
        limits=study_limit_datasets,
    output:
        dataset="<results>/analysis/{experiment}/{study}.nc",
    log:
        "<logs>/analyse_widths/{experiment}/{study}.log",
    benchmark:
        "<benchmarks>/analyse_widths/{experiment}/{study}.tsv"
    wildcard_constraints:
        experiment=one_of(NETWORKS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("analyse_widths.py"),
        limits=study_limit_names,
        start=lambda wildcards: config["experiments"][wildcards.experiment]["analyse"]["agreement_from"],
    script:
        "../workflow_scripts/analyse_widths.py"
