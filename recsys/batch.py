"""Lists for all users in one parquet file: made in parts, on several workers; interrupted, it goes on where it was.

Whoever the executor is, a part is scored by ``write_part``, and its lists go from there to the disk: what comes back
is a number of rows. A worker opens the model with its first part and keeps it. For Ray that is a Ray Data pipeline of
parts (executor ``ray-data``), whose actors stay.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from recsys.core.artifact import ArtifactStore
from recsys.core.errors import ArtifactError, ConfigError
from recsys.core.fingerprint import fingerprint
from recsys.core.registry import name_plugins, plugin_names
from recsys.core.runtime import Run
from recsys.executing import Executor
from recsys.serving.recommender import Recommender

USERS = 4096  # of a part


@dataclass(frozen=True)
class Part:
    """Some of the users.

    Attributes:
        ranker, artifacts: folder of the trained ranker, and of all results.
        first, last: user numbers, the last not included.
        k: length of lists.
        filters: conditions such as ``genre:Comedy``.
        out: file to write.
        plugins: code that the ranker is made by.
    """

    ranker: str
    artifacts: str
    first: int
    last: int
    k: int
    filters: tuple[str, ...]
    out: str
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """What was written: ``path``, and how many ``users`` and ``rows`` are in it."""

    path: Path
    users: int
    rows: int


def recommend_all(
    ranker: Path, artifacts: Path, out: Path, *, k: int, filters: tuple[str, ...], executor: Executor, run: Run
) -> Done:
    """Write the best ``k`` unseen items of every user: columns user_id, place, item_id, score.

    Parts lie beside ``out`` until all are there; what was done before an interruption is not done again.

    Raises:
        ConfigError: ``k`` below 1, or ``out`` is no parquet file.
        DataError: a filter that is not understood.
        ArtifactError: the ranker or the file cannot be used.
    """
    if k < 1 or out.suffix != ".parquet":
        cause = f"k is {k}" if k < 1 else f"{out} is not named .parquet"
        raise ConfigError("recommend --all", cause, "Such as: -k 20 --out lists.parquet")
    trained = ArtifactStore(artifacts).open(ranker)
    model = _model(str(trained.path), str(artifacts))
    k = min(k, len(model.dataset.items))
    model.catalogue.allowed(filters)  # what is not understood is refused before anything is scored
    folder = out.with_name(f"{out.stem}.parts-{fingerprint([trained.key, k, filters])[:12]}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plugins = tuple(plugin_names(trained.config["ranker"]))  # opening the model has shown that the run names them
        empty = Part(str(trained.path), str(artifacts), 0, 0, k, filters, "", plugins)
        parts = list(_parts(len(model.dataset.users), empty, folder))
        left = [part for part in parts if not Path(part.out).is_file()]
        for _ in run.bar(executor.map(write_part, left), "recommend", total=len(left)):
            pass
        draft = folder / "all.draft"
        pl.scan_parquet([part.out for part in parts]).sink_parquet(draft)
        os.replace(draft, out)
        shutil.rmtree(folder)
    except OSError as error:
        raise ArtifactError(f"file {out}", error.strerror or str(error), "Check permissions and space.") from error
    rows = pl.scan_parquet(out).select(pl.len()).collect().item()
    return Done(out, len(model.dataset.users), int(rows))


def write_part(part: Part) -> int:
    """Score some users and write their lists; return how many rows."""
    name_plugins(part.plugins)
    model = _model(part.ranker, part.artifacts)
    users = np.arange(part.first, part.last)
    items, scores = model.best(users, part.k, part.filters)  # [n, k]
    there = items >= 0
    rows = np.repeat(users, there.sum(axis=1))
    made = pl.DataFrame(
        {
            "user_id": model.dataset.users.ids.gather(rows),
            "place": np.broadcast_to(np.arange(1, items.shape[1] + 1, dtype=np.int32), items.shape)[there],
            "item_id": model.dataset.items.ids.gather(items[there]),
            "score": scores[there],
        }
    )
    draft = f"{part.out}.draft"
    made.write_parquet(draft)
    os.replace(draft, part.out)
    return len(made)


def _parts(n_users: int, empty: Part, folder: Path) -> Iterator[Part]:
    for number, first in enumerate(range(0, n_users, USERS)):
        last = min(first + USERS, n_users)
        yield replace(empty, first=first, last=last, out=str(folder / f"{number:06d}.parquet"))


@lru_cache(maxsize=1)
def _model(ranker: str, artifacts: str) -> Recommender:
    return Recommender.load(ranker, artifacts=artifacts)
