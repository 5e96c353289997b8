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
from recsys.evaluation.report import Curve, Difference, ListedItem, RankerRow, RecommendedList, Report, best_of
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
        '<image src="a.png"/>', '<g xml:base="https://a.example/"/>', '<g style="a:@b"/>', '<image href="a.svg#b"/>',
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
        f'<rect fill="url(#a)" style="stroke: red"/><use id="a@b\\" href="#a"/><image href="{picture(0, 0, 0)}"/></svg>'
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


def test_a_table_in_markdown_by_hand() -> None:
    first = RankerRow("a", "A", True, {"recall@5": 0.5, "ndcg@5": 0.25}, {"ndcg@5": (0.2, 0.3)}, fit_s=2.0, cpu_s=0.5)
    second = RankerRow("b", "B", False, {"recall@5": 0.75, "ndcg@5": float("nan")})
    gap = Difference("b", "a", "ndcg@5", -0.1, -0.2, 0.0, 0.01, 0.02)
    report = Report("t", rankers=[second, first], differences=[gap], metric="ndcg@5", made={"date": "today"}, level=0.9)
    assert report_markdown(report).splitlines() == [
        "| ranker | ndcg@5 | recall@5 | fit | CPU |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| A (chosen on validation) | **0.2500** [0.2000, 0.3000] | 0.5000 | 2.0 s | 0.50 s |",
        "| B | – | **0.7500** | – | – |",
        "",
        "90% bootstrap intervals over users in brackets; date today.",
        "",
        "- B against A, ndcg@5: worse (−0.1000 [−0.2000, 0.0000], Holm p 0.020)",
    ]
    assert report_markdown(Report("t", rankers=[RankerRow("a", "A", False, {})])) == ""


def test_tables_have_the_main_length_and_metric_first_and_then_grow() -> None:
    summary = dict.fromkeys(("recall@100", "recall@5", "recall@20", "ndcg@20", "ndcg@5", "recall@10"), 0.1)
    report = Report("t", rankers=[RankerRow("a", "A", False, summary)], metric="ndcg@20")
    assert report.tables() == [
        ("20", ["ndcg@20", "recall@20"]), ("5", ["recall@5", "ndcg@5"]), ("10", ["recall@10"]), ("100", ["recall@100"]),
    ]  # fmt: skip


def test_rankers_are_ordered_by_the_main_metric_then_name_and_those_without_it_are_last() -> None:
    values = {"z": 0.2, "b": 0.3, "a": 0.2, "none": None, "nan": float("nan")}
    rows = [RankerRow(name, name.upper(), False, {} if v is None else {"m@1": v}) for name, v in values.items()]
    report = Report("t", rankers=rows, metric="m@1")
    assert [row.name for row in report.ordered()] == ["b", "a", "z", "nan", "none"]
    assert (report.label("b"), report.label("unknown")) == ("B", "unknown")


def test_the_best_is_of_two_at_least_and_of_numbers() -> None:
    rows = [{"m": 0.1, "n": float("nan")}, {"m": 0.3, "n": float("nan"), "k": -1.0}]
    assert best_of(rows, ["m", "n", "k", "other"]) == {"m": 0.3, "k": -1.0}
    assert best_of(rows[:1], ["m"]) == {}


def test_a_curve_says_its_best_and_its_last_epoch() -> None:
    points = [(1, 0.1), (3, 0.3), (4, 0.2)]
    curves = [Curve("a", "m@1", points, 3), Curve("a", "m@1", points, 2), Curve("a", "m@1", [(1, float("nan"))], 1)]
    found = Page(render(Report("t", curves=curves, glossary={}, rankers=[RankerRow("a", "A", False, {})])))
    captions = [data.strip() for tag, data in found.text if tag == "figcaption" and data.strip()]
    assert captions == [
        "m@1: 0.3000 at epoch 3, stopped after 4", "m@1: no best epoch marked, stopped after 4",
    ]  # fmt: skip


