"""Blanks around ids: python and polars trim the same."""

from __future__ import annotations

import sys

import polars as pl
import pytest

from recsys.core.blanks import BLANKS, trimmed_id


@pytest.mark.parametrize("blank", [" ", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2060", "\ufeff"])
def test_an_id_loses_the_blanks_at_its_ends(blank):
    assert trimmed_id(f"{blank}u 1{blank} {blank}") == "u 1"


def test_what_a_word_may_end_with_stays():
    assert trimmed_id("می\u200c") == "می\u200c"
    assert trimmed_id("क्\u200d") == "क्\u200d"


def test_only_blanks_are_no_id():
    assert trimmed_id(BLANKS) == ""


def test_blanks_are_what_polars_strips_and_three_more():
    letters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    column = pl.Series("id", letters)
    white = set(column.filter(column.str.strip_chars() == ""))
    assert set(BLANKS) == white | {"\u200b", "\u2060", "\ufeff"}
    assert column.str.strip_chars(BLANKS).to_list() == [trimmed_id(letter) for letter in letters]
