"""Pictures of an item for somebody: what the verb ``visualize`` needs."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recsys.briefing import Brief, Briefing
from recsys.core.amounts import amount
from recsys.core.blanks import trimmed_id
from recsys.core.errors import ConfigError, DataError
from recsys.core.fingerprint import fingerprint, source_key
from recsys.core.protocols import ItemEncoder, ReadsCatalogue, VisualGenerator
from recsys.items import make_encoder
from recsys.items.sheet import Card
from recsys.profiling import Profiling
from recsys.runconfig import check_device
from recsys.visuals import ROOM, make_generator
from recsys.visuals.album import SHEET, check_folder, kind_of, read_album, scores_text, slug, write_album
from recsys.visuals.request import GeneratedVisual
from recsys.visuals.selection import YARDSTICK, Yardstick, choose, draw
from recsys.workflow import Workflow

DIAL = 0.5


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        item: id or title.
        user: whose taste; none: of somebody new, with ``liked``.
        liked: ids or titles, oldest first.
        n: pictures.
        dial: from the item (0) to the taste (1).
        out: folder to write; none: one named after the item and all that its pictures depend on.
        root: where such folders lie; none: below the run's results.
    """

    item: str
    user: str | None = None
    liked: Sequence[str] = ()
    n: int = 4
    dial: float = DIAL
    out: Path | None = None
    root: Path | None = None

    def check(self) -> None:
        """Refuse what cannot be asked for.

        Raises:
            DataError: not one of user and liked.
            ConfigError: no picture, or a dial that is not from 0 to 1.
        """
        if (self.user is None) == (not self.liked):
            raise DataError("visualize", "for whom?", "Give USER ITEM, or --liked TITLE and ITEM: one of the two.")
        if self.n < 1:
            raise ConfigError("visualize", f"n is {self.n}", "Ask for at least one: -n 1")
        if not 0 <= self.dial <= 1:  # NaN is refused, too
            remedy = "Give a number from 0 (true to the item) to 1 (the user's taste)."
            raise ConfigError("visualize", f"the dial is {self.dial:g}", remedy)


@dataclass(frozen=True)
class Drawn:
    """Pictures that were made.

    Attributes:
        folder: where they lie.
        pictures: their sidecars, best first, each with the name of its ``file``.
        seconds: that drawing and choosing took; none: they were there already.
        candidates: that were drawn.
    """

    folder: Path
    pictures: Sequence[Mapping[str, Any]]
    seconds: float | None = None
    candidates: int = 0

    def to_text(self) -> str:
        """Return it for the terminal."""
        prompt = self.pictures[0]["prompt"]
        taste = [f"  {one['words']} {one['weight']:.2f}  ({one['statement_text']})" for one in prompt["keywords"]]
        lines = [
            f"{self.pictures[0]['title']}: {', '.join(one['words'] for one in prompt['target_keywords'])}",
            *(["the taste:", *taste] if taste else ["the taste: no word stands out, the liked items alone tell"]),
        ]
        for place, one in enumerate(self.pictures, 1):
            lines.append(f"{place}. {one['file']}  {kind_of(one)}  {scores_text(one['scores'])}")
        took = "made before" if self.seconds is None else f"of {self.candidates} drawn in {self.seconds:.1f} s"
        return "\n".join([*lines, f"{amount(len(self.pictures), 'picture')} {took}, by {self.pictures[0]['generator']}",
                          str(self.folder)])  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"folder": str(self.folder), "seconds": self.seconds, "candidates": self.candidates,
                "pictures": [dict(one) for one in self.pictures]}  # fmt: skip


