"""The same bytes whatever the cores, the order of the jobs, the folder and the environment."""

import random
from collections import Counter
from pathlib import Path

from tests.reliability.common import Row, digests, quick_project, start, tally

VARIANTS = {
    "one core": {"cores": 1},
    "eight cores": {"cores": 8},
    "another order of jobs": {"arguments": ("--prioritize", "results/analysis/sampling/flows.nc")},
    "a long path with a space and an accent": {"folder": "a rather long folder name/où/project"},
    "time zone of Kathmandu": {"environment": {"TZ": "Asia/Kathmandu"}},
    "locale with decimal commas": {"environment": {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8"}},
    "locale C": {"environment": {"LC_ALL": "C", "LANG": "C"}},
    "umask 077": {"umask": 0o077},
    "other hash seed": {"environment": {"PYTHONHASHSEED": "4242"}},
    "random hash seed": {"environment": {"PYTHONHASHSEED": "random"}},
}
FIGURES = (
    "fig03_isotropic_dd", "fig04_spin3_kernel", "fig10_optimisers_digits", "fig11_muller_brown_minima",
    "ext_sampling_flows", "ext_multiscale", "ext_gradient_flow",
)  # fmt: skip


def run(work: Path, count: int, seed: int) -> Row:
    """Build figures of each family at the tiny scale under `count` of the variants and compare all bytes."""
    calm = quick_project(work / "calm", "tests/tiny.yaml")
    calm.run(*FIGURES)
    truth = digests(calm.path("results"))
    outcomes = Counter()
    names = list(VARIANTS)
    random.Random(seed).shuffle(names)
    for name in names[:count]:
        variant = VARIANTS[name]
        project = quick_project(work / variant.get("folder", name.replace(" ", "-")), "tests/tiny.yaml")
        process = start(
            project, *FIGURES, *variant.get("arguments", ()),
            cores=variant.get("cores", 2), umask=variant.get("umask", -1), **variant.get("environment", {}),
        )  # fmt: skip
        if process.wait():
            outcomes[f"{name}: failed"] += 1
            continue
        found = digests(project.path("results"))
        differing = [one for one in truth if found.get(one) != truth[one]]
        outcomes[f"{name}: {'identical' if not differing else f'{len(differing)} files differ, {differing[0]}'}"] += 1
    good = {one for one in outcomes if one.endswith(": identical")}
    return tally(
        "byte identity", f"{len(truth)} datasets and figures built under another setting",
        "every file identical to those of two cores in another folder", outcomes, good,
    )  # fmt: skip
