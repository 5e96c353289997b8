"""What the embedded generator learns from: posters, vectors, words; made once and kept beside the checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recsys.core.artifact import read_arrays, write_arrays, write_json
from recsys.data.item_parts import part_of
from recsys.items import make_encoder
from recsys.items.images import ImageFault, decode, read_bytes
from recsys.profiles import CONCEPT_SOURCES
from recsys.profiles.concepts import Concepts, ItemWorld
from recsys.visuals.autoencoder import Autoencoder
from recsys.visuals.examples import Examples, ExampleSettings, Shelf, layouts
from recsys.visuals.looks import look_words, spoken
from recsys.visuals.pixels import HEIGHT, WIDTH, fitted
from recsys.visuals.reconstruction import encode_all
from recsys.visuals.soft_training import Named
from recsys.visuals.taste import TasteSpace
from recsys.workflow import Workflow

SOURCES = ("attributes", "terms")  # of words that profiles use, too
RARE = 5  # pictures that a look must have to be a word


class Posters:
    """All posters of a folder, 128 × 192, in the order of their names; held-out ones are only looked at to measure.

    Args:
        folder: of ``<item id>.jpg``.
        cache: the file they are kept in, one array.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        names = sorted(path.name for path in folder.iterdir())
        if not cache.is_file():
            self._read([folder / name for name in names], cache)
        self.ids = [name.rpartition(".")[0] for name in names]
        self.pixels = np.load(cache, mmap_mode="r")  # uint8 [n, HEIGHT, WIDTH, 3]
        self.part = np.array([part_of(one) for one in self.ids])
        self.place = {one: row for row, one in enumerate(self.ids)}

    def of(self, part: str, most: int | None = None) -> np.ndarray:
        """Return the pictures of a part, in memory."""
        return np.ascontiguousarray(self.pixels[self.part == part][:most])

    @staticmethod
    def _read(paths: Sequence[Path], cache: Path) -> None:
        draft = cache.with_name(cache.name + ".part.npy")
        made = np.lib.format.open_memmap(draft, "w+", np.uint8, (len(paths), HEIGHT, WIDTH, 3))
        for row, path in enumerate(paths):
            try:
                made[row] = fitted(decode(read_bytes(path)))
            except ImageFault as fault:
                raise SystemExit(f"{path}: {fault}") from None
        made.flush()
        os.replace(draft, cache)


class Material:
    """The shelf of a run: training and validation items alone.

    Args:
        workflow: of the run; items are encoded first if need be.
        posters: the pictures.
        folder: for what is made here.
    """

    def __init__(self, workflow: Workflow, posters: Posters, folder: Path) -> None:
        self.workflow, self.posters, self.folder = workflow, posters, folder
        self.train, table = workflow.loaded_split.train, workflow.dataset.item_table
        item_ids = table["item_id"].to_list()
        self.items = np.array(
            [row for row, one in enumerate(item_ids) if one in posters.place and part_of(one) != "held_out"]
        )
        self.ids = [item_ids[row] for row in self.items]
        self.rows = np.array([posters.place[one] for one in self.ids])  # of the posters
        self.place = np.full(len(item_ids), -1, dtype=np.int64)
        self.place[self.items] = np.arange(len(self.items))

    def examples(self, autoencoder: Autoencoder, name: str, settings: ExampleSettings) -> tuple[Examples, Examples]:
        """Return what to learn from and what to validate on; ``name`` is the autoencoder's."""
        shelf = self.shelf(autoencoder, name)
        learned = np.array([part_of(one) == "train" for one in shelf.ids])
        space = TasteSpace.fitted(shelf.text[learned], shelf.picture[learned])
        return tuple(Examples(shelf, self.train, self.place, space, part, settings) for part in ("train", "validation"))

    def shelf(self, autoencoder: Autoencoder, name: str) -> Shelf:
        """Return what is known of the items, made once."""
        kept = self.folder / f"shelf-{name}.safetensors"
        if not kept.is_file():
            write_arrays(kept, self._made(autoencoder))
        found = read_arrays(kept)
        words = np.split(found.pop("words"), found.pop("ends")[:-1])
        return Shelf(self.ids, words=words, **found)

    def _made(self, autoencoder: Autoencoder) -> dict[str, np.ndarray]:
        features, pictures = self.workflow.features(("text", "image")), self.posters.pixels[self.rows]
        words, texts = self._words(pictures)
        vocabulary = make_encoder("minilm", "text", {}).encode(texts, "text", run=self.workflow.run)
        return {
            "latents": encode_all(autoencoder, pictures), "text": features["text"][self.items],
            "picture": features["image"][self.items], "layout": layouts(pictures), "vocabulary": vocabulary,
            "words": np.concatenate(words), "ends": np.cumsum([len(one) for one in words]),
        }  # fmt: skip

    def named(self, name: str) -> Named:
        """Return titles of the items and the words of the vocabulary, made once; ``name`` is the autoencoder's."""
        kept = self.folder / f"shelf-{name}-words.json"
        if not kept.is_file():
            write_json(kept, self._words(self.posters.pixels[self.rows])[1])
        return Named(self.workflow.dataset.titles(self.items), json.loads(kept.read_text(encoding="utf-8")))

    def _words(self, pictures: np.ndarray) -> tuple[list[np.ndarray], list[str]]:
        """Return each item's words as numbers, and all words."""
        dataset, run = self.workflow.dataset, self.workflow.run
        world = ItemWorld(dataset.item_table, self.workflow.features(("text",)), self.train)
        found = [CONCEPT_SOURCES.load(name)().find(world, run=run) for name in SOURCES]
        concepts = Concepts.joined(found, len(dataset.item_table))
        named = [column for column, one in enumerate(concepts.all) if one.words]
        member = concepts.members.tocsr()[self.items][:, named].tocsr()
        texts = [concepts.all[column].words for column in named]
        looks = look_words(list(pictures))
        counts = {word: sum(word in row for row in looks) for word in sorted({word for row in looks for word in row})}
        kept = [word for word, count in counts.items() if count >= RARE]
        number = {word: len(texts) + place for place, word in enumerate(kept)}
        words = []
        for row, look in enumerate(looks):
            told = member.indices[member.indptr[row] : member.indptr[row + 1]]
            words.append(np.concatenate([told, [number[one] for one in look if one in number]]).astype(np.int64))
        return words, [*texts, *map(spoken, kept)]