def test_curves_of_one_metric_are_on_one_scale() -> None:
    ends = (("a", "m@1", 0.1, 0.2), ("b", "m@1", 0.3, 0.5), ("c", "n@1", 0.0, 9.0))
    curves = [Curve(name, metric, [(1, low), (2, high)], 2) for name, metric, low, high in ends]
    html = render(Report("t", curves=curves, glossary={}))
    figures = [ElementTree.fromstring(figure) for figure in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]
    ticks = [[text.text for text in figure.iter("text") if text.get("x") == "0"] for figure in figures]
    assert ticks[0] == ticks[1]
    assert (float(ticks[0][0]), float(ticks[0][-1])) == (pytest.approx(0.1, abs=0.11), pytest.approx(0.5, abs=0.11))
    assert float(ticks[2][-1]) >= 9


def test_segments_are_a_table_with_the_rankers_downwards_in_their_order() -> None:
    def row(segment: str, mean: float, **name: str) -> dict:
        return {"by": "history", "segment": segment, "metric": "m@1", "n_users": 3, "mean": mean, "low": mean - 0.01,
                "high": mean + 0.01, **name}  # fmt: skip

    rankers = [RankerRow(name, name.upper(), False, {"m@1": value}) for name, value in (("a", 0.1), ("b", 0.2))]
    rows = [row("0 (cold)", 0.125, name="x"), row("0 (cold)", 0.375, name="a"), row("21+", 0.25, name="b")]
    html = render(Report("t", rankers=rankers, segments=rows, metric="m@1", glossary={}))
    table = re.search(r"<h3>By how many items.*?</table>", html, re.DOTALL)[0]
    lines = [re.sub(r"<[^>]+>|\s+", " ", line).split() for line in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
    assert [line[0] for line in lines[1:]] == ["B", "A", "x"]
    assert [line[1:3] for line in lines[1:]] == [
        ["–", "0.2500"],
        ["0.3750", "0.3650–0.3850"],
        ["0.1250", "0.1150–0.1350"],
    ]
    assert re.findall(r"<td.*?<b>([\d.]+)</b>", table) == ["0.2500", "0.3750"]
    nameless = Page(render(Report("t", segments=[row("21+", 0.25)], glossary={})))
    assert "all 0.2500" in nameless.words()


def test_the_forest_has_a_bare_dot_without_an_interval_and_the_floor() -> None:
    rows = [RankerRow("a", "A", True, {"m@1": 0.3}, {"m@1": (0.2, 0.4)}), RankerRow("b", "B", False, {"m@1": 0.1})]
    (svg,) = re.findall(r"<svg.*?</svg>", render(Report("t", rankers=rows, metric="m@1", floor="b", glossary={})), re.S)
    figure = ElementTree.fromstring(svg)
    assert figure.find("desc").text == "A 0.3000 (from 0.2000 to 0.4000); B 0.1000 (from 0.1000 to 0.1000)"
    (floor,) = [line.get("x1") for line in figure.iter("line") if line.get("class") == "floor"]
    assert floor == [dot.get("cx") for dot in figure.iter("circle")][1]
    assert [group.get("class") for group in figure.iter("g")] == ["row marked", "row"]


def test_four_facts_stand_at_the_top_and_the_others_below() -> None:
    names = ["one", "two", "three", "four", "five", "six"]
    whole = render(Report("t", facts=[(f"fact {name}", name) for name in names], glossary={}))
    places = [whole.index(f"fact {name}") for name in names]
    assert places == sorted(places)
    assert [whole.count(f"fact {name}") for name in names] == [1] * 6
    few = render(Report("t", facts=[(f"fact {name}", name) for name in names[:4]], glossary={}))
    assert set(Page(whole).headings()) - set(Page(few).headings())


def test_an_item_without_a_title_is_named_by_its_id() -> None:
    items = [ListedItem("", "id 7", image=picture(1, 2, 3)), ListedItem("", "id 8")]
    found = Page(render(Report("t", lists=[RecommendedList("You", "", [], items)], glossary={})))
    assert found.all("img")[0]["alt"] == "Picture of id 7"
    assert "Drawn card (the data has no picture): id 8" in found.words()
