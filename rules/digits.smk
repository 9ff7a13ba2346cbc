# Classifiers of handwritten digits.
#
# reads   <results>/data/digits.nc
# writes  <results>/simulations/{experiment}/{simulation}/{chunk}.nc   some replicates
#         (all replicates: see gather_replicates in simulate.smk)
#         <results>/analysis/{experiment}/{simulation}.nc              losses, laws of the weights, mistakes
#         <results>/analysis/{experiment}/widths.nc                    the laws of several widths against each other


rule simulate_digits:
    """Train some replicates of one classifier."""
    input:
        digits="<results>/data/digits.nc",
    output:
        dataset="<results>/simulations/{experiment}/{simulation}/{chunk}.nc",
    log:
        "<logs>/simulate_digits/{experiment}/{simulation}/{chunk}.log",
    benchmark:
        "<benchmarks>/simulate_digits/{experiment}/{simulation}/{chunk}.tsv"
    wildcard_constraints:
        experiment=one_of(DIGITS),
    # The long jobs first, so that none is left over at the end.
    priority: 1
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(digit_memory),
        runtime=growing(digit_runtime),
    params:
        code=digit_simulation_code,
        parameters=digit_parameters,
        replicates=chunk_replicates,
    script:
        "../workflow_scripts/simulate_digits.py"


rule analyse_digits:
    """Reduce one classifier to losses with bands, the law of its weights, its modes and its mistakes."""
    input:
        runs="<results>/simulations/{experiment}/{simulation}.nc",
        digits="<results>/data/digits.nc",
    output:
        dataset="<results>/analysis/{experiment}/{simulation}.nc",
    log:
        "<logs>/analyse_digits/{experiment}/{simulation}.log",
    benchmark:
        "<benchmarks>/analyse_digits/{experiment}/{simulation}.tsv"
    wildcard_constraints:
        experiment=one_of(DIGITS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("analyse_digits.py"),
        settings=analysis_settings,
    script:
        "../workflow_scripts/analyse_digits.py"


rule compare_widths:
    """Compare the laws of the weights of networks of growing width."""
    input:
        runs=digit_widths,
    output:
        dataset="<results>/analysis/{experiment}/widths.nc",
    log:
        "<logs>/compare_widths/{experiment}.log",
    benchmark:
        "<benchmarks>/compare_widths/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(DIGITS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("compare_widths.py"),
        names=digit_width_names,
    script:
        "../workflow_scripts/compare_widths.py"
