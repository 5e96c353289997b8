"""Who asked to be forgotten: no flipped bit brings anybody back unsaid."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.core.erased import FILE, add_erased, erased, id_hash
from recsys.core.errors import DataError


def test_users_are_kept_as_hashes_and_those_of_earlier_versions_count(tmp_path: Path) -> None:
    assert erased(tmp_path) == frozenset()
    (tmp_path / FILE).write_text(id_hash("before") + "\n")
    for user in ("22", "Zoë"):
        add_erased(tmp_path, user)
    assert erased(tmp_path) == {id_hash("before"), id_hash("22"), id_hash("Zoë")}
    assert b"22\n" not in (tmp_path / FILE).read_bytes()


def test_any_flipped_bit_is_said(tmp_path: Path) -> None:
    for user in ("22", "23"):
        add_erased(tmp_path, user)
    path, right = tmp_path / FILE, erased(tmp_path)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        try:
            found = erased(tmp_path)
        except DataError:
            continue
        assert found == right, bit
    path.write_bytes(whole.replace(b"a", b"b", 1))
    with pytest.raises(DataError, match=r"erased\.txt: line \d was changed or damaged.*Put a backup"):
        erased(tmp_path)
