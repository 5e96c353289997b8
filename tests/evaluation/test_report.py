"""The page: whole, safe with hostile data, readable by machines that read aloud, and the same every time."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from report_sample import METRICS, NAMES, SHOWN, contrast, picture, sample_report

from recsys.core.errors import ArtifactError
from recsys.evaluation import page as page_module
from recsys.evaluation.page import render
from recsys.evaluation.publish import report_markdown, write_report
from recsys.evaluation.report import ListedItem, RankerRow, RecommendedList, Report
from recsys.evaluation.svg import check_svg

PAYLOAD = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(1)></style></title><!-- {{ 7 * 7 }} {% raw %} \x00\u202e"
)
VOID = {"meta", "img", "br", "hr", "link", "input"}
CSS = Path(page_module.__file__).with_name("report.css").read_text(encoding="utf-8")


class Page(HTMLParser):
    """What a browser would find: tags with attributes in order, text by tag, and whether all that opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.text: list[tuple[str, str]] = []
        self.comments: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack:
            self.text.append((self.stack[-1], data))

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def words(self) -> str:
        return " ".join(" ".join(data for tag, data in self.text if tag != "style").split())

    def headings(self) -> list[str]:
        return [data.strip() for tag, data in self.text if re.fullmatch("h[1-6]", tag) and data.strip()]


