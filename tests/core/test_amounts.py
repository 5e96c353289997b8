"""Numbers of things in messages."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.core.amounts import amount


@pytest.mark.parametrize(("n", "text"), [(0, "0 users"), (1, "1 user"), (2, "2 users"), (1234, "1,234 users")])
def test_one_is_no_plural(n, text):
    assert amount(n, "user") == text
    assert amount(np.int64(n), "user") == text


def test_a_plural_of_its_own():
    assert [amount(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]
