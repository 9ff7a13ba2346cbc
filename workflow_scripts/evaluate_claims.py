"""Rule evaluate_claims: judge every claim of the ledger by its statistic and the criterion that was fixed for it."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from meanfield import io, provenance
from meanfield.analysis import claims as judge
from meanfield.errors import DataError
from meanfield.logs import logged_to, logger

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# What a verdict says where the claim has no words of its own for it.
MEANS = {
    judge.REPRODUCED: "Every quantity lies, with its whole interval, where the claim says.",
    judge.NOT_REPRODUCED: "At least one quantity lies, with its whole interval, elsewhere than the claim says.",
    judge.INCONCLUSIVE: "No quantity contradicts the claim, but at least one interval holds values on both sides.",
    judge.NOT_EVALUATED: "This run lacks a dataset that the claim needs.",
}


def evaluate(claims: list[dict], datasets: dict[str, xr.Dataset], missing: dict[str, str]) -> list[dict[str, Any]]:
    """Return the claims with estimates, intervals and verdicts.

    Parameters
    ----------
    claims : list of dict
        Those of the ledger.
    datasets : dict
        Analysed datasets by name.
    missing : dict
        Why a dataset is not there, for those that are not.

    """
    found = []
    for claim in claims:
        parts = []
        for part in claim["parts"]:
            reasons = [missing[item] for item in part["data"] if item in missing]
            if reasons:
                low, high = judge.region(part)
                result = judge.not_evaluated(reasons[0]) | {"criterion_low": low, "criterion_high": high}
            else:
                result = judge.evaluate(part, [datasets[item] for item in part["data"]])
            parts.append({**part, **result})
        verdict = judge.weakest([part["verdict"] for part in parts])
        means = claim.get("means", {}).get(verdict.replace(" ", "_"), MEANS[verdict])
        found.append({**claim, "parts": parts, "verdict": verdict, "meaning": means})
        logger.info("%s: %s", claim["id"], verdict)
    return found


def labelled(claims: list[dict[str, Any]]) -> xr.Dataset:
    """Return the verdicts and numbers as a dataset, one entry per part."""
    v = io.variable
    rows = [(n, part) for n, claim in enumerate(claims) for part in claim["parts"]]

    def column(key: str, kind: type) -> np.ndarray:
        return np.array([part[key] for _, part in rows], dtype=kind)

    return xr.Dataset(
        {
            "statement": v("claim", np.array([claim["statement"] for claim in claims], dtype=str), "what is claimed"),
            "verdict": v("claim", np.array([claim["verdict"] for claim in claims], dtype=str), "computed verdict"),
            "claim_of_part": v("part", np.array([n for n, _ in rows], dtype=np.int64), "claim of the part, from 0"),
            "what": v("part", column("what", str), "quantity"),
            "estimate": v("part", column("estimate", float), "its estimate"),
            "low": v("part", column("low", float), "lower end of its 95 % interval"),
            "high": v("part", column("high", float), "upper end of its 95 % interval"),
            "count": v("part", column("count", np.int64), "replicates, pairs or trials behind it"),
            "criterion_low": v("part", column("criterion_low", float), "least value that the claim allows"),
            "criterion_high": v("part", column("criterion_high", float), "greatest value that the claim allows"),
            "decided_by": v("part", column("decided_by", str), "of an extreme over methods: the one that has it"),
            "bound": v("part", column("bound", str), "where the estimate is but a bound: which"),
            "verdict_of_part": v("part", column("verdict", str), "computed verdict of the part"),
            "reason": v("part", column("reason", str), "why there is no estimate"),
        },
        coords={"claim": v("claim", np.array([claim["id"] for claim in claims], dtype=str), "name of the claim")},
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        paths = dict(zip(snakemake.params.names, snakemake.input.data, strict=True))
        try:
            datasets = {name: io.read_dataset(path) for name, path in paths.items()}
        except DataError as error:
            raise DataError(f"claims: {error}") from error
        claims = evaluate(snakemake.params.claims, datasets, snakemake.params.missing)
        counts = {name: sum(claim["verdict"] == name for claim in claims) for name in MEANS}
        dataset = provenance.stamp(
            labelled(claims),
            title="The claims ledger",
            summary="Estimates with 95 % intervals, criteria and computed verdicts of the claims of the report.",
            rule=snakemake.rule,
            parameters={"claims": snakemake.params.claims},
            inputs=paths,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
        io.write_json(
            {"level": judge.LEVEL, "counts": counts, "means": MEANS, "claims": claims}, snakemake.output.ledger
        )
