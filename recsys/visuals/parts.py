"""The part of an item: see ``recsys.data.item_parts``, where splits know it, too."""

from recsys.data.item_parts import HELD_OUT, RULE, VALIDATION, Part, part_of

__all__ = ["HELD_OUT", "RULE", "VALIDATION", "Part", "part_of"]
