"""The report's text as a whole: what each section alone cannot see."""

import collections
import html
import inspect
import json
import re

import pytest
from conftest import ROOT
from typst_source import CODE, MATH, PROSE, STRING, Source

from meanfield import config as configuration
from meanfield.analysis import claims, intervals
from meanfield.typesetting import typeset

SECTIONS = sorted((ROOT / "report/sections").glob("*.typ"))
TEXT = [ROOT / "report/report.typ", *SECTIONS]

# Digits that may be typed in prose, because no experiment decides them. A pattern may not take in more than its reason
# covers: a number that is measured, tuned or chosen comes from a dataset or from the configuration.
ALLOWED = {
    r"\b95~%": "the level of every interval, a constant of the code that another test compares",
    r"\b3-spin\b": "a name",
    r"\bSHA-256\b": "a name",
    r"\bPhilox-4x32-10\b": "a name",
    r"\b8\(5,3\)": "the name of a Runge–Kutta pair, by its orders",
    r"\bequation \(\d+\)": "an equation of somebody else's text",
}
# The same for strings that are read by people: alternative texts, and labels that code passes on.
ALLOWED_STRINGS = {
    r'^"minimum \d"$': "the name of an entry of the datasets",
    r'^"1 / 1"$': "the pattern of page numbers",
    r"--cores 8 ": "a command to copy",
}
# A number in a formula is part of it up to nine, and as a base, an exponent or an index; others look like results.
FORMULA = re.compile(r"(?<![\w.^_])(?<!\^\()(?<!\^\(-)(?:\d+\.\d+|\.\d+|\d{2,})(?!\w|\.\d|\^)")
DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
# Helpers that print a number: with a number typed as their argument they print that.
TYPED = re.compile(r"\b(?:num|sci|plain|interval|ends|percent|duration|counted|figure-of|bound)\(\s*-?[\d.]+\s*[,)]")


def typed_numbers(text):
    """Return line and text of every number in a typst source that is typed where readers see a result."""
    source = Source(text)
    found = []

    def note(match):
        found.append((match.start(), match[0]))

    prose = source.only(PROSE)
    for pattern in ALLOWED:
        prose = re.sub(pattern, lambda match: "\0" * len(match[0]), prose)
    for match in DIGITS.finditer(prose):
        note(match)
    for match in FORMULA.finditer(source.only(MATH)):
        note(match)
    for match in TYPED.finditer(source.only(CODE)):
        note(match)
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"', source.only(STRING)):
        if " " in match[0] and DIGITS.search(match[0]) and not any(re.search(p, match[0]) for p in ALLOWED_STRINGS):
            note(match)
    return [(source.line(place), number) for place, number in sorted(found)]


@pytest.mark.parametrize("path", TEXT, ids=lambda path: path.stem)
def test_no_number_is_typed_into_the_text(path):
    assert typed_numbers(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("The risk is 0.178 at the end.", ["0.178"]),
        ("It is 7~% smaller, in 3 of 5 runs.", ["7", "3", "5"]),
        ("#if risk < 1 [The risk falls to 0.02.] else [It stays.]", ["0.02"]),
        ("#if has(a) [It is fine.] else if has(b) [It is 12.] else [It is 13.]", ["12", "13"]),
        (
            '#fig("fig02_isotropic", [Norms at iteration 4000.], alt: "Risk after 10 runs")',
            ["4000", '"Risk after 10 runs"'],
        ),
        ("#let words = (a: [about 20 neurons])", ["20"]),
        ("#for (n, x) in list.enumerate() [#num(x, 4) and 5, ]", ["5"]),
        ("#context [a 6]", ["6"]),
        ("The norm is $r = 2.0882$, of $N = 800$ neurons.", ["2.0882", "800"]),
        ("It is $40$ times #[as 7].", ["40", "7"]),
        ("The risk is #num(0.178, 4), #plain(12) or #sci(-3, 1).", ["num(0.178,", "plain(12)", "sci(-3,"]),
        ("| a | 9 |", ["9"]),
        # What is no result.
        ("As @mei2018[eq. 3] and @tab-runs show, see @eq-dd.", []),
        ("$x^2 + 1/2 sum_(i=1)^N w_12 <= 10^(-10) e^(-25) 2^33 d^10$ in $d = infinity$ <eq-a1>", []),
        ("#set text(size: 10pt)\n#let a = get(b, 12)\n#v(4pt)#box(width: 12mm)[a]", []),
        ("`results/2026` // 3 of 4\n/* 5 */ https://doi.org/10.1000/182", []),
        ('#num(get(entry, "risk"), 4), #num(1 / calc.sqrt(n), 2), #plain(100 * share)~%', []),
        ("The spherical 3-spin, 95~% intervals, equation (140).", []),
        ("#if a [b] else { 12 }; #x.at(3).len()", []),
    ],
)
def test_the_scan_finds_what_is_typed_and_nothing_else(text, numbers):
    assert [found for _, found in typed_numbers(text)] == numbers


