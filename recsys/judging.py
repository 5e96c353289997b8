"""Whether pictures for somebody are true to the item and to the taste: what the verb ``judge`` needs.

Users who like enough of what train does not have; for each, items that the generator never saw and the user never took.
Every pair is drawn several ways with the same noise: for nobody, for the user, for another user. All are judged by an
encoder that neither draws nor chooses.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recsys.briefing import Brief
from recsys.core.artifact import Artifact, commit, read_arrays, write_arrays, write_json
from recsys.core.errors import ArtifactError, ConfigError, DataError
from recsys.core.fingerprint import fingerprint, source_key
from recsys.evaluation.picture_cases import Cases, Way, ways
from recsys.evaluation.picture_verdict import Verdict
from recsys.items import make_encoder
from recsys.items.encoding import encode_items
from recsys.items.sheet import Card, Row, contact_sheet
from recsys.visualizing import Asked, Visualizing
from recsys.visuals import ROOM
from recsys.visuals.keywords import Keyword
from recsys.visuals.likeness import ssim
from recsys.visuals.perceptual import Perceptual
from recsys.visuals.pixels import fitted, to_signed
from recsys.visuals.reader import opened
from recsys.visuals.request import VisualTaste
from recsys.workflow import Workflow

SHARD = 20  # pairs between two writes: what an interrupted drawing can lose


class Judging:
    """Draws the pairs of a run in every way, and reads the pictures by the judge.

    Args:
        workflow: the run; its section ``judge`` says how. Items are encoded and profiles fitted first if need be.

    Raises:
        ConfigError: the judge is the encoder that chooses.
    """

    def __init__(self, workflow: Workflow) -> None:
        self.workflow, self.settings = workflow, workflow.config.judge
        self.visualizing = Visualizing(workflow)
        self.encoder = make_encoder(self.settings.encoder, "image", self.settings.options)
        if self.encoder.identity() == self.visualizing.chooser.identity():
            cause = f"{self.encoder.identity()} also chooses pictures and makes conditions"
            raise ConfigError("judge.encoder", cause, "Take another, for example judge.encoder=efficientnet2.")
        self.briefing, self.generator = self.visualizing.briefing, self.visualizing.generator

    @cached_property
    def ways(self) -> list[Way]:
        """All ways; conditions are left out where the generator can do that."""
        able = "without" in type(self.generator).Settings.model_fields
        return ways(self.settings, self.settings.without if able else ())

    @cached_property
    def posters(self) -> np.ndarray:
        """What the judge sees in the items' own pictures, NaN rows without one, ``[n_items, dim]``."""
        table = self.workflow.dataset.item_table
        folder = self.workflow.store.root / "vectors" / f"judge-{fingerprint(self.encoder.identity())[:12]}"
        return encode_items(table, self.encoder, "image", folder, run=self.workflow.run).vectors

    @cached_property
    def cases(self) -> Cases:
        """Who and what is judged."""
        features = self.briefing.features
        if "image" not in features:
            remedy = "Choose a data set with pictures, such as ml-latest-small with posters."
            raise DataError("judge", f"no item of {self.workflow.dataset.name} has a picture that can be read", remedy)
        pictured = features.present("image")
        return Cases.of(self.workflow.loaded_split, self.settings, pictured)

    def drawn(self, way: Way) -> Artifact:
        """Return the pictures of all pairs, drawn one way; interrupted, it goes on where it was."""
        if way not in self._drawn_ways:  # once a process, whatever happens to the code meanwhile
            self._drawn_ways[way] = self.workflow.store.build(
                "judged", way.name, config=self._config(way), parents=[self.workflow.split()], resumable=True,
                write=lambda folder: self._write(folder, way),
            )  # fmt: skip
        return self._drawn_ways[way]

    @cached_property
    def _drawn_ways(self) -> dict[Way, Artifact]:
        return {}

    def _config(self, way: Way) -> dict[str, Any]:
        cases = self.cases
        return {
            **asdict(way), "pictures": self.settings.pictures, "seed": self.workflow.run.seed,
            "pairs": fingerprint([cases.users.tolist(), cases.others.tolist(), cases.targets.tolist()]),
            "visuals": self.workflow.config.visuals.model_dump(mode="json"), "generator": self.generator.identity(),
            "code": [source_key(type(self.generator), ROOM), source_key(Brief), source_key(Keyword)],
        }  # fmt: skip

    def _write(self, folder: Path, way: Way) -> Mapping[str, Any]:
        pairs = list(self._pairs(way))
        starts = range(0, len(pairs), SHARD)
        for start in self.workflow.run.bar(starts, f"draw {way.name}"):
            path = folder / f"pictures-{start:05d}.npy"
            if not path.is_file():
                made = [self._drawn(user, item, way) for user, item in pairs[start : start + SHARD]]
                draft = path.with_name("draft.npy")
                np.save(draft, np.array(made))
                os.replace(draft, path)
        return {"pairs": len(pairs), "pictures": len(pairs) * self.settings.pictures}

    def _pairs(self, way: Way) -> Iterator[tuple[int, int]]:
        """Yield numbers of a user (whose taste it is) and an item, in the order of users and their items."""
        whose = self.cases.others if way.whose == "another" else self.cases.users
        for user, targets in zip(whose.tolist(), self.cases.targets.tolist(), strict=True):
            yield from ((user, target) for target in (targets[:1] if way.first else targets))

    def _drawn(self, user: int, item: int, way: Way) -> np.ndarray:
        """Return pictures of one pair, uint8 ``[pictures, H, W, 3]``."""
        data, n = self.workflow.dataset, self.settings.pictures
        brief = self.briefing.of(data.items[item], data.users[user])
        if way.whose == "nobody":
            brief = replace(brief, taste=VisualTaste(everybody=brief.taste.everybody))
        visualizing = self._leaving_out(way.without)
        if way.candidates:
            asked = Asked(item=brief.target.item_id, user=data.users[user], n=n, dial=way.dial)
            made = visualizing.chosen(asked, brief, times=way.candidates)[1]
        else:
            generator = visualizing.ready(brief)
            made = generator.generate(brief.target, brief.taste, n=n, dial=way.dial, run=self.workflow.run)
        return np.stack([fitted(one.image) for one in made])

    def _leaving_out(self, condition: str) -> Visualizing:
        """Return what draws without a condition, made once."""
        if not condition:
            return self.visualizing
        if condition not in self._others:
            name = self.workflow.config.visuals.generator
            changed = self.workflow.with_settings(f'visuals.options.{name}.without=["{condition}"]')
            self._others[condition] = Visualizing(changed, self.briefing)
        return self._others[condition]

    @cached_property
    def _others(self) -> dict[str, Visualizing]:
        return {}

    def pictures(self, way: Way) -> np.ndarray:
        """Return the pictures of a way, uint8 ``[pairs, pictures, H, W, 3]``."""
        folder = self.drawn(way).path
        return np.concatenate([np.load(path) for path in sorted(folder.glob("pictures-*.npy"))])

    def seen(self, way: Way) -> np.ndarray:
        """Return what the judge sees in them, ``[pairs, pictures, dim]``."""
        made = self.workflow.store.build(
            "judged-seen", way.name, config={"judge": self.encoder.identity()}, parents=[self.drawn(way)],
            write=lambda folder: np.save(folder / "seen.npy", self._seen(self.pictures(way))),
        )  # fmt: skip
        return np.load(made.path / "seen.npy")

    def _seen(self, pictures: np.ndarray) -> np.ndarray:
        flat = [Image.fromarray(one) for one in pictures.reshape(-1, *pictures.shape[2:])]
        vectors = self.encoder.encode(flat, "image", run=self.workflow.run)
        return vectors.reshape(*pictures.shape[:2], -1)

    @cached_property
    def originals(self) -> np.ndarray:
        """The items' own pictures as generators see them, uint8 ``[users, items, H, W, 3]``."""
        targets = self.cases.targets
        pictures = [fitted(opened(one)) for one in self.briefing.items(targets.ravel())]
        return np.stack(pictures).reshape(*targets.shape, *pictures[0].shape)

    def pixels(self, way: Way) -> dict[str, np.ndarray]:
        """Return what pixels tell of how near pictures are to the items' own: means of the pairs, ``[pairs]`` each."""
        made = self.workflow.store.build(
            "judged-pixels", way.name, config={}, parents=[self.drawn(way)],
            write=lambda folder: write_arrays(folder / "pixels.safetensors", self._pixels(way)),
        )  # fmt: skip
        return read_arrays(made.path / "pixels.safetensors")

    def _pixels(self, way: Way) -> dict[str, np.ndarray]:
        import torch

        drawn, here = self.pictures(way), self.originals[:, :1] if way.first else self.originals
        here, found = here.reshape(-1, *here.shape[2:]), {"ssim": [], "perceptual": []}
        for made, original in zip(drawn, here, strict=True):
            one, two = to_signed(made), to_signed(original[None]).expand(len(made), -1, -1, -1)
            found["ssim"].append(ssim(one, two).mean())
            with torch.inference_mode():
                found["perceptual"].append(float(self._perceptual(one, two).mean()))
        return {name: np.array(values) for name, values in found.items()}

    @cached_property
    def _perceptual(self) -> Perceptual:
        return Perceptual()

    def verdict(self, ways: Sequence[Way] | None = None) -> Verdict:
        """Draw what is not drawn yet, and return all tables."""
        ways = self.ways if ways is None else ways
        sights = {way: (self.seen(way), self.pixels(way)) for way in ways}
        trained = np.flatnonzero(self.workflow.loaded_split.train.item_counts > 0)
        return Verdict(self.cases, sights, self.posters, trained, self.workflow.run)

    def report(self, out: Path, pairs: int) -> Verdict:
        """Measure, and write ``judge.json`` and ``pairs.png``.

        Raises:
            ArtifactError: the folder cannot be written.
        """
        try:
            out.mkdir(parents=True, exist_ok=True)
            found = self.verdict()
            write_json(out / "judge.json", {"commit": commit(), "generator": self.generator.identity(),
                                            "judge": self.encoder.identity(), **found.to_dict()})  # fmt: skip
            (out / "pairs.png").write_bytes(self.page(pairs))
        except OSError as error:
            remedy = "Check its permissions and the space left, or give another one: --out FOLDER"
            raise ArtifactError(f"folder {out}", error.strerror or str(error), remedy) from error
        return found

    def page(self, pairs: int, shown: Sequence[str] = ("nobody", "own", "another")) -> bytes:
        """Return a contact sheet as PNG: the first item of some users as it is, and drawn these ways."""
        drawn = {way.name: self._first(way) for name in shown for way in self.ways if way.name == name}
        rows, titles = [], self.workflow.dataset.titles(self.cases.targets[:, 0])
        originals = self.briefing.items(self.cases.targets[:, 0])
        with tempfile.TemporaryDirectory() as folder:
            for user in range(min(pairs, len(self.cases.users))):
                cards = []
                for name, pictures in drawn.items():
                    path = Path(folder, f"{user}-{name}.png")
                    Image.fromarray(pictures[user]).save(path)
                    cards.append(Card(name, str(path)))
                rows.append(Row(Card(titles[user], str(originals[user].picture), self._words(user)), cards))
            return contact_sheet(
                rows, "Pictures for users", f"{self.generator.identity()}, dial {self.settings.dial:g}"
            )

    def _first(self, way: Way) -> np.ndarray:
        """Return the first picture of each user's first item, uint8 ``[users, H, W, 3]``."""
        return self.pictures(way)[:: 1 if way.first else self.cases.targets.shape[1], 0]

    def _words(self, user: int) -> str:
        data = self.workflow.dataset
        brief = self.briefing.of(data.items[self.cases.targets[user, 0]], data.users[self.cases.users[user]])
        return ", ".join(words for words, _ in brief.taste.keywords[:3])
