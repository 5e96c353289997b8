"""Amazon's meta files: parsed line by line, once, into parquet pieces beside the file, then scanned lazily."""

from __future__ import annotations

import ast
import hashlib
import html
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import ITEM_SCHEMA, Count
from recsys.data.reading.faults import Fault, explain, parsed_lines
from recsys.data.reading.files import kind_of, need
from recsys.data.reading.tables import open_table
from recsys.data.sources._columns import unused_columns

_VERSION = 2  # of what is written; a new one makes old pieces unreadable
_PIECE = 50_000  # items held in memory at once
_MAX_TEXT = 4_000  # characters of description an item
_TAG = re.compile(r"<(?P<kind>script|style)\b.{0,20000}?</(?P=kind)\s*>|<[^<>]{1,1000}>", re.DOTALL | re.IGNORECASE)
# What the 2018 edition's crawler took for a title or a text: (new Date()).getTime(), var x = …, .a-box{color:#fff}
_SCRIPT = re.compile(
    r"\bgetTime\(|\(new Date\b|\bvar \w+ ?=|\bfunction \w*\([^)]*\) ?\{|\bfunction\([^)]*\) ?\{|[.#@][\w-]+ ?\{[^{}]*:"
)
_BY = re.compile(r"\A\s*by\s*\n\s*")  # before a brand of 2018, on a line of its own; "by Terry" is a brand
_ID = {"2014": "asin", "2018": "asin", "2023": "parent_asin"}
_READ = (
    "title", "categories", "category", "brand", "store", "features", "feature", "description", "price",
    "images", "image", "imUrl", "imageURL", "imageURLHighRes",
)  # fmt: skip
_SPACE = re.compile(r"\s+")


def read_meta(path: Path, edition: str, *, drop_bad: bool, counts: list[Count], run: Run) -> pl.LazyFrame:
    """Return the canonical item table of a meta file.

    Args:
        edition: ``"2014"`` (lines are Python literals, read with ``ast.literal_eval``), ``"2018"`` or ``"2023"``.
        drop_bad: leave unreadable lines out and count them, instead of stopping.

    Raises:
        DataError: a line that cannot be read, or one without an item id; names file and row.
    """
    need(path, "Fetch it again, or leave it out.")
    state = path.stat()
    identity = f"{_VERSION} {path.resolve()} {state.st_size} {state.st_mtime_ns} {edition} {drop_bad}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:16]
    folder = _room(path) / f"{path.name}-{key}"
    if not (folder / "counts.json").is_file():
        _rewrite(path, edition, drop_bad, folder, run)
    counts.extend(Count(**entry) for entry in json.loads((folder / "counts.json").read_text(encoding="utf-8")))
    return pl.scan_parquet(sorted(folder.glob("*.parquet")), glob=False).select(list(ITEM_SCHEMA))


def _room(path: Path) -> Path:
    """Beside the raw file; in the temporary folder where that is read-only."""
    beside = path.parent / ".parsed"
    try:
        beside.mkdir(exist_ok=True)
        if os.access(beside, os.W_OK):
            return beside
    except OSError:
        pass
    room = Path(tempfile.gettempdir()) / f"recsys-parsed-{os.getuid()}"
    room.mkdir(mode=0o700, exist_ok=True)
    if room.stat().st_uid != os.getuid():
        raise DataError(f"folder {room}", "belongs to somebody else", "Make the raw folder writable.")
    return room


@dataclass
class _Found:
    """What is noticed line by line: unreadable lines, items with scripts for texts, and all keys."""

    bad: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    doubles: int = 0


