"""Run trials and write what came of them into docs/reliability.md.

python -m tests.reliability                     all of them, an hour or two on two cores
python -m tests.reliability kills --count 100   one of them, so many times
python -m tests.reliability --render            the page again from the recorded rows
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from meanfield import io, provenance
from tests.reliability import checkpoints, damages, disks, identity, kills, mutations, twice
from tests.reliability.common import ROOT, Row

TRIALS = {
    "kills": (kills.run, 50),
    "checkpoints": (checkpoints.run, 20),
    "damages": (damages.run, 300),
    "mutations": (mutations.run, 2000),
    "disks": (disks.run, 8),
    "twice": (twice.run, 10),
    "identity": (identity.run, len(identity.VARIANTS)),
}
ROWS = ROOT / "docs/reliability.json"
PAGE = ROOT / "docs/reliability.md"

# What the test suite itself tries on every run: a row each, with the test to look at.
TESTED = [
    ("a truncated dataset under an analysis", "tests/workflow/test_bad_input.py",
     "test_a_truncated_dataset_stops_its_analysis_alone"),
    ("kill -9 in mid-simulation", "tests/workflow/test_bad_input.py",
     "test_a_kill_in_mid_simulation_leaves_nothing_half_written_and_the_same_command_goes_on"),
    ("kill -9 of a simulation whose state was saved", "tests/workflow/test_bad_input.py",
     "test_a_killed_simulation_goes_on_from_its_saved_state_with_the_same_bits"),
    ("every optimiser killed at every few looks, on each problem", "tests/unit/test_checkpoints.py",
     "test_a_killed_run_of_a_network_goes_on_with_the_same_bits"),
    ("a damaged or foreign saved state", "tests/unit/test_checkpoints.py",
     "test_a_damaged_or_foreign_file_is_passed_over_and_said_so"),
    ("a diverging simulation", "tests/workflow/test_bad_input.py", "test_a_diverging_simulation_says_which_and_why"),
    ("each of 200 flipped bits of a dataset", "tests/unit/test_io.py", "test_a_flipped_bit_anywhere_is_seen"),
    ("a full disk while a dataset is written", "tests/unit/test_io.py",
     "test_a_full_disk_is_named_and_leaves_nothing"),
    ("300 mutated configurations", "tests/unit/test_config.py", "test_any_mutation_is_valid_or_refused_in_lines"),
    ("digits with a wrong checksum", "tests/unit/test_digit_images.py",
     "test_a_wrong_checksum_names_the_file_and_both_values"),
    ("a mirror of the digits with other content", "tests/unit/test_digit_images.py",
     "test_a_mirror_with_other_content_is_passed_over"),
    ("digits without a network", "tests/unit/test_digit_images.py",
     "test_without_files_and_network_the_small_digits_remain"),
    ("a truncated or damaged file of digits", "tests/unit/test_digit_images.py",
     "test_a_damaged_file_is_an_error_and_no_reason_to_fall_back"),
    ("a compressed file that unpacks without end", "tests/unit/test_digit_images.py",
     "test_a_file_that_unpacks_without_end_is_refused"),
    ("a pickle in the place of digits", "tests/unit/test_digit_images.py", "test_nothing_is_unpickled"),
    ("importing the package without a network", "tests/unit/test_digit_images.py",
     "test_importing_touches_no_network"),
    ("one core and another folder", "tests/workflow/test_build.py",
     "test_one_core_and_another_folder_give_the_same_bytes"),
]  # fmt: skip

HEAD = """# Reliability

Written by `make reliability`, which runs the trials of `tests/reliability/`; no count is typed by hand. A trial counts
as right if what came of it is what had to come of it. The random choices follow a seed.

"""


def page(rows: dict[str, dict]) -> str:
    """Return the page of the recorded rows."""
    lines = [HEAD + "| trial | what has to come of it | right / tried | revision | minutes |", "|---|---|---|---|---|"]
    for row in rows.values():
        lines.append(
            f"| {row['tried']} | {row['expected']} | {row['good']} / {row['count']} | `{row['revision']}` "
            f"| {max(1, round(row['seconds'] / 60))} |"
        )
    missing = [name for name in TRIALS if name not in {row["trial"] for row in rows.values()}]
    if missing:
        lines += ["", f"Written and not run to their end yet: {', '.join(missing)}."]
    lines += ["", "What came of each, counted:", ""]
    for row in rows.values():
        lines += [f"- **{row['name']}**:", *(f"  - {count} × {text}" for text, count in row["outcomes"].items())]
    lines += ["", "The test suite tries these on every run:", "", "| tried | test |", "|---|---|"]
    lines += [f"| {tried} | `{file}::{name}` |" for tried, file, name in TESTED]
    return "\n".join(lines) + "\n"


def recorded() -> dict[str, dict]:
    """Return the recorded rows."""
    return json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else {}


def main() -> int:
    """Run the trials that are named, all if none is, and record each as it ends; 1 if anything came out wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__.splitlines()[0])
    parser.add_argument("trials", nargs="*", choices=[[], *TRIALS], help=f"some of {', '.join(TRIALS)}")
    parser.add_argument("--count", type=int, help="how many times, instead of the usual number")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices (1)")
    parser.add_argument("--render", action="store_true", help="only write the page again")
    arguments = parser.parse_args()
    rows, bad = recorded(), 0
    for name in () if arguments.render else arguments.trials or TRIALS:
        trial, usual = TRIALS[name]
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="meanfield-reliability-") as folder:
            found = trial(Path(folder), arguments.count or usual, arguments.seed)
        for row in [found] if isinstance(found, Row) else found:
            row.trial, row.revision, row.seconds = name, provenance.revision(), round(time.monotonic() - began)
            rows[row.name] = row.plain()
            bad += row.good != row.count
            print(f"{row.name}: {row.good} of {row.count} right; {row.outcomes}")
        io.write_json(rows, ROWS)
    io.write_text(page(rows), PAGE)
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
