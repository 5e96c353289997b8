"""The stage ``soft``: PMG's soft half, learned through a flow that stays as it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from recsys.core.fingerprint import fingerprint
from recsys.core.runtime import Run, peak_memory_mb
from recsys.profiles.llm import make_language_model
from recsys.visuals.autoencoder import Autoencoder
from recsys.visuals.examples import Examples, ExampleSettings
from recsys.visuals.shipped import AUTOENCODER, FOLDER, load_weights, read_weights, save_weights
from recsys.visuals.soft_half import SoftHalf, SoftHalfSettings, Told, Trunk
from recsys.visuals.soft_reading import SOFT_HALF
from recsys.visuals.soft_training import Comparison, Named, SoftTrainingSettings, soft_loss
from recsys.visuals.training import Training
from recsys.visuals.transformer import FlowTransformer

MODEL = "smollm"
STARTED, VALIDATED, MEASURED = 64, 48, 128  # pairs: states are measured on, the log and the final figures are of
WITHOUT = {"alone": ("target", "keywords", "history"), "with_target": ("keywords", "history"), "with_all": ()}


class SoftStage:
    """Learns the soft half and measures what it adds.

    Args:
        experiment: the stages before.
        seed: of all that is drawn.
        times: that errors are averaged over.
    """

    def __init__(self, experiment: Any, seed: int, times: Sequence[float]) -> None:
        self.experiment, self.seed, self.times = experiment, seed, times
        self.settings: SoftTrainingSettings = experiment.settings("soft", SoftTrainingSettings)
        self.sizes: SoftHalfSettings = experiment.settings("soft_half", SoftHalfSettings)
        self.run = Run(self.seed, folder=experiment.folder / "soft")
        self.model = make_language_model(MODEL, {"artifacts": experiment.workflow.store.root})
        self.trunk = Trunk(*self.model.module(), layers=self.sizes.layers)
        self.flow, self.about = self._flow()
        encoder, about, _ = read_weights(experiment.folder / AUTOENCODER, Autoencoder)
        chosen = experiment.settings("examples", ExampleSettings).model_copy(update={"alone": 0.0})
        self.learned, self.validation = experiment.material.examples(encoder, about["id"], chosen)
        self.named: Named = experiment.material.named(about["id"])
        if len(self.named.words) != len(self.learned.shelf.vocabulary):
            raise SystemExit(f"the words beside the shelf are of another one: remove {experiment.folder}/shelf-*")

    def __call__(self) -> None:
        """Train, measure, write the weights beside the checkpoint and the figures to results.json."""
        training = self._training()
        started = time.process_time()
        training.fit()
        figures = self._measured(training.average)
        facts = self.experiment._facts(training, self.settings)
        facts |= {"flow": self.about, "language_model": self.model.identity()}
        save_weights(self.run.folder / SOFT_HALF, training.average, facts)
        if self.settings.flow_from == "package":
            save_weights(FOLDER / SOFT_HALF, training.average, facts)
        costs = {"with_measuring_s": round(time.process_time() - started), "peak_mb": round(peak_memory_mb())}
        told = {"log": training.rows, "validation": figures, "sizes": self.sizes.model_dump(), **facts, **costs}
        self.experiment._note("soft", told)

    def _flow(self) -> tuple[FlowTransformer, dict[str, Any]]:
        """Return the flow in evaluation mode, frozen, and its id and steps."""
        if self.settings.flow_from == "package":
            weights = load_weights()
            return weights.flow, {name: weights.facts["flow"].get(name) for name in ("id", "steps")}
        training = self.experiment._flow()
        if not training.resume():
            raise SystemExit("there is no checkpoint of the flow: train it first, or take soft.flow_from=package")
        return training.average, {"id": "", "steps": training.step}

    def _training(self) -> Training:
        torch.manual_seed(self.seed)
        half = SoftHalf(self.sizes)
        half.begin(self.trunk, self._batch(self.learned, STARTED, "start")[2])

        def loss(module: SoftHalf, step: int) -> torch.Tensor:
            batch = self._batch(self.learned, self.settings.batch_size, "examples", step)
            noise = torch.Generator().manual_seed(self.run.key("soft", "noise", step))
            return soft_loss(module, self.trunk, self.flow, batch, self.settings, noise)

        seen = [self.about, self.learned.shelf.ids, self.sizes.model_dump(), self.model.identity()]
        return Training(
            half, self.settings, loss=loss, validate=self._comparison(VALIDATED, "alone"), run=self.run, title="soft",
            data=fingerprint(seen),
        )  # fmt: skip

    def _batch(self, examples: Examples, n: int, *name: object) -> tuple[torch.Tensor, Any, Told]:
        """Return latents, conditions and pairs, all of somebody; the same for the same name."""
        rng, liked = self.run.rng("soft", *name), np.array(sorted(examples.fans))
        latents, given, drawn = examples.drawn(liked[rng.integers(len(liked), size=n)], rng)
        return latents, given, self.named.told(examples, given, drawn, self.sizes.items)

    def _comparison(self, n: int, name: str) -> Comparison:
        batch, key = self._batch(self.validation, n, "validation"), self.run.key("soft", "validation", "noise")
        return Comparison(self.flow, self.trunk, batch, times=self.times, key=key, without=WITHOUT[name])

    def _measured(self, half: SoftHalf) -> dict[str, Any]:
        """Return errors and gains: the user alone, with the target, and with all other conditions."""
        found = {}
        for name in WITHOUT:
            errors = self._comparison(MEASURED, name).errors(half)
            means = {kind: float(each.mean()) for kind, each in errors.items()}
            found[name] = {"pictures": len(errors["llm"]), "errors": means, "gains": Comparison.gains(errors)}
            self.run.log(f"{name}: {found[name]}")
        return found
