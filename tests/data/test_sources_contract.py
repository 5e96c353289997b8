"""Every registered source keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
from source_fixtures import FIXTURES

import recsys.data.sources.movielens_100k as movielens_100k
from recsys.core.config import make_settings
from recsys.core.protocols import Source
from recsys.data import NAMES, SOURCES

from contracts.source_contract import SourceContract


def test_every_registered_source_is_tested() -> None:
    assert set(FIXTURES) == set(NAMES)


class TestRegisteredSources(SourceContract):
    @pytest.fixture(params=sorted(NAMES))
    def name(self, request: pytest.FixtureRequest) -> str:
        return request.param

    @pytest.fixture
    def values(self, name: str, raw_folder: Path) -> dict:
        return FIXTURES[name](raw_folder)

    @pytest.fixture
    def raw_folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "raw [1]*"  # a name that must not be read as a pattern
        folder.mkdir()
        return folder

    @pytest.fixture
    def raw(self, raw_folder: Path, values: dict) -> Path:
        return raw_folder

    @pytest.fixture
    def source(self, name: str, values: dict) -> Source:
        cls = SOURCES.load(name)
        return cls(make_settings(cls.Settings, values, "source"))

    def test_files_are_needed(self, source, tmp_path, run, monkeypatch):
        monkeypatch.setattr(movielens_100k, "embedded_folder", lambda: None)
        super().test_files_are_needed(source, tmp_path, run)
