# The report: numbers out of datasets, then typesetting. One section is one file of report/sections.
#
# reads   <results>/analysis/, <results>/figures/, report/
# writes  <results>/report/values.json    every number that the text shows
#         <results>/report/report.pdf


rule build_values:
    """Collect the numbers that the report shows."""
    input:
        data=collect("<results>/analysis/{item}.nc", item=report_items()),
    output:
        values="<results>/report/values.json",
    log:
        "<logs>/build_values.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("build_values.py"),
        names=report_items(),
        config={key: value for key, value in config.items() if key != "pathvars"},
        times=REPORT_TIMES,
        benchmarks="<results>/benchmarks",
    script:
        "../workflow_scripts/build_values.py"


rule build_report:
    """Typeset the report."""
    input:
        sources=report_sources(),
        figures=collect("<results>/figures/{figure}.svg", figure=config["figures"]),
        values="<results>/report/values.json",
    output:
        report="<results>/report/report.pdf",
    log:
        "<logs>/build_report.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("build_report.py"),
    script:
        "../workflow_scripts/build_report.py"
