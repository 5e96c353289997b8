"""Searches that a fine-tuned language model writes for the users of a run, and the items that they find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recsys.core.artifact import Artifact, read_arrays, write_arrays
from recsys.core.config import make_settings
from recsys.core.errors import ConfigError
from recsys.core.fingerprint import source_key
from recsys.core.values import Histories
from recsys.profiles.naming import clean_title
from recsys.profiles.queries import ItemSearch, QueryRanker, SearchSettings
from recsys.profiles.query_writer import QueryWriter, QueryWriterSettings
from recsys.profiles.title_prompts import TitlePrompts
from recsys.runconfig import check_device
from recsys.serving.catalogue import Catalogue
from recsys.wording import configured_model
from recsys.workflow import Workflow

STATE = "writer.safetensors"
SEARCH, POPULARITY = SearchSettings(exact=True, results=20), 1.0  # weight of log popularity beside BM25


@dataclass(frozen=True)
class Searched:
    """Searches in the order of the beam, each with the titles that it brings first."""

    found: tuple[tuple[str, tuple[str, ...]], ...]

    def to_text(self) -> str:
        """Return a line a search."""
        if not self.found:
            return "searches: none, for there is no history"
        lines = [f"  “{query}” brings {'; '.join(titles) or 'nothing'}" for query, titles in self.found]
        return "\n".join(["searches for what comes next, by the language model:", *lines])

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain values."""
        return [{"search": query, "brings": list(titles)} for query, titles in self.found]


class Querying:
    """Makes and opens the query writer of a run.

    Args:
        workflow: the run; its section ``llm`` names the language model.
        settings: of the writer, plain values; by default the section ``llm.searches``.

    Raises:
        ConfigError: no such setting, or no language model that can be fine-tuned here.
    """

    def __init__(self, workflow: Workflow, settings: Mapping[str, Any] | None = None) -> None:
        self.workflow = workflow
        self.settings: QueryWriterSettings = make_settings(
            QueryWriterSettings, workflow.config.llm.searches if settings is None else settings, "llm.searches"
        )
        name = workflow.config.llm.model
        self.model = None if name == "none" else configured_model(workflow)
        if not hasattr(self.model, "module"):
            cause = f"llm.model {name!r} is none that can be fine-tuned here"
            raise ConfigError("query writer", cause, "Set llm.model to smollm, or to causal and a model's folder.")

    def fitted(self) -> Artifact:
        """The writer, fine-tuned on train's histories; an interrupted run goes on where it was."""
        workflow, run = self.workflow, self.workflow.run
        config = {
            "settings": self.settings.model_dump(mode="json"), "seed": run.seed, "model": self.model.identity(),
            "code": [source_key(QueryWriter), source_key(TitlePrompts)],
        }  # fmt: skip

        def write(folder: Path) -> dict[str, Any]:
            check_device(workflow.config.run.device)
            split, writer = workflow.loaded_split, QueryWriter(*self.model.module(), self.settings)
            titles = split.dataset.titles(range(split.train.n_items))
            run.log("a language model learns to write searches: on a CPU that takes minutes")
            log = writer.fit(split.train, titles, valid=split.valid, run=run.at(folder / "training"))
            write_arrays(folder / STATE, writer.state())
            (folder / "training" / "checkpoint.safetensors").unlink(missing_ok=True)
            return {
                "best": dict(log.best), "best_epoch": log.best_epoch, "rows": [dict(row) for row in log.rows],
                "fit_wall_s": log.wall_s, "fit_cpu_s": log.cpu_s, "n_parameters": log.n_parameters,
            }  # fmt: skip

        name = f"{workflow.config.data.source}-{workflow.config.llm.model}"
        return workflow.store.build(
            "query-writer", name, config=config, parents=[workflow.split()], write=write, resumable=True
        )

    @cached_property
    def writer(self) -> QueryWriter:
        """The fine-tuned writer."""
        state = read_arrays(self.fitted().path / STATE)
        return QueryWriter(*self.model.module(), self.settings).restore(state)

    @cached_property
    def ranker(self) -> QueryRanker:
        """What ranks by the searches that are written for a query's histories."""
        split = self.workflow.loaded_split
        prior = POPULARITY * np.log(split.train.item_counts + 0.5)
        return QueryRanker(ItemSearch(split.dataset.item_table, SEARCH), self.writer.ask, prior.astype(np.float32))

    def of(self, user_id: str | None, liked: Sequence[str] = ()) -> Searched:
        """Return the searches for a user by the train history, or for somebody new by what they like, oldest first.

        Raises:
            DataError: no such user or item.
        """
        catalogue, train = Catalogue(self.workflow.dataset), self.workflow.loaded_split.train
        return self.searched(catalogue.history(user_id, liked, train))

    def searched(self, history: Sequence[int], each: int = 3) -> Searched:
        """Return the searches for somebody with this history, and the ``each`` new items that a search brings first."""
        data, ranker = self.workflow.dataset, self.ranker
        (queries,) = self.writer.queries(Histories.of([history], len(data.items)))
        found = []
        for query in queries:
            items = ranker.search.found(query, ranker.prior)
            fresh = items[~np.isin(items, history)][:each]
            found.append((query, tuple(clean_title(title) for title in data.titles(fresh))))
        return Searched(tuple(found))
