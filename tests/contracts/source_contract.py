"""What every data source promises. Inherit it, and give the fixtures ``source`` and ``raw``."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys.core.config import Settings, describe_settings, make_settings
from recsys.core.errors import ConfigError, DataError
from recsys.core.protocols import Source
from recsys.core.runtime import Run
from recsys.core.values import INTERACTION_SCHEMA, ITEM_SCHEMA, OPTIONAL_COLUMNS, Count, Tables


class SourceContract:
    """One suite for all sources; a tiny raw folder is enough."""

    @pytest.fixture
    def raw(self) -> Path:
        """A folder with a few interactions and, where the format has them, items and features."""
        raise NotImplementedError

    @pytest.fixture
    def source(self) -> Source:
        """The source, set to read ``raw``."""
        raise NotImplementedError

    @pytest.fixture
    def tables(self, source: Source, raw: Path, run: Run, no_network: None) -> Tables:
        return source.tables(raw, run=run)

    @pytest.fixture
    def no_network(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        def refuse(*args: object) -> None:
            raise AssertionError("a source must not use the network")

        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "connect", refuse)
            patch.setattr(socket, "getaddrinfo", refuse)
            yield

    def test_interactions_are_canonical(self, tables: Tables) -> None:
        assert isinstance(tables.interactions, pl.LazyFrame)
        schema = tables.interactions.collect_schema()
        assert dict(list(schema.items())[: len(INTERACTION_SCHEMA)]) == INTERACTION_SCHEMA
        extra = dict(list(schema.items())[len(INTERACTION_SCHEMA) :])
        assert extra.items() <= OPTIONAL_COLUMNS.items()
        frame = tables.interactions.collect()
        assert dict(frame.schema) == dict(schema)
        assert len(frame) > 0
        assert frame.select("user_id", "item_id", "weight").null_count().row(0) == (0, 0, 0)
        assert (frame["user_id"].str.len_bytes().min() or 0) > 0
        assert (frame["item_id"].str.len_bytes().min() or 0) > 0
        if "part" in extra:
            assert set(frame["part"].to_list()) <= {0, 1, 2}
        if "nanosecond" in extra:
            assert frame["nanosecond"].drop_nulls().is_between(0, 10**9 - 1).all()

    def test_times_are_seconds_or_an_order(self, tables: Tables) -> None:
        times = tables.interactions.select("timestamp").collect()["timestamp"].drop_nulls()
        assert (times >= 0).all()
        assert (times < 10_000_000_000).all()

    def test_items_are_canonical(self, tables: Tables) -> None:
        assert isinstance(tables.items, pl.LazyFrame)
        assert dict(tables.items.collect_schema()) == ITEM_SCHEMA
        frame = tables.items.collect()
        assert frame["item_id"].null_count() == 0
        assert frame["item_id"].is_unique().all()
        assert not frame["title"].drop_nulls().str.contains(r"^\s*$").any()
        marks = frame["attributes"].drop_nulls().explode().drop_nulls()
        assert marks.str.contains(r"^[^:]+:.").all()

    def test_items_are_those_of_the_interactions(self, tables: Tables) -> None:
        items = set(tables.items.collect()["item_id"].to_list())
        if items:
            assert items & set(tables.interactions.collect()["item_id"].to_list())

    def test_features_have_an_id_a_row(self, tables: Tables) -> None:
        for modality, features in tables.features.items():
            assert modality in ("text", "image", "audio")
            array = np.load(features.path, mmap_mode="r", allow_pickle=False)
            assert len(array) == len(features.item_ids) == len(set(features.item_ids))
            ids = set(tables.interactions.collect()["item_id"].to_list())
            assert ids <= set(features.item_ids)

    def test_same_files_same_tables(self, tables: Tables, source: Source, raw: Path, run: Run) -> None:
        again = type(source)(source.settings).tables(raw, run=run)
        assert_frame_equal(tables.interactions.collect(), again.interactions.collect())
        assert_frame_equal(tables.items.collect(), again.items.collect())
        assert list(tables.counts) == list(again.counts)
        assert all(isinstance(count, Count) for count in again.counts)

    def test_settings_are_explained_and_strict(self, source: Source) -> None:
        assert issubclass(type(source).Settings, Settings)
        assert isinstance(source.settings, type(source).Settings)
        assert all(row["text"] for row in describe_settings(type(source).Settings))
        with pytest.raises(ConfigError):
            make_settings(type(source).Settings, {"no_such_setting": 1}, "source")

    def test_files_are_needed(self, source: Source, tmp_path: Path, run: Run) -> None:
        empty = tmp_path / "nothing"
        empty.mkdir()
        with pytest.raises(DataError) as caught:
            source.tables(empty, run=run)
        assert str(empty) in str(caught.value)
        assert caught.value.remedy

    def test_no_files_are_left_open_or_changed(self, source: Source, raw: Path, run: Run) -> None:
        before = {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()}
        source.tables(raw, run=run).interactions.collect()
        assert {path: path.read_bytes() for path in before} == before