class Visualizing:
    """Draws items of a run for its users, and for anybody who likes some of its items.

    Args:
        workflow: the run; its section ``visuals`` names the generator. Items are encoded and profiles fitted first if
            need be.
        briefing: of the same run, if there is one already.
    """

    def __init__(self, workflow: Workflow, briefing: Briefing | None = None) -> None:
        self.workflow, self.settings = workflow, workflow.config.visuals
        options = self.settings.options.get(self.settings.generator, {})
        self.generator: VisualGenerator = make_generator(self.settings.generator, options)
        self.briefing = briefing or Briefing(Profiling(workflow))

    def of(self, asked: Asked) -> Drawn:
        """Draw, choose and write; what was written before for the same request is not drawn again.

        Raises:
            RecsysError: it cannot be done; then nothing is written.
        """
        asked.check()
        brief = self.briefing.of(asked.item, asked.user, asked.liked)
        folder = asked.out or self._folder(asked, brief)
        if asked.out is None and (folder / SHEET).is_file():
            return Drawn(folder, read_album(folder))
        check_folder(folder)
        started = time.perf_counter()
        candidates, chosen = self.chosen(asked, brief, times=self.settings.candidates)
        seconds = round(time.perf_counter() - started, 2)
        told = [self._sidecar(one, asked, brief, place) for place, one in enumerate(chosen, 1)]
        note, left = ("the item's own picture", "left: original") if brief.target.picture else ("", "left: no picture")
        original = Card(brief.target.title, brief.target.picture, note)
        subtitle = f"{left} · dial {asked.dial:g} · by {chosen[0].generator}"
        write_album(folder, [one.image for one in chosen], told, original, subtitle)
        return Drawn(folder, read_album(folder), seconds, candidates)

    def many(self, pairs: Sequence[tuple[str, str]], asked: Asked) -> Iterator[Drawn]:
        """Draw for many pairs of user and item, a folder each; interrupted, it goes on where it was.

        Raises:
            RecsysError: a user or an item that is unknown, before anything is drawn; or a pair that cannot be drawn.
        """
        self.briefing.check(pairs)
        for user, item in self.workflow.run.bar(pairs, "visualize"):
            yield self.of(replace(asked, user=user, item=item))

    def ready(self, brief: Brief) -> VisualGenerator:
        """Return the generator, with the pictures that this brief allows it to show."""
        check_device(self.workflow.config.run.device)
        if isinstance(self.generator, ReadsCatalogue):
            shown = [one for one in self.briefing.everything if one.item_id not in brief.hidden]
            self.generator.read_catalogue(shown)
        return self.generator

    def chosen(self, asked: Asked, brief: Brief, *, times: int) -> tuple[int, list[GeneratedVisual]]:
        """Return how many candidates were drawn, ``times`` as many as asked for, and the best of them."""
        generator, run = self.ready(brief), self.workflow.run
        found = draw(generator, brief.target, brief.taste, n=asked.n, dial=asked.dial, times=times, run=run)
        yardstick = Yardstick.of(brief.target, brief.taste, self._encoded)
        vectors = self._encoded([one.image for one in found])
        return len(found), choose(found, yardstick.scores(vectors, asked.dial), asked.n)

    def _encoded(self, pictures: Sequence[Any]) -> np.ndarray:
        return self.chooser.encode(list(pictures), "image", run=self.workflow.run)

    @cached_property
    def chooser(self) -> ItemEncoder:
        """The encoder that candidates are chosen by."""
        return make_encoder(YARDSTICK, "image", {})

    def _sidecar(self, one: GeneratedVisual, asked: Asked, brief: Brief, place: int) -> dict[str, Any]:
        return {
            "item": one.item_id, "title": brief.target.title, "place": place,
            "generated": one.given.get("generated", True), "prompt": dict(brief.prompt),
            "dial": asked.dial, "strength": one.dial, "seed": one.seed, "scores": dict(one.scores),
            "chosen_by": f"z with {self.chooser.identity()}", "generator": one.generator, "given": dict(one.given),
        }  # fmt: skip

    def _folder(self, asked: Asked, brief: Brief) -> Path:
        """Return a folder named after the item and a hash of what the pictures depend on; the user is not in it."""
        config = {
            "item": brief.target.item_id, "keywords": brief.taste.keywords, "n": asked.n, "dial": asked.dial,
            "history": [one.item_id for one in brief.taste.history], "hidden": sorted(brief.hidden),
            "data": self.workflow.data().key, "visuals": self.settings.model_dump(mode="json"),
            "seed": self.workflow.run.seed, "generator": self.generator.identity(),
            "code": [source_key(type(self.generator), ROOM), source_key(Yardstick), source_key(Brief)],
        }  # fmt: skip
        root = asked.root or self.workflow.store.root / "visualized"
        return root / f"{slug(brief.target.title)}-{fingerprint(config)[:12]}"


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Return pairs of user and item of a CSV file with these two columns.

    Raises:
        DataError: it cannot be read, or has no such columns, or no rows.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"pairs {path}", f"cannot be read ({error})", "Give a CSV file.") from None
    pairs = [(trimmed_id(row.get("user") or ""), trimmed_id(row.get("item") or "")) for row in rows]
    for line, pair in enumerate(pairs, 2):
        if not all(pair):
            remedy = "Columns are named user and item in the first line, and each row has both."
            raise DataError(f"pairs {path}, line {line}", "has no user or no item", remedy)
    if not rows:
        raise DataError(f"pairs {path}", "has no rows", "Give a CSV file with columns user and item.")
    return pairs
