"""The report's text as a whole: what each section alone cannot see."""

import collections
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = sorted((ROOT / "report/sections").glob("*.typ"))


def test_labels_are_unique_over_all_sections():
    labels = collections.Counter(
        label for path in SECTIONS for label in re.findall(r"<((?:eq|sec|tab)-[\w-]+)>", path.read_text("utf-8"))
    )
    assert len(labels) > 20
    assert [label for label, count in labels.items() if count > 1] == []


def test_every_reference_has_its_label():
    whole = "\n".join(path.read_text("utf-8") for path in SECTIONS)
    labels = set(re.findall(r"<((?:eq|sec|tab)-[\w-]+)>", whole))
    wanted = set(re.findall(r"@((?:eq|tab)-[\w-]*\w)", whole)) | set(re.findall(r'#see\("(sec-[\w-]+)"\)', whole))
    assert wanted - labels == set()