@pytest.fixture(scope="module")
def html() -> str:
    return render(sample_report())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def poisoned(value: Any) -> Any:
    """The same report with the payload before every text, pictures and figures left as they are."""
    if isinstance(value, str):
        return value and PAYLOAD + value
    if is_dataclass(value):
        kept = {"image", "figure_svg"}
        return replace(value, **{f.name: poisoned(getattr(value, f.name)) for f in fields(value) if f.name not in kept})
    if isinstance(value, dict) or hasattr(value, "items"):
        return {poisoned(key) if isinstance(key, str) else key: poisoned(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(poisoned, value))
    return value


def poisoned_report() -> Report:
    sample = sample_report()
    segments = [{key: poisoned(value) for key, value in row.items()} for row in sample.segments]
    protocol = {key: poisoned(value) for key, value in sample.protocol.items()}
    return replace(poisoned(sample), segments=segments, protocol=protocol)


def test_nothing_is_fetched_and_nothing_runs(html: str, page: Page) -> None:
    assert not re.search(r"https?:|//[a-z]|url\(|@import", html)
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert not {"href", "srcset", "action", "style"} & set(attributes)
        assert "src" not in attributes or (tag == "img" and attributes["src"].startswith("data:image/png;base64,"))


def test_policy_stands_before_all_that_it_governs(page: Page) -> None:
    order = [tag for tag, _ in page.tags]
    policy = [meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert [meta["content"] for meta in policy] == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert order.index("meta") < order.index("style") < order.index("main")


def test_markup_in_any_text_stays_text() -> None:
    report = poisoned_report()
    found, plain = Page(render(report)), Page(render(sample_report()))
    drawn = {"circle", "path", "rect", "line"}  # the shapes of a drawn card follow from its title
    count = [Counter(tag for tag, _ in one.tags if tag not in drawn) for one in (found, plain)]
    assert count[0] == count[1]
    assert found.comments == []
    assert {name for _, attributes in found.tags for name in attributes} == {
        name for _, attributes in plain.tags for name in attributes
    }
    shown = PAYLOAD.replace("\x00", "").replace("\u202e", "")
    texts = "".join(data for _, data in found.text)
    for part in [report.title, report.lists[0].who, report.lists[0].items[3].title, report.rankers[2].label]:
        assert part.replace(PAYLOAD, shown) in texts


def test_all_rows_and_figures_are_there(page: Page) -> None:
    words, report = page.words(), sample_report()
    for row in report.rankers:
        for value in row.summary.values():
            assert f"{value:.4f}" in words
        for low, high in row.intervals.values():
            assert f"{low:.4f}–{high:.4f}" in words
        assert f"{row.label} " in words
    for title, attributes, _ in SHOWN:
        assert words.count(title) == (2 if title == "Star Wars (1977)" else 4)  # name and drawn card, in two lists
        assert " · ".join(attributes) in words
    for text in [*report.summary, *(text for _, text in report.facts if isinstance(text, str)), *report.glossary]:
        assert text in words
    for what, _, example in report.counts:
        assert what in words
        assert example in words
    assert "8a1f00c2d94e77ab" in words
    assert "House rule none" in words
    assert "regularization = 180.0" in words
    assert words.endswith("date 2026-01-31 commit 0123456789ab command recsys demo --set ranker.num_layers=3")


def test_results_are_ordered_marked_and_bold(html: str) -> None:
    table = re.search(r"<table>\s*<caption>Test metrics, first 20.*?</table>", html, re.DOTALL)[0]
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    labels = [re.search(r'scope="row"><span dir="auto">(.*?)</span>', row)[1] for row in rows[1:]]
    assert labels == [label for label, *_ in sorted(NAMES.values(), key=lambda one: -one[1])]
    assert [row.count("<b>") for row in rows] == [0, len(METRICS), 0, 0, 0, 0, 0, 0]
    assert [bool(re.search("chosen on validation", row)) for row in rows] == [False, True, *[False] * 6]
    assert ">floor<" in rows[-1]
    assert rows[0].index("ndcg@20") < rows[0].index("recall@20")


@pytest.mark.parametrize(
    ("gap", "p", "p_holm", "said"),
    [(0.02, 0.001, 0.004, "better"), (-0.02, 0.001, 0.004, "worse"), (0.02, 0.02, 0.08, "no difference shown")],
)
def test_verdict_follows_the_adjusted_p(gap: float, p: float, p_holm: float, said: str) -> None:
    sample = sample_report()
    one = replace(sample.differences[0], name="lightgcn", difference=gap, p=p, p_holm=p_holm)
    report = replace(sample, differences=[one])
    assert re.findall(r'class="verdict (\w+)">(.*?)<', render(report)) == [(said.split()[0], said)]
    assert f"LightGCN against EASE, ndcg@20: {said} (" in report_markdown(report)


def test_equal_reports_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (write_report(sample_report(), tmp_path / name) for name in ("a.html", "deep/b.html"))
    assert first.read_bytes() == second.read_bytes()


PARTS = {
    "differences": "Is the difference real?", "curves": "How they learned", "lists": "What people get",
    "segments": "For whom it works", "sections": "Profiles", "glossary": "What the words mean",
    "counts": "Rows dropped or changed", "protocol": "How it was measured",
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_an_empty_part_leaves_no_heading(part: str, page: Page) -> None:
    assert PARTS[part] in page.headings()
    rest = Page(render(replace(sample_report(), **{part: {} if part in ("glossary", "protocol") else []})))
    below = ["By how many items of the user are known", "By how popular the item to be found is"]
    gone = {"protocol": {PARTS[part]}, "segments": {PARTS[part], *below}}.get(part)
    lost = set(page.headings()) - set(rest.headings())
    assert lost == gone if gone else PARTS[part] in lost
    assert set(rest.headings()) < set(page.headings())


def test_a_report_with_nothing_but_a_title() -> None:
    found = Page(render(Report(title="Nothing yet", glossary={})))
    assert found.headings() == ["Nothing yet"]
    assert not {"section", "table", "svg", "dl", "footer"} & {tag for tag, _ in found.tags}
    assert report_markdown(Report(title="Nothing yet")) == ""


def test_a_markdown_file_holds_the_table(tmp_path: Path) -> None:
    path = write_report(sample_report(), tmp_path / "table.md")
    assert path.read_text(encoding="utf-8") == report_markdown(sample_report())


def test_gaps_are_dashes() -> None:
    bare = RankerRow("bare", "Bare", chosen=False, summary={"ndcg@20": float("nan")})
    other = RankerRow("other", "Other", chosen=False, summary={"ndcg@20": 0.25, "recall@20": 0.5})
    found = Page(render(Report("Gaps", rankers=[bare, other], curves=[], glossary={})))
    assert "Other 0.2500 0.5000 Bare – –" in found.words()
    assert "What it cost" not in found.headings()
    assert found.all("svg") == []  # one ranker alone is no forest
    none = RankerRow("none", "None", chosen=False, summary={"recall@20": 0.5})
    three = [replace(other, name="third", label="Third"), none, other]
    (forest,) = Page(render(Report("Gaps", rankers=three, curves=[], glossary={}))).all("svg")
    assert forest


def test_headings_tables_and_figures_can_be_read_aloud(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.all("caption")) == len(page.all("table")) > 6
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    assert all(image.get("alt") for image in page.all("img"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [svg["aria-labelledby"].split() for svg in page.all("svg") if "aria-labelledby" in svg]
    assert len(named) == 4
    assert all(set(names) <= set(ids) for names in named)
    assert page.all("html") == [{"lang": "en"}]


def test_every_figure_is_well_formed(html: str) -> None:
    figures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(figures) == 1 + 3 + 2 * (4 + 9) + 1  # forest, curves, cards without picture, the section's
    for figure in figures:
        assert ElementTree.fromstring(figure).tag == "svg"


@pytest.mark.parametrize("mode", [0, 1])
def test_colours_can_be_read_by_day_and_by_night(mode: int) -> None:
    colours = dict(re.findall(r"--(\w+): (#\w{6})", re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[mode]))
    for letters in ("ink", "quiet", "accent", "good", "bad"):
        for ground in ("paper", "raised", "soft"):
            assert contrast(colours[letters], colours[ground]) >= 4.5, (letters, ground)


def test_pictures_come_in_as_data_only() -> None:
    def with_picture(uri: str) -> str:
        item = ListedItem("A <film>", "1", image=uri)
        return render(Report("Pictures", lists=[RecommendedList("You", "", [], [item])], glossary={}))

    assert Page(with_picture(picture(1, 2, 3))).all("img")[0]["alt"] == "Picture of A <film>"
    for uri in ("https://a.example/x.png", "data:text/html;base64,AA==", "javascript:alert(1)", picture(1, 2, 3) + '"'):
        with pytest.raises(ArtifactError, match="A <film>"):
            with_picture(uri)


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>", "<style>*{}</style>", '<a href="x"/>', "<foreignObject/>", '<g onclick="x"/>',
        '<image href="https://a.example/x.png"/>', '<use href="other.svg#a"/>', '<g style="fill:url(https://a.example)"/>',
        '<g fill="url( //a.example )"/>', "<title><![CDATA[<img src=x>]]></title>", "<!-- x -->", "<g>", "&nbsp;",
        '<x:script xmlns:x="http://www.w3.org/2000/svg"/>', '<set attributeName="href"/>',
        '<image xmlns:l="http://www.w3.org/1999/xlink" l:href="javascript:alert(1)"/>', '<g style="a:\\75rl(x)"/>',
    ],
)  # fmt: skip
def test_figures_that_do_more_than_draw_are_refused(inside: str) -> None:
    with pytest.raises(ArtifactError, match="figure of 'Visuals'"):
        check_svg(f"<svg>{inside}</svg>", "Visuals")


def test_figures_that_only_draw_are_let_in() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg"><defs><linearGradient id="a"/></defs><title>1 &lt; 2</title>'
        f'<rect fill="url(#a)" style="stroke: red"/><use href="#a"/><image href="{picture(0, 0, 0)}"/></svg>'
    )
    assert check_svg(svg, "Visuals") == svg
    with pytest.raises(ArtifactError, match="starts with <g>"):
        check_svg("<g/>", "Visuals")


def test_a_write_that_fails_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        write_report(sample_report(), path)
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"file/report\.html"):
        write_report(sample_report(), tmp_path / "file" / "report.html")


def test_lone_surrogates_and_other_scripts_can_be_written(tmp_path: Path) -> None:
    items = [ListedItem(title, "1") for title in ("\ud800broken", "千と千尋の神隠し", "\u202eturned", "")]
    report = Report("Titles", lists=[RecommendedList("You", "", [], items)], glossary={})
    text = write_report(report, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "千と千尋の神隠し" in text
    assert ">broken<" in text
    assert "\u202e" not in text


def test_markdown_holds_the_table_and_cannot_be_broken_by_names() -> None:
    sample = sample_report()
    odd = replace(sample.rankers[0], label="Pop|ular\n*all*")
    text = report_markdown(replace(sample, rankers=[odd, *sample.rankers[1:]]))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(NAMES)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {len(METRICS) + 4}
    assert "| EASE (chosen on validation) | **0.3441** [0.3345, 0.3537] |" in text
    assert "| Pop\\|ular \\*all\\* | 0.1564" in text
    assert "- Pop\\|ular \\*all\\* against EASE, ndcg@20: worse (−0.1877 [−0.1957, −0.1797], Holm p < 0.001)" in text
    assert "commit 0123456789ab" in text
