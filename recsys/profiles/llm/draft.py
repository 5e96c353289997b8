"""A free answer of a language model, read strictly, and what of it is borne out."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.profiles.llm.check import check_text
from recsys.profiles.llm.facts import Facts
from recsys.profiles.llm.untrusted import json_object


class Draft(BaseModel):
    """A free answer; anything else in it refuses all of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    class Text(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        id: str
        text: str

    summary: str
    statements: list[Text] = []
    same: list[list[str]] = []
    attributes: dict[str, list[str]] = {}
    keywords: list[str] = []
    queries: list[str] = []

    @classmethod
    def read(cls, text: str) -> Draft:
        """Read a model's answer.

        Raises:
            ValueError: no JSON object, or one with other keys or types.
        """
        found = json_object(text)
        if found is None:
            raise ValueError("the model's answer is no JSON object")
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"the model's answer: {first['loc']}: {first['msg']}") from None


def texts_of(draft: Draft, facts: Facts) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return new texts of statements by id, each about that statement alone."""
    known, texts, refused = {one.statement.id: one.statement for one in facts.all}, {}, []
    for one in draft.statements:
        statement = known.get(one.id)
        if statement is None or statement.locked or statement.modality == "user-stated" or one.id in texts:
            refused.append((one.text, "of no statement that may be reworded"))
            continue
        verdict = check_text(one.text, facts, only=statement.concept)
        if verdict.dropped or len(verdict.kept) != 1:
            refused.append(verdict.dropped[0] if verdict.dropped else (one.text, "not one sentence"))
        else:
            texts[one.id] = verdict.kept[0]
    return texts, refused


def agreeing(groups: Sequence[Sequence[str]], facts: Facts) -> list[tuple[str, ...]]:
    """Return the groups of statements that may be told as one: of one polarity, on items that are partly the same."""
    known = {one.statement.id: one for one in facts.all}
    found = []
    for group in groups:
        ids = tuple(dict.fromkeys(group))
        members = [known[name] for name in ids if name in known]
        pairs = [(one, other) for place, one in enumerate(members) for other in members[place + 1 :]]
        if len(members) == len(ids) > 1 and all(
            one.polarity == other.polarity and one.items & other.items for one, other in pairs
        ):
            found.append(ids)
    return found
