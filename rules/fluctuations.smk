# What the theory of the mean-field limit promises: rates, independence of neurons, normal fluctuations, noisy SGD.
#
# reads   config["experiments"][...] of the kinds isotropic_fluctuations and isotropic_noisy
# writes  <results>/simulations/{experiment}/ensembles/{ensemble}.nc   averages over neurons of many replicates
#         <results>/simulations/{experiment}/prediction.nc             the limit and its linearised fluctuations
#         <results>/simulations/{experiment}/noisy_runs.nc             norms and risks of noisy SGD
#         <results>/simulations/{experiment}/noisy_limit.nc            its limit and the stationary laws
#         <results>/analysis/{experiment}/{rates,chaos,clt,noisy}.nc


rule simulate_ensemble:
    """Run many replicates of SGD at several widths and step sizes."""
    output:
        dataset="<results>/simulations/{experiment}/ensembles/{ensemble}.nc",
    log:
        "<logs>/simulate_ensemble/{experiment}/{ensemble}.log",
    benchmark:
        "<benchmarks>/simulate_ensemble/{experiment}/{ensemble}.tsv"
    wildcard_constraints:
        experiment=one_of(FLUCTUATIONS),
        ensemble=one_of(names_under("ensembles", FLUCTUATIONS)),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        code=code("simulate_ensemble.py"),
        parameters=ensemble_parameters,
    script:
        "../workflow_scripts/simulate_ensemble.py"


rule solve_fluctuations:
    """Solve the limit with its linearised equation for the variances of averages over neurons."""
    output:
        dataset="<results>/simulations/{experiment}/prediction.nc",
    log:
        "<logs>/solve_fluctuations/{experiment}.log",
    benchmark:
        "<benchmarks>/solve_fluctuations/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(FLUCTUATIONS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        code=code("solve_fluctuations.py"),
        parameters=lambda wildcards: fluctuations.prediction_parameters(config, wildcards.experiment),
    script:
        "../workflow_scripts/solve_fluctuations.py"


rule analyse_rates:
    """Fit the powers of width and step size with which SGD approaches its limit."""
    input:
        ensembles=analysed_ensembles("rates"),
        prediction="<results>/simulations/{experiment}/prediction.nc",
    output:
        dataset="<results>/analysis/{experiment}/rates.nc",
    log:
        "<logs>/analyse_rates/{experiment}.log",
    benchmark:
        "<benchmarks>/analyse_rates/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(FLUCTUATIONS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(30),
    params:
        code=code("analyse_rates.py"),
        parameters=ensemble_analysis("rates"),
    script:
        "../workflow_scripts/analyse_rates.py"


rule analyse_chaos:
    """Estimate the dependence of two neurons by width."""
    input:
        ensembles=analysed_ensembles("chaos"),
        prediction="<results>/simulations/{experiment}/prediction.nc",
    output:
        dataset="<results>/analysis/{experiment}/chaos.nc",
    log:
        "<logs>/analyse_chaos/{experiment}.log",
    benchmark:
        "<benchmarks>/analyse_chaos/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(FLUCTUATIONS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(30),
    params:
        code=code("analyse_chaos.py"),
        parameters=ensemble_analysis("chaos"),
    script:
        "../workflow_scripts/analyse_chaos.py"


rule analyse_clt:
    """Compare fluctuations around the limit with the predicted normal law."""
    input:
        ensembles=analysed_ensembles("clt"),
        prediction="<results>/simulations/{experiment}/prediction.nc",
    output:
        dataset="<results>/analysis/{experiment}/clt.nc",
    log:
        "<logs>/analyse_clt/{experiment}.log",
    benchmark:
        "<benchmarks>/analyse_clt/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(FLUCTUATIONS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(30),
    params:
        code=code("analyse_clt.py"),
        parameters=ensemble_analysis("clt"),
    script:
        "../workflow_scripts/analyse_clt.py"


rule simulate_noisy:
    """Run replicates of noisy SGD at several temperatures."""
    output:
        dataset="<results>/simulations/{experiment}/noisy_runs.nc",
    log:
        "<logs>/simulate_noisy/{experiment}.log",
    benchmark:
        "<benchmarks>/simulate_noisy/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(NOISY),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        code=code("simulate_noisy.py"),
        parameters=lambda wildcards: noisy.run_parameters(config, wildcards.experiment),
    script:
        "../workflow_scripts/simulate_noisy.py"


rule solve_noisy:
    """Solve the distributional dynamics with diffusion, and the equation of its stationary law."""
    output:
        dataset="<results>/simulations/{experiment}/noisy_limit.nc",
    log:
        "<logs>/solve_noisy/{experiment}.log",
    benchmark:
        "<benchmarks>/solve_noisy/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(NOISY),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        code=code("solve_noisy.py"),
        parameters=lambda wildcards: noisy.limit_parameters(config, wildcards.experiment),
    script:
        "../workflow_scripts/solve_noisy.py"


rule analyse_noisy:
    """Compare noisy SGD with the distributional dynamics with diffusion."""
    input:
        runs="<results>/simulations/{experiment}/noisy_runs.nc",
        limit="<results>/simulations/{experiment}/noisy_limit.nc",
    output:
        dataset="<results>/analysis/{experiment}/noisy.nc",
    log:
        "<logs>/analyse_noisy/{experiment}.log",
    benchmark:
        "<benchmarks>/analyse_noisy/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(NOISY),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(30),
    params:
        code=code("analyse_noisy.py"),
        parameters=lambda wildcards: noisy.analysis_parameters(config, wildcards.experiment),
    script:
        "../workflow_scripts/analyse_noisy.py"
