# Landscapes on the plane: runs from common starts, the surface, comparisons, smoothings.
#
# reads   config["experiments"][...] of potentials on the plane
# writes  <results>/simulations/{experiment}/{simulation}.nc        end points of one run
#         <results>/analysis/{experiment}/surface.nc                critical points and basins
#         <results>/analysis/{experiment}/minima.nc                 which minimum each run reached how often
#         <results>/analysis/{experiment}/trajectories.nc           a few trajectories
#         <results>/analysis/{experiment}/sensitivity.nc            the same counts with other steps and temperatures
#         <results>/analysis/{experiment}/smoothing.nc              the potential under heat and Hamilton-Jacobi smoothing


rule simulate_plane:
    """Take the common random starts through one run on the plane."""
    output:
        dataset="<results>/simulations/{experiment}/{simulation}.nc",
    log:
        "<logs>/simulate_plane/{experiment}/{simulation}.log",
    benchmark:
        "<benchmarks>/simulate_plane/{experiment}/{simulation}.tsv"
    wildcard_constraints:
        experiment=one_of(PLANES),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        code=plane_code("simulate_plane.py"),
        parameters=plane_parameters("simulation"),
    script:
        "../workflow_scripts/simulate_plane.py"


rule survey_plane:
    """Find critical points and basins of one potential."""
    output:
        dataset="<results>/analysis/{experiment}/surface.nc",
    log:
        "<logs>/survey_plane/{experiment}.log",
    benchmark:
        "<benchmarks>/survey_plane/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(PLANES),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(30),
    params:
        code=code("survey_plane.py"),
        parameters=plane_parameters("surface"),
    script:
        "../workflow_scripts/survey_plane.py"


rule compare_plane:
    """Count which minimum each run of an experiment reached."""
    input:
        runs=plane_runs("minima"),
        surface="<results>/analysis/{experiment}/surface.nc",
    output:
        dataset="<results>/analysis/{experiment}/minima.nc",
    log:
        "<logs>/compare_plane/{experiment}.log",
    benchmark:
        "<benchmarks>/compare_plane/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(PLANES),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        code=plane_code("compare_plane.py", "minima"),
        parameters=plane_parameters("comparison"),
        labels=plane_labels("minima"),
    script:
        "../workflow_scripts/compare_plane.py"


rule trace_plane:
    """Collect trajectories of a few starts under several runs."""
    input:
        runs=plane_runs("trajectories"),
        surface="<results>/analysis/{experiment}/surface.nc",
    output:
        dataset="<results>/analysis/{experiment}/trajectories.nc",
    log:
        "<logs>/trace_plane/{experiment}.log",
    benchmark:
        "<benchmarks>/trace_plane/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(PLANES),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        code=code("trace_plane.py"),
        parameters=plane_parameters("comparison"),
        labels=plane_labels("trajectories"),
    script:
        "../workflow_scripts/trace_plane.py"


rule vary_plane:
    """Repeat several runs with other step sizes and temperatures."""
    input:
        surface="<results>/analysis/{experiment}/surface.nc",
    output:
        dataset="<results>/analysis/{experiment}/sensitivity.nc",
    log:
        "<logs>/vary_plane/{experiment}.log",
    benchmark:
        "<benchmarks>/vary_plane/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(PLANES),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        code=plane_code("vary_plane.py", "sensitivity"),
        parameters=plane_parameters("sensitivity"),
        labels=plane_labels("sensitivity"),
    script:
        "../workflow_scripts/vary_plane.py"


rule smooth_plane:
    """Smooth one potential and follow its minima."""
    output:
        dataset="<results>/analysis/{experiment}/smoothing.nc",
    log:
        "<logs>/smooth_plane/{experiment}.log",
    benchmark:
        "<benchmarks>/smooth_plane/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(PLANES),
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(30),
    params:
        code=code("smooth_plane.py"),
        parameters=plane_parameters("smoothing"),
    script:
        "../workflow_scripts/smooth_plane.py"
