"""The web report of the tiny build: one file that needs nothing else, and every claim of the ledger on it."""

import json
import re
from html.parser import HTMLParser

import pytest
import xarray as xr
import yaml
from browser import Browser, find_browser
from conftest import ROOT

FIGURES = list(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["figures"])


class Page(HTMLParser):
    """What the elements of a page say."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br", "hr", "link", "input", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(built):
    return built.path("results/report/report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def ledger(built):
    return json.loads(built.path("results/analysis/claims.json").read_text(encoding="utf-8"))


def test_the_page_is_whole_and_every_link_resolves(page):
    assert page.open == []
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    links = [attributes["href"] for attributes in page.all("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(names)
    assert all(link.startswith(("#", "https://", "http://")) for link in links)


def test_nothing_is_fetched(page, text):
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed")
        assert attributes.get("src", "data:").startswith("data:"), tag
        assert "srcset" not in attributes
    assert not re.search(r"@import|url\((?!data:)", "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL)))
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'")


def test_every_figure_is_there_with_words_command_data_and_parameters(page, text):
    for picture in page.all("img"):
        assert len(picture["alt"]) > 20
    shown = [figure["id"] for figure in page.all("figure") if figure.get("id", "").startswith("fig-")]
    assert {f"fig-{name}" for name in FIGURES} <= set(shown)
    for name in FIGURES:
        caption = text[text.index(f'<figure id="fig-{name}"') :].split("</figure>")[0]
        assert "<strong>Figure" in caption
        assert 'src="data:image/' in caption
        assert f"snakemake --cores 8 {name}<" in text
    assert "Parameters of <code>isotropic</code>" in text
    assert "results/analysis/isotropic/sgd.nc" in text
    assert "meanfield-figures" in text


def test_every_claim_of_the_ledger_has_its_verdict_on_the_page(page, text, ledger):
    claims = yaml.safe_load((ROOT / "report/claims.yaml").read_text(encoding="utf-8"))["claims"]
    assert [claim["id"] for claim in ledger["claims"]] == [claim["id"] for claim in claims]
    shown = {card["id"]: card["data-verdict"] for card in page.all("article")}
    assert shown == {f"claim-{claim['id']}": claim["verdict"] for claim in ledger["claims"]}
    filters = [button["data-filter"] for button in page.all("button") if "data-filter" in button]
    assert filters == ["all", *(name for name in filters[1:])]
    assert set(filters[1:]) == set(shown.values())


def test_every_claim_is_evaluated_or_says_why_not(ledger, built):
    assert sum(ledger["counts"].values()) == len(ledger["claims"])
    parts = [part for claim in ledger["claims"] for part in claim["parts"]]
    for part in parts:
        if part["verdict"] == "not evaluated":
            assert part["estimate"] is None
            assert len(part["reason"]) > 10
        else:
            assert part["estimate"] is not None
            assert part["interval"]
            assert part["reason"] == ""
    # The tiny build has data for many of them, and lacks others.
    assert {"not evaluated", "inconclusive"} < {part["verdict"] for part in parts}
    evaluated = {part["statistic"] for part in parts if part["verdict"] != "not evaluated"}
    assert {"replicate_mean", "share", "stored", "paired_ratio", "limit_value", "survival"} <= evaluated
    with xr.open_dataset(built.path("results/analysis/claims.nc"), decode_times=False) as dataset:
        assert dataset["verdict"].values.tolist() == [claim["verdict"] for claim in ledger["claims"]]
        assert dataset["verdict_of_part"].values.tolist() == [part["verdict"] for part in parts]


def test_a_changed_criterion_reruns_the_ledger_and_the_reports_alone(rebuilt):
    rebuilt.edit("report/claims.yaml", "below: 0.03\n", "below: 0.04\n")
    assert rebuilt.planned() == dict.fromkeys(("all", "evaluate_claims", "build_report", "build_web"), 1)


def test_a_remark_in_the_ledger_reruns_nothing(rebuilt):
    rebuilt.edit("report/claims.yaml", "claims:\n", "# a remark\nclaims:\n")
    assert rebuilt.planned() == {}


def test_a_slip_in_the_ledger_is_refused_before_any_job_starts(rebuilt):
    rebuilt.edit("report/claims.yaml", "statistic: limit_value", "statistic: limit_valve")
    done = rebuilt.run("--dry-run", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "claims: claims.1.parts.0.statistic: 'limit_valve' found (did you mean 'limit_value'?)" in lines[0]


# -- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium or Chrome here; install one, or name one in MEANFIELD_BROWSER")
    found = Browser(program, tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_without_complaint_at_the_width_of_a_phone_and_of_a_desk(browser, built, ledger, width):
    address = built.path("results/report/report.html").as_uri()
    browser.open(address, width)
    assert browser.evaluate("window.innerWidth") == width
    # Nothing reaches beyond the page but what scrolls by itself.
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    pictures = browser.evaluate(
        "[...document.querySelectorAll('figure img')].map(p => [p.naturalWidth, p.getBoundingClientRect().width])"
    )
    assert len(pictures) >= len(FIGURES)
    assert all(natural > 0 and width / 3 < shown <= width for natural, shown in pictures)
    assert browser.evaluate("document.querySelectorAll('.gallery img').length") == len(FIGURES)
    assert browser.evaluate("document.querySelector('.menu').open") == (width > 1000)
    # The filters show the claims of one verdict, and all of them again.
    visible = "[...document.querySelectorAll('.claim')].filter(c => c.offsetHeight > 0).map(c => c.dataset.verdict)"
    for verdict, count in ledger["counts"].items():
        if count:
            browser.evaluate(f"document.querySelector('[data-filter=\"{verdict}\"]').click()")
            assert browser.evaluate(visible) == [verdict] * count
    browser.evaluate("document.querySelector('[data-filter=\"all\"]').click()")
    assert len(browser.evaluate(visible)) == len(ledger["claims"])
    # A figure opens large, and closes.
    browser.evaluate("document.querySelector('figure img').click()")
    assert browser.evaluate("document.querySelector('dialog').open") is True
    browser.evaluate("document.querySelector('dialog button').click()")
    assert browser.evaluate("document.querySelector('dialog').open") is False
    assert browser.complaints() == []
    assert browser.requested() == [address]
