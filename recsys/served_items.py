"""Items as a server shows, finds and reads them: pictures, search, new ones, and pictures for users."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import polars as pl

from recsys.core.errors import DataError
from recsys.core.values import ITEM_SCHEMA
from recsys.items import make_encoder
from recsys.items.images import ImageFault, decode, read_bytes
from recsys.items.text import item_texts
from recsys.served_profiles import ServedProfiles
from recsys.serving.people import People
from recsys.serving.state.store import NewItem
from recsys.serving.titlecard import title_poster
from recsys.workflow import Workflow

SAFE = re.compile(r"^[a-z0-9-]{1,80}$")
CardOf = Callable[[int], dict[str, Any]]


class ServedSearch:
    """Search by words, by a picture, or by an item.

    Args:
        workflow: the run.
        people: knows the items.
        card: what an item is, by its number.
    """

    def __init__(self, workflow: Workflow, people: People, card: CardOf) -> None:
        self.workflow, self.people, self.card = workflow, people, card

    @cached_property
    def _search(self) -> Any:
        from recsys.searching import Search

        return Search(self.workflow)

    def words(self, text: str, by: Any, k: int) -> list[dict[str, Any]]:
        """Return items that fit words; titles that contain them first."""
        plain = text.lower()
        titles = self.people.dataset.all_titles
        named = [number for number, title in enumerate(titles) if plain in title.lower()][:k] if by is None else []
        named += [number for id_, number in self.people.fresh.place.items() if plain in self._title(number).lower()]
        cards = [{**self.card(number), "score": 1.0} for number in named[:k]]
        if len(cards) < k and self._can_read:
            there = {one["item_id"] for one in cards}
            found = self._search.by_words(text, by, k)
            cards += [self._found(one) for one in found if one.item_id not in there]
        return cards[:k]

    def like(self, item_id: str, by: Any, k: int) -> list[dict[str, Any]]:
        """Return items that read or look like one of the trained ones.

        Raises:
            DataError: nothing of that kind to compare.
        """
        return [self._found(one) for one in self._search.like(item_id, by, k)]

    def picture(self, content: bytes, k: int) -> list[dict[str, Any]]:
        """Return items whose pictures look like this one.

        Raises:
            DataError: it is no picture, or no item has one.
        """
        features = self._search.features
        if "image" not in features:
            raise DataError("search by picture", "no item has a picture", "Search by words.")
        vector = encode_picture(self.workflow, content)
        rows = features.unit("image")
        mean = features["image"][features.present("image")].mean(axis=0)
        centred = (vector - mean) / max(float(np.linalg.norm(vector - mean)), 1e-12)
        scores = np.where(features.present("image"), rows @ centred, -np.inf)
        best = np.argsort(-scores, kind="stable")[:k]
        return [{**self.card(int(one)), "score": float(scores[one])} for one in best if np.isfinite(scores[one])]

    @property
    def _can_read(self) -> bool:
        return self.workflow.config.items.text != "none"

    def _title(self, number: int) -> str:
        return str(self.card(number)["title"])

    def _found(self, one: Any) -> dict[str, Any]:
        return {**self.card(self.people.item(one.item_id)), "score": one.score}


class ServedPictures:
    """Pictures of items, scaled; title cards where there are none.

    Args:
        people: knows the items.
        card: what an item is, by its number.
    """

    def __init__(self, people: People, card: CardOf) -> None:
        self.people, self.card = people, card
        self._scaled = lru_cache(maxsize=512)(self._scale)  # by number, which no other item is ever given

    def of(self, item_id: str, width: int) -> tuple[bytes, str]:
        """Return content and media type.

        Raises:
            UnknownItemError: there is no such item.
        """
        return self._scaled(self.people.item(item_id), width)

    def _scale(self, number: int, width: int) -> tuple[bytes, str]:
        try:
            content = self._content(number)
            picture = decode(content) if content else None
        except (ImageFault, OSError):
            picture = None
        if picture is None:
            return title_poster(str(self.card(number)["title"])), "image/svg+xml"
        picture.thumbnail((width, width * 2))
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=88)
        return out.getvalue(), "image/jpeg"

    def _content(self, number: int) -> bytes | None:
        if number < len(self.people.dataset.items):
            path = self.people.dataset.item_table["image"][number]
            return read_bytes(path) if path and "://" not in path else None
        found = self.people.state.item(str(self.card(number)["item_id"]))
        return found.picture if found else None


class ServedVisuals:
    """Pictures of items for users.

    Args:
        workflow: the run.
        profiles: of its users.
    """

    def __init__(self, workflow: Workflow, profiles: ServedProfiles) -> None:
        self.workflow, self.profiles = workflow, profiles

    @cached_property
    def _visualizing(self) -> Any:
        from recsys.briefing import Briefing
        from recsys.visualizing import Visualizing

        return Visualizing(self.workflow, Briefing(self.profiles))

    def draw(self, user_id: str, item_id: str, dial: float, n: int) -> dict[str, Any]:
        """Draw an item for a user; drawn before, it is there at once.

        Raises:
            DataError: the item came after training, or cannot be drawn.
        """
        from recsys.visualizing import Asked

        if item_id not in self.profiles.dataset.items:
            raise DataError(f"item {item_id[:80]!r}", "came after training", "Train anew to have it drawn.")
        made = self._visualizing.of(Asked(item=item_id, user=user_id, dial=dial, n=n))
        told = made.to_dict()
        return {
            "album": made.folder.name, "seconds": told["seconds"],
            "pictures": [{**one, "url": f"/v1/visuals/{made.folder.name}/{one['file']}"} for one in told["pictures"]],
        }  # fmt: skip

    def file(self, album: str, name: str) -> bytes | None:
        """Return a picture that was drawn; ``None``: there is none of that name."""
        stem, _, ending = name.rpartition(".")
        if not (SAFE.match(album) and SAFE.match(stem) and ending == "png"):
            return None
        path = self.workflow.store.root / "visualized" / album / name
        return path.read_bytes() if path.is_file() else None


def new_item_vectors(workflow: Workflow) -> Any:
    """Return what reads a new item: its vectors by modality, by the run's encoders."""

    def read(item: NewItem) -> Mapping[str, np.ndarray]:
        names, found = workflow.config.items, {}
        row = {"item_id": item.item_id, "title": item.title, "text": item.text or None,
               "attributes": list(item.attributes), "image": None}  # fmt: skip
        (text,) = item_texts(pl.DataFrame([row], schema=ITEM_SCHEMA))
        if text and names.text != "none":
            found["text"] = _encoder(workflow, "text").encode([text], "text", run=workflow.run)[0]
        if item.picture and names.image != "none":
            found["image"] = encode_picture(workflow, item.picture)
        return {name: np.asarray(vector, np.float32) for name, vector in found.items()}

    return read


def encode_picture(workflow: Workflow, content: bytes) -> np.ndarray:
    """Return the vector of a picture.

    Raises:
        DataError: it is no picture that can be read.
    """
    try:
        picture = decode(content)
    except ImageFault as error:
        raise DataError("the picture", str(error), "Send a PNG, JPEG or WebP.") from None
    return np.asarray(_encoder(workflow, "image").encode([picture], "image", run=workflow.run)[0], np.float32)


@lru_cache(maxsize=8)
def _made(name: str, modality: str, options: str) -> Any:
    return make_encoder(name, modality, json.loads(options))


def _encoder(workflow: Workflow, modality: str) -> Any:
    name = workflow.config.items.encoder_of(modality)
    return _made(name, modality, json.dumps(workflow.config.items.options.get(name, {}), sort_keys=True))
