"""Which items a generator of pictures may learn from: said once, here, and copied into the metadata of its weights.

A generator is judged by pictures of items that it has never seen, neither as a target nor in anybody's history. The
part of an item follows from its id alone, so that it is the same in every split, on every machine, for ever.
"""

from __future__ import annotations

import zlib
from typing import Literal

HELD_OUT, VALIDATION = 15, 5  # of a hundred items
RULE = (
    f"crc32(item_id as UTF-8) % 100 < {HELD_OUT}: held out for evaluation, in no training; "
    f"< {HELD_OUT + VALIDATION}: validation, chooses checkpoints; the others: training"
)
Part = Literal["train", "validation", "held_out"]


def part_of(item_id: str) -> Part:
    """Return the part of an item, by the outside id that its source gives it."""
    place = zlib.crc32(item_id.encode()) % 100
    if place < HELD_OUT:
        return "held_out"
    return "validation" if place < HELD_OUT + VALIDATION else "train"
