"""What the project is, for machines: CITATION.cff read, and CodeMeta and RO-Crate written from it."""

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from meanfield.errors import DataError

_LICENCES = "https://spdx.org/licenses/"
_DATA_LICENCE = f"{_LICENCES}CC-BY-4.0"
_FORMATS = {
    ".nc": "application/x-netcdf",
    ".json": "application/json",
    ".pdf": "application/pdf",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".html": "text/html",
    ".yaml": "application/yaml",
    ".tsv": "text/tab-separated-values",
    ".md": "text/markdown",
    ".py": "text/x-python",
}
# Of CITATION.cff, what CodeMeta and RO-Crate are made from.
_NEEDED = ("title", "version", "date-released", "license", "authors", "keywords", "abstract")


def read_citation(text: str) -> dict[str, Any]:
    """Return the entries of CITATION.cff, dates as text.

    Raises
    ------
    DataError
        If it is not YAML or lacks an entry that the metadata are made from.

    """
    try:
        citation = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"CITATION.cff: not readable as YAML: {str(error).splitlines()[0]}") from error
    missing = [key for key in _NEEDED if not (isinstance(citation, dict) and citation.get(key))]
    if missing:
        raise DataError(f"CITATION.cff: {', '.join(missing)}: missing")
    return {**citation, "version": str(citation["version"]), "date-released": str(citation["date-released"])}


def _authors(citation: dict) -> list[dict[str, Any]]:
    # In CITATION.cff, a person has a family name and an entity a name.
    authors = []
    for n, author in enumerate(citation["authors"], 1):
        name = author.get("name") or f"{author.get('given-names', '')} {author.get('family-names', '')}".strip()
        kind = "Organization" if "name" in author else "Person"
        authors.append(
            {"@id": author.get("orcid") or author.get("website") or f"#author-{n}", "@type": kind, "name": name}
        )
    return authors


def codemeta(citation: dict, project: dict) -> dict[str, Any]:
    """Return the CodeMeta description of the software.

    Parameters
    ----------
    citation : dict
        CITATION.cff, from `read_citation`.
    project : dict
        The table `project` of pyproject.toml.

    """
    authors = [{key: value for key, value in one.items() if value[0] != "#"} for one in _authors(citation)]
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": citation["title"],
        "description": citation["abstract"],
        "version": citation["version"],
        "datePublished": citation["date-released"],
        "license": f"{_LICENCES}{citation['license']}",
        "author": authors,
        "keywords": citation["keywords"],
        "programmingLanguage": ["Python", "Snakemake"],
        "runtimePlatform": f"Python {project['requires-python']}",
        "softwareRequirements": project["dependencies"],
        "referencePublication": [
            {"@type": "ScholarlyArticle", "name": one["title"], "@id": f"https://doi.org/{one['doi']}"}
            for one in citation.get("references", [])
            if "doi" in one
        ],
    }


def codemeta_text(folder: Path) -> str:
    """Return the text of codemeta.json for a project's folder."""
    texts = []
    for name in ("CITATION.cff", "pyproject.toml"):
        if not (folder / name).is_file():
            raise DataError(f"{name}: no such file here; run this in the project's folder")
        texts.append((folder / name).read_text(encoding="utf-8"))
    described = codemeta(read_citation(texts[0]), tomllib.loads(texts[1])["project"])
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def crate(card: dict, citation: dict, sizes: dict[str, int], made: int) -> dict[str, Any]:
    """Return the Workflow RO-Crate 1.0 (RO-Crate 1.1) of an archive.

    Parameters
    ----------
    card : dict
        The archive's own description, see `meanfield.archive`.
    citation : dict
        CITATION.cff, from `read_citation`.
    sizes : dict
        Size of every file of the archive [bytes], by name.
    made : int
        When the archived revision was committed, in seconds since 1970: no clock is asked.

    """
    results = f"{card['results']}/"
    licence = f"{_LICENCES}{citation['license']}"
    authors = _authors(citation)
    software = [
        {"@id": f"#{name}", "@type": "SoftwareApplication", "name": name, "version": version}
        for name, version in sorted(card["versions"].items())
    ]
    files = []
    for name in sorted(sizes):
        ending = PurePosixPath(name).suffix
        entity = {"@id": name, "@type": "File", "name": name, "contentSize": str(sizes[name])}
        if ending in _FORMATS:
            entity["encodingFormat"] = _FORMATS[ending]
        if name.startswith(results):
            entity["license"] = {"@id": _DATA_LICENCE}
        figure = PurePosixPath(name).stem
        if name.startswith(f"{results}figures/") and figure in card["figures"]:
            entity["description"] = card["figures"][figure]
        files.append(entity)
    by_name = {entity["@id"]: entity for entity in files}
    by_name["Snakefile"].update(
        {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": citation["title"],
            "conformsTo": {"@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"},
            "programmingLanguage": {"@id": "#snakemake-language"},
            "license": {"@id": licence},
            "creator": _references(authors),
            "version": card["revision"],
            "softwareRequirements": _references(software),
        }
    )
    if "README.md" in by_name:
        by_name["README.md"]["about"] = {"@id": "./"}
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{card['name']} {card['version']}: workflow, datasets, figures and report",
        "description": citation["abstract"],
        "datePublished": datetime.fromtimestamp(made, UTC).date().isoformat(),
        "version": f"{card['version']}, revision {card['revision']}",
        "license": {"@id": licence},
        "author": _references(authors),
        "keywords": ", ".join(citation["keywords"]),
        "mainEntity": {"@id": "Snakefile"},
        "hasPart": _references(files),
    }
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": [
            {"@id": "https://w3id.org/ro/crate/1.1"},
            {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
        ],
    }
    language = {
        "@id": "#snakemake-language",
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "identifier": {"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
        "url": {"@id": "https://snakemake.readthedocs.io"},
    }
    licences = [
        {"@id": licence, "@type": "CreativeWork", "name": f"{citation['license']} (code)"},
        {"@id": _DATA_LICENCE, "@type": "CreativeWork", "name": "CC-BY-4.0 (datasets, figures and report)"},
    ]
    graph = [descriptor, root, *files, language, *software, *authors, *licences]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}


def _references(entities: list[dict]) -> list[dict[str, str]]:
    return [{"@id": entity["@id"]} for entity in entities]
