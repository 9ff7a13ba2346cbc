# Figures: one script each, drawing analysed datasets; no statistics here.
#
# reads   <results>/analysis/, config["figures"], styles/report.mplstyle
# writes  <results>/figures/{figure}.{pdf,svg,png}


rule plot_figure:
    """Draw one figure from its analysed datasets."""
    input:
        data=figure_data,
        style="styles/report.mplstyle",
    output:
        pdf="<results>/figures/{figure}.pdf",
        svg=report(
            "<results>/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        png="<results>/figures/{figure}.png",
    log:
        "<logs>/plot_figure/{figure}.log",
    benchmark:
        "<benchmarks>/plot_figure/{figure}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=figure_code,
        names=figure_items,
        titles=figure_titles,
    script:
        "../workflow_scripts/figures/{wildcards.figure}.py"


# Each figure is also a target by its own name, with its description in `snakemake --list`.
for _figure in config["figures"]:

    rule:
        name:
            _figure
        input:
            collect("<results>/figures/{figure}.{format}", figure=_figure, format=FORMATS),

    workflow.get_rule(_figure).docstring = config["figures"][_figure]["description"]
