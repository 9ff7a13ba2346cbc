# Data that are read and not computed: handwritten digits.
#
# reads   config["data"]; the MNIST files, where there are any; a mirror, where the source needs one
# writes  <results>/data/digits.nc


localrules:
    prepare_digits,  # the nodes of a cluster may have no network


rule prepare_digits:
    """Read the handwritten digits from the first source that is available."""
    input:
        files=digit_files,
    output:
        dataset="<results>/data/digits.nc",
    log:
        "<logs>/prepare_digits.log",
    benchmark:
        "<benchmarks>/prepare_digits/digits.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("prepare_digits.py"),
        parameters=digit_source,
        folders=digit_folders,
    script:
        "../workflow_scripts/prepare_digits.py"
