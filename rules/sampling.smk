# Gradient flows of measures.
#
# reads   config["experiments"][...] of the kind sampling_flows
# writes  <results>/analysis/{experiment}/flows.nc     errors against time, conditioning, invariance


rule run_flows:
    """Move ensembles, Gaussian families and densities along gradient flows."""
    output:
        dataset="<results>/analysis/{experiment}/flows.nc",
    log:
        "<logs>/run_flows/{experiment}.log",
    benchmark:
        "<benchmarks>/run_flows/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(SAMPLINGS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        code=code("run_flows.py"),
        parameters=lambda wildcards: sampling.flow_parameters(config, wildcards.experiment),
    script:
        "../workflow_scripts/run_flows.py"
