"""Pictures of an item for somebody: what the verb ``visualize`` needs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recsys.core.errors import ConfigError, DataError
from recsys.core.fingerprint import fingerprint, source_key
from recsys.core.protocols import ReadsCatalogue, VisualGenerator
from recsys.describing import encoded
from recsys.items import make_encoder
from recsys.items.sheet import Card
from recsys.items.text import item_texts
from recsys.profiles.history import History
from recsys.profiles.schema import UserProfile
from recsys.profiling import Profiling
from recsys.serving.catalogue import Catalogue
from recsys.visuals import make_generator
from recsys.visuals.album import check_folder, kind_of, read_album, scores_text, slug, write_album
from recsys.visuals.keywords import Keyword, Lexicon, preference_keywords, target_keywords
from recsys.visuals.request import GeneratedVisual, VisualItem, VisualTaste
from recsys.visuals.selection import Yardstick, choose, draw
from recsys.workflow import Workflow, check_device

DIAL = 0.5
YARDSTICK = "efficientnet"  # the encoder that chooses; an evaluation must take another
LIKED = 100  # liked items that are looked at, the latest


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        item: id or title.
        user: whose taste; none: of somebody new, with ``liked``.
        liked: ids or titles, oldest first.
        n: pictures.
        dial: from the item (0) to the taste (1).
        out: folder to write; none: one below the run's results, named after the item.
    """

    item: str
    user: str | None = None
    liked: Sequence[str] = ()
    n: int = 4
    dial: float = DIAL
    out: Path | None = None

    def check(self) -> None:
        """Refuse what cannot be asked for.

        Raises:
            DataError: not one of user and liked.
            ConfigError: no picture, or a dial that is not from 0 to 1.
        """
        if (self.user is None) == (not self.liked):
            raise DataError("visualize", "for whom?", "Give USER ITEM, or --liked TITLE and ITEM: one of the two.")
        if self.n < 1:
            raise ConfigError("visualize", f"{self.n} pictures are none", "Ask for at least one: -n 1")
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
            *(["the taste:", *taste] if taste else ["the taste: no words stand out; liked pictures alone tell"]),
        ]
        for place, one in enumerate(self.pictures, 1):
            lines.append(f"{place}. {one['file']}  {kind_of(one)}  {scores_text(one['scores'])}")
        took = "were there already" if self.seconds is None else f"of {self.candidates} drawn in {self.seconds:.1f} s"
        return "\n".join([*lines, f"{len(self.pictures)} pictures {took}, by {self.pictures[0]['generator']}",
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
    """

    def __init__(self, workflow: Workflow) -> None:
        self.workflow, self.dataset, self.settings = workflow, workflow.dataset, workflow.config.visuals
        self.profiling = Profiling(workflow)
        options = self.settings.options.get(self.settings.generator, {})
        self.generator: VisualGenerator = make_generator(self.settings.generator, options)

    def of(self, asked: Asked) -> Drawn:
        """Draw, choose and write; what was written before for the same request is not drawn again.

        Raises:
            RecsysError: it cannot be done; then nothing is written.
        """
        asked.check()
        (row,) = Catalogue(self.dataset).find([asked.item])
        current = self.profiling.newcomer(asked.liked) if asked.user is None else self.profiling.current(asked.user)
        profile, item = current.profile, int(row)
        words = preference_keywords(profile, self.profiling.builder.concepts)
        liked = self._liked(asked.user, current.history, profile, item)
        taste = VisualTaste(tuple((one.words, one.weight) for one in words), self._items(liked))
        folder = asked.out or self._folder(asked, item, taste)
        if asked.out is None and (folder / "sheet.png").is_file():
            return Drawn(folder, read_album(folder))
        check_folder(folder)
        started = time.perf_counter()
        candidates, chosen = self._chosen(asked, item, liked, taste)
        seconds = round(time.perf_counter() - started, 2)
        prompt = self._prompt(item, words, profile)
        told = [self._sidecar(one, asked, prompt, place) for place, one in enumerate(chosen, 1)]
        original = Card(self._title(item), self._image(item), "the item's own picture" if self._image(item) else "")
        subtitle = f"left: original · dial {asked.dial:g} · by {chosen[0].generator}"
        write_album(folder, [one.image for one in chosen], told, original, subtitle)
        return Drawn(folder, read_album(folder), seconds, candidates)

    # -- drawing ---------------------------------------------------------------------------------------------

    def _chosen(
        self, asked: Asked, item: int, liked: np.ndarray, taste: VisualTaste
    ) -> tuple[int, list[GeneratedVisual]]:
        """Return how many candidates were drawn, and the best of them."""
        check_device(self.workflow.config.run.device)
        run, (target,) = self.workflow.run, self._items(np.array([item]))
        if isinstance(self.generator, ReadsCatalogue):
            self.generator.read_catalogue(self._items(np.arange(len(self.dataset.items))))
        times = self.settings.candidates
        found = draw(self.generator, target, taste, n=asked.n, dial=asked.dial, times=times, run=run)
        vectors = self._encoded([one.image for one in found])
        yardstick = self._yardstick(target, taste)
        return len(found), choose(found, yardstick.scores(vectors, asked.dial), asked.n)

    def _yardstick(self, target: VisualItem, taste: VisualTaste) -> Yardstick:
        own = self._seen([target])
        liked = self._seen(taste.history)
        features = encoded(self.workflow.items(("image",)))
        ready = self.workflow.config.items.image == YARDSTICK and "image" in features
        every = features["image"] if ready else np.concatenate([own, liked])
        every = every[np.isfinite(every).all(axis=1)]
        centre = every.mean(axis=0) if len(every) > 1 else np.zeros(every.shape[1])
        return Yardstick(own[0] if len(own) else None, liked, centre)

    def _seen(self, items: Sequence[VisualItem]) -> np.ndarray:
        """Return vectors of the items' pictures, ``[<= n, dim]``; those that are not known are encoded."""
        from recsys.visuals.reader import opened

        known = [one.vectors[YARDSTICK] for one in items if YARDSTICK in one.vectors]
        fresh = [opened(one) for one in items if one.picture is not None and YARDSTICK not in one.vectors]
        return np.array([*known, *(self._encoded(fresh) if fresh else [])], dtype=np.float32)

    def _encoded(self, pictures: Sequence[Any]) -> np.ndarray:
        return self._encoder.encode(list(pictures), "image", run=self.workflow.run)

    @cached_property
    def _encoder(self) -> Any:
        return make_encoder(YARDSTICK, "image", {})

    # -- what it is drawn from -------------------------------------------------------------------------------

    def _liked(self, user: str | None, history: Sequence[int], profile: UserProfile, item: int) -> np.ndarray:
        """Return the latest liked items, int64; never the target, nor what the profile forbids or dislikes.

        Liked is what the user rated as high as the middle of their ratings, or higher; unrated items are.
        """
        if user is None:
            known = History.of(history, len(self.dataset.items))
        else:
            known = self.profiling.builder.history(int(self.dataset.users.index([user])[0]))
        rows, rated = known.items, known.rated()
        if rated.any():
            rows = rows[~rated | (known.ratings >= np.median(known.ratings[rated]))]
        unwanted = [
            one.concept
            for one in profile.statements
            if one.forbidden or (one.polarity, one.weight > 0) == ("dislike", True)
        ]
        out = self.profiling.matcher.meant(unwanted) if unwanted else np.zeros(len(self.dataset.items), dtype=bool)
        return rows[(rows != item) & ~out[rows]][-LIKED:]

    def _items(self, rows: np.ndarray) -> tuple[VisualItem, ...]:
        """Return items as generators see them."""
        table, names = self.dataset.item_table[rows], self.workflow.config.items
        features = encoded(self.workflow.items())
        texts, titles = item_texts(table), self.dataset.titles(rows)
        spaces = {
            names.encoder_of(modality): features[modality][rows]
            for modality in ("text", "image")
            if modality in features
        }
        found = []
        for place, (item_id, picture) in enumerate(zip(table["item_id"], table["image"], strict=True)):
            vectors = {name: matrix[place] for name, matrix in spaces.items() if np.isfinite(matrix[place]).all()}
            found.append(VisualItem(item_id, titles[place], texts[place], picture, vectors))
        return tuple(found)

    def _prompt(self, item: int, words: Sequence[Keyword], profile: UserProfile) -> dict[str, Any]:
        """Return in words what is asked of the generator, with the statement that each keyword rests on."""
        target = target_keywords(self.dataset.item_table.row(item, named=True), self._lexicon)
        taste = [asdict(one) | {"statement_text": profile.statement(one.statement).text} for one in words]
        plain = [{"words": one.words, "weight": one.weight, "concept": one.concept} for one in target]
        return {"title": self._title(item), "target_keywords": plain, "keywords": taste}

    def _sidecar(self, one: GeneratedVisual, asked: Asked, prompt: Mapping[str, Any], place: int) -> dict[str, Any]:
        return {
            "item": one.item_id, "title": prompt["title"], "place": place,
            "generated": one.given.get("generated", True), "prompt": dict(prompt), "dial": asked.dial,
            "strength": one.dial, "seed": one.seed,
            "scores": dict(one.scores), "chosen_by": f"z with {self._encoder.identity()}", "generator": one.generator,
            "given": dict(one.given),
        }  # fmt: skip

    @cached_property
    def _lexicon(self) -> Lexicon:
        features = encoded(self.workflow.items(("image",)))
        return Lexicon(self.dataset.item_table, features.unit("image") if "image" in features else None)

    def _title(self, item: int) -> str:
        return self.dataset.titles([item])[0]

    def _image(self, item: int) -> str | None:
        return self.dataset.item_table["image"][item]

    def _folder(self, asked: Asked, item: int, taste: VisualTaste) -> Path:
        """Return a folder named after the item and a hash of what the pictures depend on; the user is not in it."""
        config = {
            "item": self.dataset.items[item], "keywords": taste.keywords, "n": asked.n, "dial": asked.dial,
            "history": [one.item_id for one in taste.history], "data": self.workflow.data().key,
            "visuals": self.settings.model_dump(mode="json"), "seed": self.workflow.run.seed,
            "generator": self.generator.identity(), "code": source_key(type(self.generator)),
        }  # fmt: skip
        return self.workflow.store.root / "visualized" / f"{slug(self._title(item))}-{fingerprint(config)[:12]}"
