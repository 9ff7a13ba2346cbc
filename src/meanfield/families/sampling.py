"""Flows of measures: particles, Gaussian families and densities on targets of one's choice."""

from meanfield import words

TARGETS = {"gaussian": ("condition",), "banana": ("stiffness",), "muller_brown": ("temperature",)}


def problems(config: dict, key: str, experiment: dict) -> list[str]:
    """Return one line per problem of an experiment that the schema cannot see."""
    found = []
    for name, target in experiment["targets"].items():
        where = f"{key}.targets.{name}"
        wanted = TARGETS[target["kind"]]
        found += [
            f"{where}: key {part!r} is missing, which {target['kind']} needs" for part in wanted if part not in target
        ]
        others = {part for parts in TARGETS.values() for part in parts} - set(wanted)
        found += [f"{where}: {part!r} found, which {target['kind']} does not take" for part in others & set(target)]
        if target["kind"] == "muller_brown" and "box" not in target:
            found.append(f"{where}: key 'box' is missing, which muller_brown needs")
        box = target.get("box", [0, 1, 0, 1])
        if not (box[0] < box[1] and box[2] < box[3]):
            found.append(f"{where}.box: {words.show(box)} found; least x < greatest x and least y < greatest y needed")
        for flow in ("wasserstein", "affine"):
            # Up to rounding: 3 steps of 0.1 are a bit more than 0.3.
            if target["step_sizes"][flow] * experiment["records"] > target["horizon"] * (1 + 1e-12):
                found.append(
                    f"{where}.step_sizes.{flow}: {target['step_sizes'][flow]} found, at most horizon / records = "
                    f"{target['horizon'] / experiment['records']:g} needed"
                )
    return found


def datasets(experiment: dict) -> list[str]:
    """Return the names of the analysed datasets that a figure may show."""
    return ["flows"]


def flow_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides the numbers of one experiment."""
    block = config["experiments"][experiment]
    names = (
        "targets", "particles", "replicates", "records", "grid_nodes", "quadrature_nodes", "conditions", "threshold",
        "maps", "level",
    )  # fmt: skip
    return {"experiment": experiment, "seed": config["seed"], **{name: block[name] for name in names}}
