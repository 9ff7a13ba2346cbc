"""What the project says of itself, to people and machines: valid, and the same everywhere."""

import datetime
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from meanfield import metadata
from meanfield.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
# Of the schema of the Citation File Format 1.2.0: keys of the file, of persons and of entities.
KEYS = {
    "abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords",
    "license", "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact",
    "repository-code", "title", "type", "url", "version",
}  # fmt: skip
PERSON = {
    "address", "affiliation", "alias", "city", "country", "email", "family-names", "fax", "given-names",
    "name-particle", "name-suffix", "orcid", "post-code", "region", "tel", "website",
}  # fmt: skip
ENTITY = {
    "address", "alias", "city", "country", "date-end", "date-start", "email", "fax", "location", "name", "orcid",
    "post-code", "region", "tel", "website",
}  # fmt: skip


def test_the_citation_file_is_valid():
    assert set(CITATION) <= KEYS
    assert {"authors", "cff-version", "message", "title"} <= set(CITATION)
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] in ("software", "dataset")
    assert isinstance(CITATION["date-released"], datetime.date)
    assert isinstance(CITATION["version"], str)
    assert len(set(CITATION["keywords"])) == len(CITATION["keywords"])
    blocks = [CITATION, *CITATION["references"]]
    for block in blocks:
        assert block["authors"]
        assert block["title"]
        assert block["type"]
        for author in block["authors"]:
            assert set(author) <= (ENTITY if "name" in author else PERSON), author
        if "doi" in block:
            assert re.fullmatch(r"10\.\d{4,9}(\.\d+)?/\S+", block["doi"])


def test_citation_and_package_agree():
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["keywords"] == PROJECT["keywords"]
    assert [author["name"] for author in CITATION["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_codemeta_is_that_of_the_citation_and_the_package():
    text = (ROOT / "codemeta.json").read_text(encoding="utf-8")
    assert text == metadata.codemeta_text(ROOT), "renew it: python -m meanfield codemeta > codemeta.json"
    described = json.loads(text)
    assert described["version"] == PROJECT["version"]
    assert described["license"] == f"https://spdx.org/licenses/{PROJECT['license']}"
    assert described["author"] == [{"@type": "Organization", "name": PROJECT["authors"][0]["name"]}]
    assert described["keywords"] == PROJECT["keywords"]


def test_persons_have_their_names_in_order_and_their_orcid():
    citation = {
        **metadata.read_citation((ROOT / "CITATION.cff").read_text(encoding="utf-8")),
        "authors": [{"family-names": "Noether", "given-names": "Emmy", "orcid": "https://orcid.org/0"}],
    }
    (author,) = metadata.codemeta(citation, PROJECT)["author"]
    assert author == {"@id": "https://orcid.org/0", "@type": "Person", "name": "Emmy Noether"}


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "not readable as YAML"), ("title: x", "version, date-released")]
)
def test_a_citation_file_that_will_not_do_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        metadata.read_citation(text)


def test_the_catalog_finds_what_it_wants():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["software-stack-deployment"]["conda"] is True
    assert (ROOT / "envs/environment.yaml").is_file()
    assert (ROOT / "config/README.md").is_file()
    words = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert "snakemake" in words
    assert "workflow" in words
