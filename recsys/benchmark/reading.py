"""What results.json says of a data set: who was best, by how much, and what a reader must know of the grids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recsys.benchmark.settings import OURS

Outcome = Mapping[str, Any]  # of a data set, as results.json has it
ENOUGH = 3  # values of a setting from which on its ends mean something


def ranker_of(one: Outcome, name: str | None) -> Outcome | None:
    """Return a ranker by name."""
    return next((row for row in one["rankers"] if row["name"] == name), None)


def best_of_family(one: Outcome, family: str) -> Outcome | None:
    """Return the ranker of a family with the highest figure on validation; ``None`` where it has none."""
    return _best([row for row in one["rankers"] if row["family"] == family])


def best_single(one: Outcome) -> Outcome | None:
    """Return ours with the highest figure on validation that is no fusion of others."""
    ours = [row for row in one["rankers"] if row["family"] == OURS]
    return _best([row for row in ours if not row.get("settings", {}).get("members")])


def _best(rows: Sequence[Outcome]) -> Outcome | None:
    measured = [row for row in rows if "test" in row]
    return max(measured, key=lambda row: row["valid"]) if measured else None


def difference_of(one: Outcome, name: str | None) -> Outcome | None:
    """Return a ranker's difference to the best peer."""
    return next((row for row in one["differences"] if row["name"] == name), None)


def families(sets: Sequence[Outcome]) -> list[str]:
    """Return whose rankers there are, ours first."""
    found = dict.fromkeys(row["family"] for one in sets for row in one["rankers"])
    return [OURS, *(name for name in found if name != OURS)]


def notes(one: Outcome) -> Iterator[str]:
    """Yield what could not be trained, whom rankers cannot know, and best values at the ends of grids."""
    for row in one["rankers"]:
        if "failed" in row:
            yield f"{row['name']}: no trial ended well ({row['failed']})."
    unknown: dict[int, list[str]] = {}
    for row in one["rankers"]:
        if row.get("by_popularity"):
            unknown.setdefault(row["by_popularity"], []).append(row["name"])
    for count, names in sorted(unknown.items()):
        yield f"{count:,} of the users cannot be known and are shown what is popular by: {', '.join(names)}."
    if ends := [f"{row['name']} ({', '.join(found)})" for row in one["rankers"] if (found := _at_ends(row))]:
        yield f"Best at an end of the values that were tried, and so perhaps better beyond: {'; '.join(ends)}."


def _at_ends(row: Outcome) -> list[str]:
    """Return the numeric settings of a ranker whose best value is the least or the largest of several."""
    whole = [trial for trial in row["trials"] if trial["valid"] is not None]
    if not whole:
        return []
    best, found = max(whole, key=lambda trial: trial["valid"])["settings"], []
    for name, value in best.items():
        tried = {trial["settings"].get(name) for trial in row["trials"]}
        numbers = [one for one in tried if isinstance(one, int | float) and not isinstance(one, bool)]
        if len(numbers) >= ENOUGH and value in (min(numbers), max(numbers)):
            found.append(f"{name.removeprefix('params.')} {value:g}")
    return found
