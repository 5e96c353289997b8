"""What a language model prefers for the users of a run when it reads each as soft tokens."""

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
from recsys.core.protocols import Scorer
from recsys.core.values import Histories
from recsys.profiles import first_order
from recsys.profiles.likelihood import TitleLikelihood
from recsys.profiles.naming import clean_title
from recsys.profiles.projector import Projector, SoftTokenSettings
from recsys.profiles.rerank import SoftReranker
from recsys.profiles.soft_tokens import SLOPES, SoftTokens
from recsys.profiles.user_vectors import UserSpace
from recsys.runconfig import check_device
from recsys.serving.catalogue import Catalogue
from recsys.wording import configured_model
from recsys.workflow import Workflow

STATE = "soft_tokens.safetensors"
AMONG, SHOWN = 50, 5  # well-known items that the model chooses among; titles that are told


@dataclass(frozen=True)
class Preferred:
    """Titles that the model prefers, the most preferred first, each with the log-likelihood a token it gains."""

    titles: tuple[tuple[str, float], ...]

    def to_text(self) -> str:
        """Return one line."""
        told = "; ".join(title for title, _ in self.titles)
        return f"of {AMONG} well-known titles the language model, reading the user's soft tokens, prefers: {told}"

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain values."""
        return [{"title": title, "gain": gain} for title, gain in self.titles]


class Preferring:
    """Makes and opens the soft tokens of a run.

    Args:
        workflow: the run; its section ``llm`` names the language model.
        settings: plain values; by default the section ``llm.soft_tokens``.

    Raises:
        ConfigError: no such setting, or no language model whose embeddings are at hand.
    """

    def __init__(self, workflow: Workflow, settings: Mapping[str, Any] | None = None) -> None:
        self.workflow = workflow
        given = workflow.config.llm.soft_tokens if settings is None else settings
        self.settings: SoftTokenSettings = make_settings(SoftTokenSettings, given, "llm.soft_tokens")
        name = workflow.config.llm.model
        self.model = None if name == "none" else configured_model(workflow)
        if not hasattr(self.model, "module"):
            cause = f"llm.model {name!r} is none that reads tokens of our own"
            raise ConfigError("soft tokens", cause, "Set llm.model to smollm, or to causal and a model's folder.")

    def fitted(self) -> Artifact:
        """What turns users into tokens, learned from train; an interrupted run goes on where it was."""
        workflow, run = self.workflow, self.workflow.run
        code = [source_key(one) for one in (SoftTokens, Projector, TitleLikelihood, UserSpace, first_order.Slopes)]
        config = {
            "settings": self.settings.model_dump(mode="json"), "seed": run.seed, "model": self.model.identity(),
            "code": code,
        }  # fmt: skip

        def write(folder: Path) -> dict[str, Any]:
            check_device(workflow.config.run.device)
            split, soft = workflow.loaded_split, self._blank()
            run.log("a language model learns to read users as tokens: on a CPU that takes minutes")
            at = run.at(folder / "training")
            log = soft.fit(split.train, workflow.features(), valid=split.valid, run=at)
            write_arrays(folder / STATE, soft.state())
            for name in ("checkpoint.safetensors", SLOPES):
                (folder / "training" / name).unlink(missing_ok=True)
            return {
                "best": dict(log.best), "best_epoch": log.best_epoch, "rows": [dict(row) for row in log.rows],
                "tokens_read": soft.titles.read, "fit_wall_s": log.wall_s, "fit_cpu_s": log.cpu_s,
            }  # fmt: skip

        name = f"{workflow.config.data.source}-{workflow.config.llm.model}"
        parents = [workflow.split(), *workflow.items().values()]
        return workflow.store.build("soft-tokens", name, config=config, parents=parents, write=write, resumable=True)

    def _blank(self) -> SoftTokens:
        data = self.workflow.dataset
        titles = data.titles(range(len(data.items)))
        return SoftTokens(SoftTokens.likelihood(*self.model.module(), titles, self.settings), self.settings)

    @cached_property
    def soft(self) -> SoftTokens:
        """The learned tokens."""
        return self._blank().restore(read_arrays(self.fitted().path / STATE))

    def reranker(self, base: Scorer, top: int = 20) -> SoftReranker:
        """Return what re-ranks the first ``top`` of a ranker's lists; its weight is still to be ``chosen``."""
        return SoftReranker(base, self.soft, top)

    def of(self, user_id: str | None, liked: Sequence[str] = ()) -> Preferred:
        """Return what the model prefers for a user by the train history, or for somebody new by what they like.

        Raises:
            DataError: no such user or item.
        """
        catalogue, train = Catalogue(self.workflow.dataset), self.workflow.loaded_split.train
        return self.preferred(catalogue.history(user_id, liked, train))

    def preferred(self, history: Sequence[int]) -> Preferred:
        """Return what it prefers of the most taken items that are not in a history, oldest first."""
        order = np.argsort(-self.workflow.loaded_split.train.item_counts, kind="stable")
        items = order[~np.isin(order, history)][:AMONG]
        (gains,) = self.soft.scores(Histories.of([history], len(order)), items[None])
        best = np.argsort(-gains, kind="stable")[:SHOWN]
        titles = self.workflow.dataset.titles(items[best])
        pairs = zip(titles, gains[best], strict=True)
        return Preferred(tuple((clean_title(title), round(float(gain), 6)) for title, gain in pairs))
