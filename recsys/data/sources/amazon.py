"""Amazon reviews, the editions of 2014, 2018 and 2023 (J. McAuley's group, UCSD).

2014: R. He and J. McAuley: Ups and Downs. WWW 2016. 2018: J. Ni et al.: Justifying
Recommendations. EMNLP 2019. 2023: Y. Hou et al.: Bridging Language and Items for
Retrieval and Recommendation. 2024. A 5-core is made by canonicalisation (``k_core = 5``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.errors import ConfigError, DataError, did_you_mean
from recsys.core.runtime import Run
from recsys.core.values import Tables
from recsys.data.download import RemoteFile
from recsys.data.reading.files import need
from recsys.data.reading.tables import header_of, scan_table
from recsys.data.reading.times import Time
from recsys.data.sources._amazon_items import read_meta
from recsys.data.sources._columns import PARTS, Reading, interactions, no_items, of_part, unused_columns

# user, item, rating (and time); a field of the file -> canonical column
_TYPES = (pl.String, pl.String, pl.Float32)
_FIELDS = {"reviewerID": "user_id", "asin": "item_id", "overall": "rating", "unixReviewTime": "timestamp"}
_FIELDS_2023 = {"user_id": "user_id", "parent_asin": "item_id", "rating": "rating", "timestamp": "timestamp"}


class _Amazon:
    """What the editions share; a subclass says how its files and fields are called."""

    class Settings(Settings):
        """Which category to read."""

        category: str | None = Field(
            None, description="as in the file names: Baby, Baby_5, All_Beauty; default: the only one in the raw folder"
        )
        bad_lines: Literal["error", "drop"] = Field(
            "error", description="what to do with a meta line that cannot be read: stop, or leave it out and count it"
        )

    edition: ClassVar[str]
    fields: ClassVar[Mapping[str, str]]  # field of the file -> canonical column
    time: ClassVar[Time] = Time("s", "number")
    prefix: ClassVar[str] = ""
    endings: ClassVar[tuple[str, ...]]

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or self.Settings()

    def tables(self, raw: Path, *, run: Run) -> Tables:
        """Read the reviews (of which only who, what, rating and when is kept) and the meta file of one category."""
        category, path = self._reviews(raw)
        found = Reading()
        frame = self._interactions(path, found)
        counts = [*found.counts, *unused_columns(found.unused)]
        records = sum(found.records)
        meta = self._meta(raw, category)
        if meta is None:
            run.log(f"{raw} has no meta_{_plain(category)} file: items have no title, text or image")
            return Tables(frame, no_items(), counts=counts, records=records)
        table = read_meta(meta, self.edition, drop_bad=self.settings.bad_lines == "drop", counts=counts, run=run)
        return Tables(frame, table, counts=counts, records=records)

    def _interactions(self, path: Path, found: Reading) -> pl.LazyFrame:
        match = re.fullmatch(r"(.+)\.train(\.csv(?:\.gz)?)", path.name)
        if match is None:
            return interactions(self._scan(path, found))
        paths = [path.with_name(f"{match[1]}.{part}{match[2]}") for part in PARTS]
        missing = "All three of train, valid, test are needed."
        tables = [self._scan(need(part_path, missing), found) for part_path in paths]
        return pl.concat(of_part(table, part) for part, table in enumerate(tables))

    def _scan(self, path: Path, found: Reading) -> pl.LazyFrame:
        types = dict(zip(self.fields, (*_TYPES, self.time), strict=True))
        table = scan_table(path, types, counts=found.counts, records=found.records)
        found.unused[path] = tuple(name for name in header_of(path) if name not in types)
        return table.rename(self.fields)

    def _reviews(self, raw: Path) -> tuple[str, Path]:
        """Return the category and its reviews file."""
        names = "|".join(map(re.escape, self.endings))
        pattern = re.compile(rf"{self.prefix}(?!meta_)(?P<name>.+?)(?P<ending>{names})")
        matches = [pattern.fullmatch(path.name) for path in sorted(raw.iterdir())] if raw.is_dir() else []
        usable = sorted(filter(None, matches), key=lambda match: self.endings.index(match["ending"]))
        found = {match["name"]: raw / match.string for match in reversed(usable)}  # the first ending wins
        wanted = self.settings.category
        example = f"{self.prefix}{wanted or 'Baby'}{self.endings[0]}"
        if not found:
            raise DataError(
                f"folder {raw}", f"holds no reviews file such as {example}", "Put the category's file there."
            )
        if wanted is None and len(found) > 1:
            raise DataError(
                f"folder {raw}", f"holds {', '.join(sorted(found))}", "Set the setting category to one of them."
            )
        name = wanted or next(iter(found))
        if name not in found:
            raise DataError(f"file {raw / example}", "is not there", did_you_mean(name, found))
        return name, found[name]

    def _meta(self, raw: Path, category: str) -> Path | None:
        stem = f"meta_{_plain(category)}"
        endings = (".json.gz", ".jsonl.gz", ".json", ".jsonl", ".parquet")
        return next((raw / (stem + ending) for ending in endings if (raw / (stem + ending)).is_file()), None)

    def _category(self) -> str:
        if self.settings.category is None:
            raise ConfigError("setting source.category", "is not set", "Name one, for example Baby or All_Beauty.")
        return self.settings.category


class Amazon2014(_Amazon):
    """``reviews_<Category>.json.gz`` (or ``_5``) and ``meta_<Category>.json.gz``, whose lines are Python literals."""

    edition = "2014"
    fields = _FIELDS
    prefix = "reviews_"
    endings = (".json.gz", ".json")

    def downloads(self) -> list[RemoteFile]:
        """The two files of the category; no checksums are published for them."""
        home, name = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/", self._category()
        names = (f"reviews_{name}.json.gz", f"meta_{_plain(name)}.json.gz")
        return [RemoteFile(home + file, file) for file in names]


class Amazon2018(_Amazon):
    """``<Category>.json.gz`` (or ``_5``) and ``meta_<Category>.json.gz``."""

    edition = "2018"
    fields = _FIELDS
    endings = (".json.gz", ".json")

    def downloads(self) -> list[RemoteFile]:
        """The two files of the category; no checksums are published for them."""
        home, name = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/", self._category()
        reviews = ("categoryFilesSmall/" if name.endswith("_5") else "categoryFiles/") + f"{name}.json.gz"
        meta = f"meta_{_plain(name)}.json.gz"
        return [RemoteFile(home + reviews, f"{name}.json.gz"), RemoteFile(home + "metaFiles2/" + meta, meta)]


class Amazon2023(_Amazon):
    """``<Category>.jsonl.gz``, ``.parquet`` or ratings-only ``.csv.gz`` (also ``.train|valid|test.csv.gz``).

    Items are ``parent_asin``: the colours and sizes of one product are one item.
    """

    edition = "2023"
    fields = _FIELDS_2023
    time = Time("ms", "number")
    endings = (
        ".jsonl.gz", ".jsonl", ".parquet", *(f".{part}.csv{gz}" for part in PARTS for gz in (".gz", "")),
        ".csv.gz", ".csv",
    )  # fmt: skip

    def downloads(self) -> list[RemoteFile]:
        """The two files of the category; no checksums are published for them."""
        home, name = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/", self._category()
        reviews, meta = f"{name}.jsonl.gz", f"meta_{name}.jsonl.gz"
        return [
            RemoteFile(f"{home}review_categories/{reviews}", reviews),
            RemoteFile(f"{home}meta_categories/{meta}", meta),
        ]


def _plain(category: str) -> str:
    """``Baby_5`` has the meta file of ``Baby``."""
    return category.removesuffix("_5")
