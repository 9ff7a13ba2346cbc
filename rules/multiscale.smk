# The heterogeneous multiscale method.
#
# reads   config["experiments"][...] of the kind fast_slow
# writes  <results>/analysis/{experiment}/hmm.nc     errors, orders and costs; the estimator on the plane


rule solve_multiscale:
    """Solve a fast-slow system directly and by the multiscale method."""
    output:
        dataset="<results>/analysis/{experiment}/hmm.nc",
    log:
        "<logs>/solve_multiscale/{experiment}.log",
    benchmark:
        "<benchmarks>/solve_multiscale/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(MULTISCALES),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        code=code("solve_multiscale.py", ("meanfield.methods.mf_homsgld",)),
        parameters=lambda wildcards: multiscale.hmm_parameters(config, wildcards.experiment),
    script:
        "../workflow_scripts/solve_multiscale.py"
