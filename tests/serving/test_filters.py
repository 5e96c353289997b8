"""Ids that come anew."""

from __future__ import annotations

import pytest

from recsys.core.errors import DataError
from recsys.core.values import Vocabulary
from recsys.serving.catalogue import refuse_float


@pytest.mark.parametrize(
    ("new", "known", "remedy"),
    [
        ("7.0", ["1", "-2"], "Write 7."), ("-7.", ["1"], "Write -7."), ("7", ["1"], ""), ("7.5", ["1"], ""),
        ("7.0", ["1", "u2"], ""), ("7.0", [], ""), ("u7.0", ["1"], ""),
    ],
)  # fmt: skip
def test_a_new_id_is_no_float_among_whole_numbers(new: str, known: list[str], remedy: str) -> None:
    if not remedy:
        refuse_float("user", new, Vocabulary(known))
        return
    with pytest.raises(DataError) as caught:
        refuse_float("user", new, Vocabulary(known))
    assert caught.value.remedy == remedy