def test_the_scan_knows_the_line():
    assert typed_numbers("= Title\n\nText.\n#if a [\n  It is 12.\n]\n") == [(5, "12")]


@pytest.mark.parametrize("text", ["[a", "#f(a", "$x", '#f("a)', "`a", "#let a = (1", "a ] b"])
def test_a_source_that_is_not_closed_is_refused(text):
    with pytest.raises(ValueError, match=r"not closed|inside brackets|not open"):
        Source(text).only(PROSE)


def test_every_allowed_pattern_is_in_use():
    prose = "\n".join(Source(path.read_text("utf-8")).only(PROSE) for path in TEXT)
    assert [pattern for pattern in ALLOWED if not re.search(pattern, prose)] == []


def test_the_level_in_the_text_is_that_of_the_code():
    assert claims.LEVEL == 0.95
    for name in ("mean_interval", "log_interval", "wilson_interval"):
        assert inspect.signature(getattr(intervals, name)).parameters["level"].default == 0.95


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


@pytest.mark.parametrize("path", TEXT, ids=lambda path: path.stem)
def test_no_semicolon_is_lost(path):
    # Behind an expression it ends the expression and is not printed; \; is.
    source = Source(path.read_text("utf-8"))
    after = zip(source.text, source.modes, source.modes[1:], strict=False)
    lost = [place for place, (one, here, then) in enumerate(after) if one == ";" and here == CODE and then == PROSE]
    assert [source.line(place) for place in lost] == []


def test_no_sign_is_lost_in_the_web_report():
    # Typst leaves these out of MathML without an error: a mean would look like the thing itself. An accent stays.
    for path in TEXT:
        assert not re.search(
            r"\b(?:overline|underline|overbrace|underbrace)\(", Source(path.read_text("utf-8")).only(MATH)
        )


def paragraphs(page):
    """Return the paragraphs, list items and table cells of an exported page as text, without parameters."""
    body = page[page.index("<body") :]
    body = re.sub(r"<(details|pre|svg)\b.*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r"<math.*?</math>", lambda match: re.sub(r"<[^>]+>", "", match[0]), body, flags=re.DOTALL)
    body = re.sub(r"</?(?:p|li|td|th|tr|figcaption|h\d|div|table)\b[^>]*>", "\0", body)
    text = html.unescape(re.sub(r"<[^>]+>", "", body))
    return [" ".join(line.split()) for line in text.split("\0") if line.strip()]


# What a sentence looks like in which something is missing.
BROKEN = re.compile(
    r" [,;)](?!\w)| \.(?![\w.])|\(\s*\)|\( |,,|(?<!\.)\.\.(?!\.)|[:,(] ?\.(?!\.)"
    r"|\b(?:of|is|by|to|at|than|from|the) ?[.;](?!\w)"
)


def test_broken_sentences_are_found():
    for text in ("The risk is .", "from 3 to; and", "(see )", "It is 3 , and", "The end.. Then", "at risk, ."):
        assert BROKEN.search(text)
    assert not BROKEN.search("It is – at t = –, and (–) of 0.5 … and 1, ..., n.")


@pytest.mark.parametrize("known", ["nothing", "configuration"])
def test_the_text_stands_where_data_are_missing(known, tmp_path):
    config = configuration.load_config(ROOT / "config.yaml", schema=ROOT / "schemas/config.schema.yaml")
    ledger = configuration.read_mapping(ROOT / "report/claims.yaml")
    missing = {"verdict": "not evaluated", "reason": "this run has no such experiment", "criterion_low": 0.0}
    for claim in ledger["claims"]:
        claim |= {"verdict": "not evaluated", "meaning": "-", "parts": [part | missing for part in claim["parts"]]}
    data = {"values": {}, "claims": {}} if known == "nothing" else {"values": {"config": config}, "claims": ledger}
    for name, content in data.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    empty = b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3" viewBox="0 0 4 3"></svg>'
    page = typeset(
        [*map(str, TEXT), str(ROOT / "report/references.bib")],
        {f"{figure}.svg": empty for figure in [*config["figures"], "rule_graph"]},
        {f"{name}.json": str(tmp_path / f"{name}.json") for name in data},
        "html",
    ).decode("utf-8")
    text = paragraphs(page)
    assert sum(len(line) > 200 for line in text) > 20  # there is a text
    references = text.index("References")
    assert [line for line in text[:references] if BROKEN.search(line)] == []
