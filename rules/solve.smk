# Limit equations: the distributional dynamics.
#
# reads   config["experiments"][...]["solve"] and ["convergence"]
# writes  <results>/simulations/{experiment}/{limit}.nc       the law of the norm over time
#         <results>/analysis/{experiment}/convergence.nc      risks at several resolutions


rule solve_limit:
    """Solve one limit equation of an experiment."""
    output:
        dataset="<results>/simulations/{experiment}/{limit}.nc",
    log:
        "<logs>/solve_limit/{experiment}/{limit}.log",
    benchmark:
        "<benchmarks>/solve_limit/{experiment}/{limit}.tsv"
    wildcard_constraints:
        experiment=one_of(NETWORKS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        code=limit_code,
        parameters=limit_parameters,
    script:
        "../workflow_scripts/solve_limit.py"


rule solve_convergence:
    """Solve the limit equation of an experiment at several resolutions, by both methods."""
    output:
        dataset="<results>/analysis/{experiment}/convergence.nc",
    log:
        "<logs>/solve_convergence/{experiment}.log",
    benchmark:
        "<benchmarks>/solve_convergence/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(NETWORKS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        code=code("solve_convergence.py", SOLVER_MODULES),
        parameters=convergence_parameters,
    script:
        "../workflow_scripts/solve_convergence.py"
