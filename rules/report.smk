# The report: numbers out of datasets, then typesetting. One section is one file of report/sections.
#
# reads   <results>/analysis/, <results>/figures/, report/
# writes  <results>/report/values.json    every number that the text shows, but for those of the ledger
#         <results>/report/rule_graph.*   which rule feeds which
#         <results>/report/report.pdf
#         <results>/report/report.html    the same text as a web page, in one file


rule build_values:
    """Collect the numbers that the report shows."""
    input:
        data=collect("<results>/analysis/{item}.nc", item=report_items()),
        # Not read: the table of run times is complete once they are drawn.
        figures=collect("<results>/figures/{figure}.svg", figure=config["figures"]),
    output:
        values="<results>/report/values.json",
    log:
        "<logs>/build_values.log",
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("build_values.py"),
        names=report_items(),
        titles=titles_of(report_items()),
        config={key: value for key, value in config.items() if key != "pathvars"},
        times=config["report"]["times"],
        benchmarks=workflow.pathvars.apply("<benchmarks>"),
    script:
        "../workflow_scripts/build_values.py"


rule build_report:
    """Typeset the report."""
    input:
        sources=report_sources(),
        figures=collect("<results>/figures/{figure}.svg", figure=config["figures"]),
        graph="<results>/report/rule_graph.svg",
        values="<results>/report/values.json",
        claims="<results>/analysis/claims.json",
    output:
        report="<results>/report/report.pdf",
    log:
        "<logs>/build_report.log",
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("build_report.py"),
    script:
        "../workflow_scripts/build_report.py"


rule build_web:
    """Write the report as one web page that needs no network."""
    input:
        sources=report_sources(),
        figures=collect("<results>/figures/{figure}.svg", figure=config["figures"]),
        bitmaps=collect("<results>/figures/{figure}.png", figure=config["figures"]),
        graph="<results>/report/rule_graph.svg",
        graph_bitmap="<results>/report/rule_graph.png",
        values="<results>/report/values.json",
        claims="<results>/analysis/claims.json",
        style="report/web/style.css",
        script="report/web/script.js",
    output:
        page="<results>/report/report.html",
    log:
        "<logs>/build_web.log",
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("build_web.py"),
        largest_vector=config["report"]["largest_vector"],
    script:
        "../workflow_scripts/build_web.py"


rule draw_rule_graph:
    """Draw which rule feeds which."""
    input:
        style="styles/report.mplstyle",
    output:
        svg="<results>/report/rule_graph.svg",
        png="<results>/report/rule_graph.png",
    log:
        "<logs>/draw_rule_graph.log",
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("draw_rule_graph.py"),
        rules=rules_digest(),
    script:
        "../workflow_scripts/draw_rule_graph.py"


rule gallery:
    """Renew the pictures and the lists of figures in the README and in the documentation."""
    input:
        figures=collect("<results>/figures/{figure}.png", figure=config["figures"]),
        graph="<results>/report/rule_graph.png",
    log:
        "<logs>/gallery.log",
    conda:
        "../envs/environment.yaml"
    params:
        python=sys.executable,
    shell:
        "(mkdir -p docs/gallery && cp {input.figures} {input.graph} docs/gallery/ "
        "&& {params.python} -m meanfield gallery) 2> {log}"
