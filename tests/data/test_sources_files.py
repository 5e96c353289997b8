"""Which files count as data: those that a source lists, wherever they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys.core.fingerprint import raw_files
from recsys.data import SOURCES

TREE = (
    "shop.inter", "shop.train.inter", "shop.item", "other.inter", "a.txt", "a_item2attributes.json", "readme.txt",
    "taken.csv", "logs/1.csv", "logs/2.csv", "items.csv", "plain.csv", "pictures/1.png", "pictures/deep/2.JPG",
    "pictures/.hidden/3.png", "pictures/notes.txt", "report.html", "poster.png", "results/data/items.csv",
)  # fmt: skip
TAKEN = {"interactions": "taken.csv"}
IN_FOLDER = ["pictures/1.png", "pictures/deep/2.JPG"]
ALL_PICTURES = [*IN_FOLDER, "poster.png"]


@pytest.mark.parametrize(
    ("source", "options", "expected"),
    [
        ("own", TAKEN, ["taken.csv"]),
        ("own", {"interactions": "logs/*.csv", "items": "plain.csv"}, ["logs/1.csv", "logs/2.csv", "plain.csv"]),
        ("own", TAKEN | {"test": "logs/1.csv"}, ["logs/1.csv", "taken.csv"]),
        ("own", TAKEN | {"image_folder": "pictures"}, [*IN_FOLDER, "taken.csv"]),
        ("own", TAKEN | {"items": "items.csv"}, ["items.csv", *ALL_PICTURES, "taken.csv"]),
        ("own", TAKEN | {"items": "items.csv", "item_columns": {"image": ""}}, ["items.csv", "taken.csv"]),
        (
            "own",
            TAKEN | {"items": "plain.csv", "item_columns": {"image": "title"}},
            [*IN_FOLDER, "plain.csv", "poster.png", "taken.csv"],
        ),
        ("own", {"interactions": "missing.csv", "attribute_delimiter": "/"}, []),
        ("atomic", {"name": "shop"}, ["shop.inter", "shop.item", "shop.train.inter"]),
        ("atomic", {}, ["other.inter", "shop.inter", "shop.item", "shop.train.inter"]),
        ("sequences", {"file": "a.txt"}, ["a.txt", "a_item2attributes.json"]),
        ("sequences", {}, ["a.txt", "a_item2attributes.json"]),
    ],
)
def test_the_files_that_a_source_reads_are_data(
    tmp_path: Path, source: str, options: dict[str, Any], expected: list[str]
) -> None:
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("item_id,title,image\n" if name == "items.csv" else "item_id,title\n")
    kind = SOURCES.load(source)
    found = raw_files(kind(kind.Settings(**options)), tmp_path, tmp_path / "results")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == expected


def test_of_other_sources_all_files_count_but_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the results are named from the root and the raw folder is not; hidden files never do."""
    for name in ("train.tsv", "text_feat.npy", "notes.txt", ".hidden", "results/a.tsv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    monkeypatch.chdir(tmp_path)
    kind = SOURCES.load("mmssl")
    found = raw_files(kind(kind.Settings()), Path("."), tmp_path / "results")
    assert [path.as_posix() for path in found] == ["notes.txt", "text_feat.npy", "train.tsv"]