def _rewrite(path: Path, edition: str, drop_bad: bool, folder: Path, run: Run) -> None:
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    found = _Found()
    seen: set[bytes] = set()
    piece, number = [], 0
    try:
        for item in run.bar(_items(path, edition, drop_bad, found), f"items of {path.name}"):
            mark = hashlib.blake2b(item["item_id"].encode(), digest_size=8).digest()
            if mark in seen:
                found.doubles += 1
                continue
            seen.add(mark)
            piece.append(item)
            if len(piece) == _PIECE:
                _write_piece(piece, draft, number)
                piece, number = [], number + 1
        _write_piece(piece, draft, number)
        (draft / "counts.json").write_text(json.dumps(_counts(path, edition, found)), encoding="utf-8")
        try:
            os.rename(draft, folder)
        except OSError:  # another process was first: its pieces are the same
            if not (folder / "counts.json").is_file():
                raise
    except OSError as error:
        raise DataError(
            f"folder {folder.parent}", error.strerror or str(error), "Check space and permissions."
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _counts(path: Path, edition: str, found: _Found) -> list[dict[str, Any]]:
    unused = tuple(sorted(found.keys - {*_READ, _ID[edition]}))
    counts = [asdict(count) for count in unused_columns({path: unused})]
    if found.doubles:
        counts.append({"what": f"items of {path.name} that come again, first kept", "rows": found.doubles})
    for what, cases in (
        (f"lines of {path.name} that cannot be read", found.bad),
        (f"items of {path.name} with scripts or style sheets for texts: those texts dropped", found.scripts),
    ):
        if cases:
            counts.append({"what": what, "rows": len(cases), "example": f"first: {cases[0]}"})
    return counts


def _write_piece(piece: list[dict[str, Any]], folder: Path, number: int) -> None:
    pl.DataFrame(piece, schema=ITEM_SCHEMA, orient="row").write_parquet(folder / f"{number:05d}.parquet")


def _items(path: Path, edition: str, drop_bad: bool, found: _Found) -> Iterator[dict[str, Any]]:
    key = _ID[edition]
    parse = ast.literal_eval if edition == "2014" else json.loads  # never eval: the file is somebody else's
    rows = _parquet_rows(path, found.keys) if kind_of(path) == "parquet" else parsed_lines(path, parse)
    for row, value in rows:
        cause = str(value) if isinstance(value, Fault) else ""
        item_id = value.get(key) if isinstance(value, dict) else None
        if not cause and not (isinstance(item_id, str) and item_id.strip() and item_id.isprintable()):
            cause = f"has no {key}" if not item_id else f"{key} is {item_id!r:.80}"
        if not cause:
            found.keys.update(value)
            item, has_scripts = _item(item_id, value)
            if has_scripts:
                found.scripts.append(repr(item_id))
            yield item
        elif drop_bad:
            found.bad.append(f"row {row}: {cause}")
        else:
            raise DataError(f"file {path}, row {row}", cause, "Mend or remove that line, or set bad_lines = 'drop'.")


def _parquet_rows(path: Path, keys: set[str]) -> Iterator[tuple[int, dict]]:
    frame = open_table(path)
    keys.update(frame.collect_schema())
    columns = [name for name in frame.collect_schema() if name in (*_READ, _ID["2023"])]
    try:
        batches = frame.select(columns).collect_batches(maintain_order=True)
        yield from enumerate((row for batch in batches for row in batch.iter_rows(named=True)), start=1)
    except pl.exceptions.PolarsError as error:
        raise explain(path, error) from None


def _item(item_id: str, value: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the canonical row of an item, and whether a text of it was a script."""
    title, title_is_script = _without_scripts(_clean(value.get("title")))
    categories = list(dict.fromkeys(filter(None, map(_clean, _flat(value.get("categories") or value.get("category"))))))
    brand, brand_is_script = _without_scripts(_brand(value.get("brand") or value.get("store")))
    parts = [*_flat(value.get("features") or value.get("feature")), *_flat(value.get("description"))]
    plain, are_scripts = zip(*(_without_scripts(_clean(part)) for part in parts), strict=True) if parts else ((), ())
    facts = " ".join(filter(None, plain))[:_MAX_TEXT]
    sentences = [
        _stop(title),
        _stop(f"Brand: {brand}" if brand else None),
        _stop("Categories: " + ", ".join(categories) if categories else None),
        facts or None,
    ]
    price = _price(value.get("price"))
    marks = [f"category:{name}" for name in categories]
    marks += [f"brand:{brand}"] if brand else []
    marks += [f"price:{price}"] if price else []
    row = {
        "item_id": item_id,
        "title": title,
        "text": " ".join(filter(None, sentences)) or None,
        "attributes": marks,
        "image": _image(value),
    }
    return row, title_is_script or brand_is_script or any(are_scripts)


def _without_scripts(text: str | None) -> tuple[str | None, bool]:
    is_script = bool(text and _SCRIPT.search(text))
    return (None, True) if is_script else (text, False)


def _brand(value: Any) -> str | None:
    return _clean(_BY.sub("", value)) if isinstance(value, str) else None


def _flat(value: Any) -> Iterable[str]:
    """The texts in a text, a list, or a list of lists (2014's categories)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _flat(part) if isinstance(part, str | list | tuple) else ()


def _clean(value: Any) -> str | None:
    """Plain text: mark-up and character references are taken out."""
    if not isinstance(value, str):
        return None
    text = html.unescape(value).encode("utf-8", "replace").decode()  # JSON may hold half a character
    return _SPACE.sub(" ", _TAG.sub(" ", text)).strip() or None


def _stop(text: str | None) -> str | None:
    return text if not text or text[-1] in ".!?" else text + "."


def _price(value: Any) -> str | None:
    """``12.5`` of 12.5 or ``"$12.50"``; ``None`` where it is a range, a text or nothing."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*\$?\s*(\d[\d,]*(?:\.\d+)?)\s*", value)
        value = float(match[1].replace(",", "")) if match else None
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return f"{value:g}" if usable else None


def _image(value: dict[str, Any]) -> str | None:
    """Return the largest picture's address; it is kept, not fetched."""
    images = value.get("images")
    if isinstance(images, dict):  # parquet: one list a size
        images = [
            dict(zip(images, row, strict=False)) for row in zip(*(v or [] for v in images.values()), strict=False)
        ]
    candidates: list[Any] = [value.get("imUrl")]
    candidates += list(_flat(value.get("imageURLHighRes"))) + list(_flat(value.get("imageURL")))
    candidates += list(_flat(value.get("image")))
    for image in images if isinstance(images, list) else []:
        if isinstance(image, dict):
            candidates += [image.get("hi_res"), image.get("large"), image.get("thumb")]
    return next((url for url in candidates if _is_address(url)), None)


def _is_address(url: Any) -> bool:
    return isinstance(url, str) and url.startswith(("http://", "https://")) and url.isprintable()
