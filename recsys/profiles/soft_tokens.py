"""Soft tokens: a user as a few input embeddings of a frozen language model.

The tokens and their learned prefix follow PMG (Shen et al., WWW 2024), RA-Rec (2024) and CoLLM (Zhang et al., TKDE
2025); those learn from pictures or answers, these from likelihoods of titles. They begin where the model's likelihoods,
to first order, tell users' next titles best (``first_order``), and are then learned with the model in the loop: InfoNCE
over the matrix of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from recsys.core.artifact import read_arrays, write_arrays
from recsys.core.errors import DataError
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import FitLog, Histories, Interactions, ItemFeatures
from recsys.profiles.first_order import Slopes, regress
from recsys.profiles.likelihood import TitleLikelihood
from recsys.profiles.preference import (
    Examples,
    first_held_out,
    last_steps,
    matched_batches,
    popularity_matched,
    wins,
)
from recsys.profiles.projector import Projector, SoftTokenSettings
from recsys.profiles.user_vectors import UserSpace
from recsys.rankers.training import fit_module

SLOPES = "slopes.safetensors"  # of titles, kept beside a checkpoint


class SoftTokens:
    """Users as tokens of a language model, by their history alone: somebody never seen in training is no exception.

    Args:
        titles: how likely the frozen model finds the items' titles; made with this class's ``prompt`` and
            ``title_tokens`` (``likelihood`` does so).
        settings: see there.
    """

    Settings = SoftTokenSettings

    def __init__(self, titles: TitleLikelihood, settings: SoftTokenSettings | None = None) -> None:
        self.titles, self.settings = titles, settings or SoftTokenSettings()
        self.space: UserSpace | None = None
        self.projector: Projector | None = None

    @classmethod
    def likelihood(
        cls, model: Any, tokenizer: Any, titles: list[str], settings: SoftTokenSettings | None = None
    ) -> TitleLikelihood:
        """Return the likelihoods that these settings ask for."""
        chosen = settings or SoftTokenSettings()
        return TitleLikelihood(model, tokenizer, titles, prompt=chosen.prompt, longest=chosen.title_tokens)

    def fit(
        self,
        train: Interactions,
        features: ItemFeatures,
        *,
        valid: Interactions | None,
        vectors: np.ndarray | None = None,
        run: Run,
    ) -> FitLog:
        """Learn from train's last steps; the validation part chooses the epoch, and a checkpoint is continued.

        Args:
            train: what is learned from.
            features: item vectors.
            valid: the validation part; none: all epochs are made.
            vectors: item vectors of a ranker with embeddings; none: factors of train.
            run: seed, device, folder of the checkpoint.

        Raises:
            DataError: fewer than two users with two items.
        """
        chosen = self.settings
        examples = self._examples(train, run)
        self.space = UserSpace.of(train, features, dim=chosen.dim, lately=chosen.lately, vectors=vectors, run=run)
        self.projector = Projector(self.space.dim, chosen, self._start(examples, run))
        self.titles.model.to(run.torch_device())
        self.projector.to(run.torch_device())
        validate = self._validation(train, valid, run) if valid is not None and len(valid) else None
        with stopwatch() as times:
            row = self._begin(train, examples, validate, run)
        if not chosen.epochs:
            return FitLog([row], 0, {name: row[name] for name in ("fit", "wins") if name in row}, **times)
        start = {name: value.clone() for name, value in self.projector.state_dict().items()}
        self.titles.plain(np.unique(examples.items), start["start"])  # at once: rounding must not depend on a kill
        log = fit_module(
            self.projector, settings=chosen, run=run, title="soft tokens", data=train.digest,
            batches=lambda epoch: self._batches(train, examples, run.rng("soft tokens", epoch)),
            loss=lambda rows: self.loss(train, examples.take(rows)),
            validate=validate, metric="fit",
        )  # fmt: skip
        if validate is not None and row["fit"] >= log.best["fit"]:  # what was learned in the loop did not help
            self.projector.load_state_dict(start)
            log = replace(log, best={name: row[name] for name in log.best}, best_epoch=0)
        return replace(
            log, rows=[row, *log.rows], wall_s=log.wall_s + times["wall_s"], cpu_s=log.cpu_s + times["cpu_s"]
        )

    def _examples(self, train: Interactions, run: Run) -> Examples:
        examples = last_steps(train, self.settings.examples)
        if len(np.unique(examples.users)) < 2:
            raise DataError("soft tokens", "fewer than two users took two items", "There is nothing to learn from.")
        drawn = run.rng("soft tokens", "examples").permutation(len(examples))[: self.settings.most_examples]
        return examples.take(np.sort(drawn))

    def _begin(self, train: Interactions, examples: Examples, validate: Validation | None, run: Run) -> dict[str, Any]:
        """Set the projector's start, the scale by validation; returns a row for the log."""
        chosen, users = self.settings, self.space(examples.histories)
        slopes = Slopes.of(*self._slopes(train, run), chosen.evening)
        weights = regress(
            users, examples.items, slopes, train.item_counts, steps=chosen.steps, rate=chosen.rate,
            decay=chosen.decay, check=validate and validate.first_order, run=run,
        )  # fmt: skip
        vectors, rows = torch.from_numpy(users), []
        scales = chosen.scales if validate is not None else chosen.scales[:1]
        for scale in scales:
            self.projector.begin(weights, vectors, scale, slopes.unit)
            rows.append({"epoch": 0, "scale": scale, **(validate() if validate is not None else {})})
        best = max(rows, key=lambda row: row.get("fit", 0.0))
        self.projector.begin(weights, vectors, best["scale"], slopes.unit)
        return {**best, "tried": rows}

    def _slopes(self, train: Interactions, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """Return the most taken items and their titles' slopes at the start; a run with a folder keeps them there."""
        counts = train.item_counts
        items = np.sort(np.argsort(-counts, kind="stable")[: min(self.settings.titles, int((counts > 0).sum()))])
        start, path = self.projector.start, run.folder and run.folder / SLOPES
        about = {"items": items, "start": start.cpu().numpy()}
        if path and path.is_file():
            kept = read_arrays(path)
            if all(np.array_equal(kept[name], value) for name, value in about.items()):
                return items, kept["slopes"]
        found = self.titles.slopes(start, items, run)[:, self.settings.prefix :]
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_arrays(path, {**about, "slopes": np.ascontiguousarray(found)})
        return items, found

    def _start(self, examples: Examples, run: Run) -> torch.Tensor:
        words = self.titles.words(np.unique(examples.items)).float().cpu()
        drawn = run.rng("soft tokens", "start").integers(len(words), size=self.settings.prefix + self.settings.tokens)
        return words[torch.from_numpy(drawn)]

    def _batches(self, train: Interactions, examples: Examples, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield rows of examples, batches in which no user occurs twice, as many as a pass may read."""
        chosen, budget = self.settings, self.settings.epoch_tokens
        order = rng.permutation(len(examples))
        each = np.sort(order[np.unique(examples.users[order], return_index=True)[1]])  # one example a user
        items = examples.items[each]
        for rows in matched_batches(train.item_counts, items, chosen.batch_size, rng):
            titles = int(self.titles.lengths[items[rows]].sum())
            cost = len(rows) * (chosen.prefix + chosen.tokens + len(self.titles.prompt) + titles)
            if cost > budget and budget < chosen.epoch_tokens:
                return
            budget -= cost
            yield each[rows]

    def loss(self, train: Interactions, batch: Examples) -> torch.Tensor:
        """Return the InfoNCE of a batch: its titles' likelihoods under its users' tokens are one matrix.

        A row puts a user's next title against the others' (as popular), a column puts a title under the own tokens
        against the same one under other users'. What a user took at any time in train is no counterexample.
        """
        chosen, n = self.settings, len(batch)
        matrix = self.preference(batch.histories, np.tile(batch.items, (n, 1)))  # [n users, n titles]
        known = train.matrix[batch.users][:, batch.items].toarray() > 0
        np.fill_diagonal(known, False)
        logits = (matrix / self.projector.temperature).masked_fill(
            torch.from_numpy(known).to(matrix.device), -torch.inf
        )
        own = torch.arange(n, device=matrix.device)
        total = logits.new_zeros(())
        if chosen.over_titles:
            total = total + chosen.over_titles * cross_entropy(logits, own)
        if chosen.over_users:
            total = total + chosen.over_users * cross_entropy(logits.T, own)
        return total

    def _validation(self, train: Interactions, valid: Interactions, run: Run) -> Validation | None:
        chosen, rng = self.settings, run.rng("soft tokens", "validation")
        examples = first_held_out(train, valid)
        if not len(examples):
            return None
        known = Interactions(
            np.concatenate([train.user_idx, valid.user_idx]), np.concatenate([train.item_idx, valid.item_idx]),
            train.n_users, train.n_items,
        )  # fmt: skip
        others = popularity_matched(train, examples, chosen.valid_others, known, rng)
        return Validation(self, examples, np.column_stack([examples.items, others]), rng.permutation(len(examples)))

    # -- what it gives ---------------------------------------------------------------------------------------

    def tokens(self, histories: Histories) -> torch.Tensor:
        """Return what stands for the users of these histories, float32 ``[n, prefix + tokens, width]``."""
        device = next(self.projector.parameters()).device
        return self.projector(torch.from_numpy(self.space(histories)).to(device))

    def preference(self, histories: Histories, items: np.ndarray) -> torch.Tensor:
        """Return how much each user prefers candidates, ``[n, c]``, with gradients.

        That is what the own tokens add to a title's log-likelihood a token under the tokens of nobody in particular.
        """
        found = self.titles.after(self.tokens(histories), items)
        return found - torch.from_numpy(self.titles.plain(items, self.projector.start)).to(found)

    def scores(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        """Return how much each user prefers candidates ``[n, c]``, float32, without gradients."""
        with torch.inference_mode():
            found = self.titles.scores(self.tokens(histories), items)
        return found - self.titles.plain(items, self.projector.start)

    def state(self) -> dict[str, np.ndarray]:
        """Return what ``restore`` needs besides the language model, as plain arrays."""
        learned = {f"projector.{key}": value.cpu().numpy() for key, value in self.projector.state_dict().items()}
        return {**self.space.state(), **learned}

    def restore(self, state: Mapping[str, np.ndarray]) -> SoftTokens:
        """Become the one that ``state`` came from, over the same language model and settings."""
        self.space = UserSpace.restored(state)
        learned = {
            key.removeprefix("projector."): torch.from_numpy(np.array(value))
            for key, value in state.items()
            if key.startswith("projector.")
        }
        self.projector = Projector(self.space.dim, self.settings, learned["start"])
        self.projector.load_state_dict(learned)
        self.projector.eval()
        return self


@dataclass(frozen=True)
class Validation:
    """How well next items of the validation part are told from others as popular.

    Attributes:
        soft: what is validated.
        examples: all users of the part.
        candidates: next items in the first column, ``[n, 1 + others]``.
        order: of the users; the first ``valid_users`` are read by the language model.
    """

    soft: SoftTokens
    examples: Examples
    candidates: np.ndarray
    order: np.ndarray

    def __call__(self) -> dict[str, float]:
        """Return ``fit``, the mean log-probability of the next item, and ``wins``, the share of others beaten."""
        rows = np.sort(self.order[: self.soft.settings.valid_users])
        scores = self.soft.scores(self.examples.histories.take(rows), self.candidates[rows])
        logits = torch.from_numpy(scores / float(self.soft.projector.temperature))
        return {"fit": float(logits.log_softmax(1)[:, 0].mean()), "wins": float(wins(scores).mean())}

    def first_order(self, scores: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
        """Return the wins of scores by user vectors, which take no language model, over all users."""
        return float(wins(scores(self._vectors, self.candidates)).mean())

    @cached_property
    def _vectors(self) -> np.ndarray:
        return self.soft.space(self.examples.histories)
