# The claims ledger: estimates, intervals and verdicts out of analysed datasets.
#
# reads   <results>/analysis/{experiment}/*.nc, report/claims.yaml
# writes  <results>/analysis/claims.json, <results>/analysis/claims.nc


rule evaluate_claims:
    """Judge every claim of the ledger by its statistic and criterion."""
    input:
        data=collect("<results>/analysis/{item}.nc", item=claim_items()),
    output:
        ledger="<results>/analysis/claims.json",
        dataset="<results>/analysis/claims.nc",
    log:
        "<logs>/evaluate_claims.log",
    benchmark:
        "<benchmarks>/evaluate_claims.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("evaluate_claims.py"),
        names=claim_items(),
        claims=CLAIMS,
        missing={item: reason for item, reason in CLAIM_DATA.items() if reason},
    script:
        "../workflow_scripts/evaluate_claims.py"


rule claims:
    """Evaluate the claims ledger: results/analysis/claims.json."""
    input:
        rules.evaluate_claims.output,
