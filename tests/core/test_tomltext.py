"""What is written as TOML reads back as it was."""

from __future__ import annotations

import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.core.tomltext import to_toml
from recsys.runconfig import RunConfig

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_values_come_back(values: dict) -> None:
    assert tomllib.loads(to_toml(values)) == values


def test_a_whole_run_comes_back() -> None:
    config = RunConfig(ranker={"name": "fusion", "members": [{"name": "ease"}, {"name": "a.b:C", "deep": {"x": 1}}]})
    assert RunConfig.model_validate(tomllib.loads(to_toml(config.model_dump(mode="json")))) == config


def test_what_toml_has_no_word_for() -> None:
    assert tomllib.loads(to_toml({"a": None, "b": {"c": None}, "d": [{"e": None}]})) == {"b": {}, "d": [{}]}
    assert math.isnan(tomllib.loads(to_toml({"a": math.nan}))["a"])
    with pytest.raises(TypeError, match="cannot be written"):
        to_toml({"a": object()})
