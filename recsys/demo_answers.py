"""The demo's last two sections: an item drawn for a user, and what a server answers from like to like."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys.comparison import Comparison
from recsys.evaluation.report import Section
from recsys.hosting import Host, Hosting
from recsys.items.sheet import Card, Row, contact_sheet
from recsys.serving.service import Service, Wanted
from recsys.serving.state.store import Event, NewItem
from recsys.visualizing import Asked, Visualizing
from recsys.workflow import Workflow

SOMEBODY = "somebody new"


def visual_section(workflow: Workflow, user: str, item: str, dials: Sequence[float]) -> Section:
    """Return pictures of an item for a user, at several dials."""
    visualizing = Visualizing(workflow.with_settings("visuals.candidates=1"))
    drawn = [visualizing.of(Asked(item=item, user=user, n=2, dial=dial)) for dial in dials]
    first = drawn[0].pictures[0]
    words = ", ".join(f"{one['words']} ({one['weight']:.2f})" for one in first["prompt"]["keywords"])
    cards = [
        Card(f"dial {dial:g}", str(made.folder / one["file"]))
        for dial, made in zip(dials, drawn, strict=True)
        for one in made.pictures
    ]
    sheet = contact_sheet([Row(Card(first["title"]), cards)], f"{first['title']} for user {user}", first["generator"])
    told = (
        f"Drawn by the generator in the package; the taste in words: {words}. These data have no pictures, so that "
        "nothing but words is known of the item and of what the user liked: sketches in colour are all it can make of "
        "them. With posters it starts from the item's own, and keeps to it (README, Pictures of an item for somebody). "
        f"By hand: recsys visualize {user} '{item}'."
    )
    seen = f"A contact sheet: {len(cards)} small generated pictures in the proportions of a poster."
    return Section(f"{first['title']}, drawn for user {user}", told, picture=sheet, seen=seen)


def served_section(
    workflow: Workflow, comparison: Comparison, ranker: str, likes: Sequence[str], new: Mapping[str, Any], k: int = 5
) -> Section:
    """Return what somebody new gets from a server before and after each like, and once a new item is there."""
    trained = comparison.trained[comparison.names.index(ranker)]
    with tempfile.TemporaryDirectory() as folder:
        hosting = Hosting(str(trained.path), state=str(Path(folder) / "state.sqlite"), visuals=False)
        service = Host(workflow, hosting).service()
        try:
            rows = asyncio.run(_story(service, likes, new, k))
        finally:
            service.close()
    told = (
        "What is said counts in the very next list; a new item is read by its words and takes the scores of what it is "
        f"like. By hand: recsys serve {ranker}, which prints the address of a page."
    )
    return Section("Served: somebody new, from like to like", told, (["after", f"the first {k}"], rows))


async def _story(service: Service, likes: Sequence[str], new: Mapping[str, Any], k: int) -> list[list[str]]:
    await service.accounts.add_user(SOMEBODY)
    rows = [["nothing", await _titles(service, k)]]
    for title in likes:
        item = service.people.dataset.items[int(service.items.catalogue.find([title])[0])]
        await service.accounts.record(Event(SOMEBODY, item, "like"))
        rows.append([f"liking {title}", await _titles(service, k)])
    service.items.add(NewItem("new", new["title"], new["text"], tuple(new["attributes"]), None, {}))
    place = (await service.why(Wanted(SOMEBODY), "new")).place
    n = service.items.offered.n
    rows.append([f"a new item: {new['title']}", f"It stands at place {place} of {n:,}: {new['text']}"])
    return rows


async def _titles(service: Service, k: int) -> str:
    made = await service.recommend(Wanted(SOMEBODY, k=k))
    return "; ".join(one.title for one in made.lines)
