"""The stage ``prior``: the prior of picture embeddings, learned on the shelf and shipped beside the generator."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from pydantic import Field

from recsys.core.fingerprint import fingerprint
from recsys.core.runtime import Run
from recsys.evaluation.permutation import swap_test
from recsys.profiles.space import unit_rows
from recsys.visuals.drawing import mean_directions
from recsys.visuals.flow import FlowSettings
from recsys.visuals.likes import Likes
from recsys.visuals.prior import Prior, PriorConditions, PriorSettings, prior_loss
from recsys.visuals.prior_weights import PRIOR, load_prior, save_prior
from recsys.visuals.shipped import FLOW, FOLDER, read_weights
from recsys.visuals.taste import TasteSpace
from recsys.visuals.training import StepSettings, Training
from recsys.visuals.transformer import FlowTransformer


class PriorSteps(StepSettings):
    """How long the prior learns."""

    steps: int = Field(1500, ge=1, description="Steps in all; raise it to go on with a finished run.")
    batch_size: int = Field(256, ge=1, description="Examples a step.")
    cooldown: int = Field(500, ge=0, description="Last steps, in which the step size falls to zero.")
    ema: float = Field(0.995, ge=0, lt=1, description="How much of the average stays at each step, in the long run.")
    drop: float = Field(0.2, ge=0, lt=1, description="How often user and text are left out, each on its own.")
    alone: float = Field(0.1, ge=0, le=1, description="How often an example has no user.")
    known: int = Field(24, ge=1, description="Liked items that a user is known by in one example.")


class PriorStage:
    """Trains, measures on validation items, and ships; users lie in the space of the shipped flow.

    Args:
        experiment: gives settings, examples and folder.
        seed: of everything.
    """

    def __init__(self, experiment: Any, seed: int) -> None:
        self.experiment, self.run = experiment, Run(seed, folder=experiment.folder / "prior")
        self.chosen = experiment.settings("prior_training", PriorSteps)
        self.learned, self.validation = experiment.examples
        shelf = self.shelf = self.learned.shelf
        self.space = TasteSpace(
            {name: x.numpy() for name, x in read_weights(FOLDER / FLOW, FlowTransformer)[2].items()}
        )
        self.seen = np.isfinite(shelf.picture).all(axis=1)
        owners = [np.full(len(items), user) for user, items in self.learned.likes.items()]
        liked = np.concatenate(list(self.learned.likes.values()))  # items of the training part alone
        rows = self.space.rows(shelf.text, shelf.picture)
        self.likes = Likes(np.concatenate(owners), liked, rows, self.chosen.known)
        self.sizes = experiment.settings("prior", PriorSettings)

    def __call__(self) -> None:
        targets = self.learned.targets[self.seen[self.learned.targets]]
        torch.manual_seed(self.run.seed)
        prior = Prior(self.sizes)
        prior.measure(self.shelf.picture[targets])
        places = prior.coordinates(torch.from_numpy(np.nan_to_num(self.shelf.picture)).float())
        how = FlowSettings()

        def loss(model: Prior, step: int) -> torch.Tensor:
            rng = self.run.rng("examples", step)
            rows = targets[rng.integers(len(targets), size=self.chosen.batch_size)]
            given = self._given(self.learned, rows, rng)
            return prior_loss(model, places[rows], given, self.chosen.drop, how, self.run.key("flow", step))

        training = Training(
            prior, self.chosen, loss=loss, validate=self._validation(places, how), run=self.run, title="prior",
            data=fingerprint([self.shelf.ids, str(places.sum(dtype=torch.float64).item())]),
        )  # fmt: skip
        training.fit()
        facts = self.experiment._facts(training, self.chosen) | {"posters": len(targets)}
        save_prior(FOLDER / PRIOR, training.average, facts, self.space)
        found = {"validation": self.measure(load_prior()[0]), "log": training.rows, **facts}
        self.experiment._note("prior", found)
        print(found["validation"])

    def _given(self, examples: Any, rows: np.ndarray, rng: np.random.Generator) -> PriorConditions:
        """Return texts, and somebody who liked each, by others of their items; some have nobody."""
        users = np.full(len(rows), -1)
        for place, row in enumerate(rows.tolist()):
            if row in examples.fans and rng.random() >= self.chosen.alone:
                users[place] = rng.choice(examples.fans[row])
        return PriorConditions.of(self.likes.vectors(users, rows, rng), self.shelf.text[rows])

    def _validation(self, places: torch.Tensor, how: FlowSettings) -> Any:
        rng = self.run.rng("validation")
        rows = self.validation.targets[self.seen[self.validation.targets]]
        given = self._given(self.validation, rows, rng)
        kinds = {
            "full": given, "no_user": given.without("user"), "no_text": given.without("text"),
            "none": given.without("user").without("text"),
        }  # fmt: skip
        seeds = [self.run.key("validation", number) for number in range(4)]

        def validate(model: Prior) -> dict[str, float]:
            errors = {
                name: [float(prior_loss(model, places[rows], one, 0.0, how, seed)) for seed in seeds]
                for name, one in kinds.items()
            }
            return {name: float(np.mean(values)) for name, values in errors.items()}

        return validate

    def measure(self, prior: Prior) -> dict[str, Any]:
        """Return cosines, around the mean picture, of samples to liked pictures that were in no training."""
        pairs: dict[int, list[int]] = {}
        for row in self.validation.targets[self.seen[self.validation.targets]].tolist():
            for user in self.validation.fans.get(row, np.zeros(0, np.int64)).tolist():
                if user in self.learned.likes:
                    pairs.setdefault(user, []).append(row)
        users = np.array(sorted(pairs))
        vectors = self.likes.vectors(users, np.full(len(users), -1), self.run.rng("measure"))
        pictures = unit_rows(self.shelf.picture - prior.mean.numpy())
        liked = np.stack([pictures[pairs[user]].mean(axis=0) for user in users.tolist()])
        found = {"users": len(users), "pictures": sum(map(len, pairs.values()))}
        for name, guidance in (("user x1", 1.0), ("user x3", 3.0)):
            found[name] = self._swapped(mean_directions(prior, vectors, guidance=guidance), liked)
        rows = np.array([pairs[user][0] for user in users.tolist()])
        for name, who, texts in (
            ("text", vectors * 0, self.shelf.text[rows]),
            ("both", vectors, self.shelf.text[rows]),
        ):
            found[f"{name}, to the item's own picture"] = self._swapped(
                mean_directions(prior, who, texts), pictures[rows]
            )
        return found

    def _swapped(self, own: np.ndarray, liked: np.ndarray) -> dict[str, float]:
        return asdict(swap_test(own @ liked.T, self.run.rng("permutations")))
