"""Trains the embedded generator on real posters, step by step; killed, it goes on where it was.

    RECSYS_DATA=<folder of data sets> python experiments/poster_generator/train.py autoencoder
    RECSYS_DATA=<folder of data sets> python experiments/poster_generator/train.py flow --set steps=4000
    RECSYS_DATA=<folder of data sets> python experiments/poster_generator/train.py export
    RECSYS_DATA=<folder of data sets> python experiments/poster_generator/train.py sheet

Everything but the exported weights goes to data/artifacts/visuals/poster_generator. More steps go on with a finished
training; ``--set cooldown=500`` lets the last of them become small.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from material import Material, Posters

from recsys.core.artifact import commit, versions, write_json
from recsys.core.config import Settings, apply_overrides, make_settings, read_toml
from recsys.core.fingerprint import fingerprint
from recsys.core.runtime import Run
from recsys.runconfig import read_config
from recsys.visuals.autoencoder import Autoencoder, AutoencoderSettings
from recsys.visuals.conditions import CONDITIONS
from recsys.visuals.examples import Examples, ExampleSettings
from recsys.visuals.flow import FlowSettings, flow_loss
from recsys.visuals.perceptual import Perceptual
from recsys.visuals.reconstruction import ReconstructionSettings, quality, train_autoencoder
from recsys.visuals.shipped import AUTOENCODER, FLOW, FOLDER, load_weights, read_weights, save_weights
from recsys.visuals.taste import TasteSpace
from recsys.visuals.training import StepSettings, Training
from recsys.visuals.transformer import FlowTransformer, TransformerSettings
from recsys.workflow import Workflow

HERE = Path(__file__).parent
SEED = 0
TYPICAL = 4096  # examples that the mean user vector is of
VALIDATED, MEASURED = 48, 200  # posters that the autoencoder's log and its final figures are of
TIMES = (0.2, 0.4, 0.6, 0.8)  # that the flow is validated at
TRAINED_ON = "posters of MovieLens latest-small (research use; copyright of their studios)"


class Experiment:
    """The stages, each resting on those before.

    Args:
        config: the settings by section.
        threads: that torch uses.
    """

    def __init__(self, config: Mapping[str, Any], threads: int) -> None:
        torch.set_num_threads(threads)
        self.config, self.data = config, Path(os.environ["RECSYS_DATA"]).resolve()
        raw = f"data.raw={json.dumps(str(self.data / 'movielens-latest-small'))}"
        self.workflow = Workflow(read_config(HERE / "run.toml", (raw,)))
        self.folder = self.workflow.store.root / "visuals" / "poster_generator"
        self.folder.mkdir(parents=True, exist_ok=True)

    def settings(self, section: str, kind: type[Settings]) -> Any:
        return make_settings(kind, self.config.get(section, {}), section)

    @cached_property
    def posters(self) -> Posters:
        return Posters(self.data / "movielens-posters" / "posters", self.folder / "all.npy")

    def autoencoder(self) -> None:
        """Train the autoencoder, measure it on held-out posters, and keep it as it will be shipped."""
        chosen, sizes = (
            self.settings("reconstruction", ReconstructionSettings),
            self.settings("autoencoder", AutoencoderSettings),
        )
        torch.manual_seed(SEED)
        learned = self.posters.of("train")
        training = train_autoencoder(
            Autoencoder(sizes), learned, self.posters.of("validation", VALIDATED), chosen,
            run=Run(SEED, folder=self.folder / "autoencoder"),
        )  # fmt: skip
        facts = self._facts(training, chosen) | {"posters": len(learned)}
        save_weights(self.folder / AUTOENCODER, training.average, facts)
        model = read_weights(self.folder / AUTOENCODER, Autoencoder)[0]
        figures = dict(quality(model, self.posters.of("held_out", MEASURED), Perceptual()))
        print(json.dumps(figures))
        self._note("autoencoder", {"log": training.rows, "held_out": figures, **facts})

    @cached_property
    def material(self) -> Material:
        return Material(self.workflow, self.posters, self.folder)

    @cached_property
    def examples(self) -> tuple[Examples, Examples]:
        model, about, _ = read_weights(self.folder / AUTOENCODER, Autoencoder)
        return self.material.examples(model, about["id"], self.settings("examples", ExampleSettings))

    def flow(self) -> Training:
        """Train the transformer up to the steps that are asked for."""
        training = self._flow()
        training.fit()
        self._note("flow", {"log": training.rows, **self._facts(training, training.settings)})
        return training

    def _flow(self) -> Training:
        chosen, how = self.settings("training", StepSettings), self.settings("flow", FlowSettings)
        learned, validation = self.examples
        run = Run(SEED, folder=self.folder / self.config.get("name", "flow"))

        def loss(model: FlowTransformer, step: int) -> torch.Tensor:
            latents, given = learned.batch(chosen.batch_size, run.rng("examples", step))
            return flow_loss(model, latents, given, how, torch.Generator().manual_seed(run.key("flow", step)))

        torch.manual_seed(SEED)
        model = FlowTransformer(self.settings("transformer", TransformerSettings))
        return Training(
            model, chosen, loss=loss, validate=validation_of(validation, run), run=run, title="flow",
            data=fingerprint([learned.shelf.ids, str(learned.shelf.latents[:8].sum(dtype=np.float64))]),
        )  # fmt: skip

    def export(self) -> None:
        """Put autoencoder and averaged transformer, as they are now, into the package."""
        training = self._flow()
        if not training.resume():
            raise SystemExit("there is no checkpoint: train first")
        _, about, _ = read_weights(self.folder / AUTOENCODER, Autoencoder)
        facts = self._facts(training, training.settings) | {
            "autoencoder": about["id"],
            "posters": len(self.examples[0].targets),
        }
        facts |= {
            "flow": self.settings("flow", FlowSettings).model_dump(),
            "examples": self.examples[0].settings.model_dump(),
        }
        FOLDER.mkdir(exist_ok=True)
        if not (FOLDER / AUTOENCODER).is_file():
            (FOLDER / AUTOENCODER).write_bytes((self.folder / AUTOENCODER).read_bytes())
        save_weights(FOLDER / FLOW, training.average, facts, self.space().state())
        load_weights()
        print(facts)

    def space(self) -> TasteSpace:
        """Return the space of user vectors with the mean one, over examples of training."""
        learned = self.examples[0]
        _, given = learned.batch(TYPICAL, Run(SEED).rng("typical"))
        known = given.soft[given.on[:, CONDITIONS.index("soft")], 0]  # [n, dim]
        return TasteSpace({**learned.space.state(), "typical": known.mean(dim=0).numpy()})

    def sheet(self) -> None:
        """Draw sheets of samples beside the checkpoints: they hold real posters and stay there."""
        from sheets import draw

        draw(self)

    def soft(self) -> None:
        """Train PMG's soft half through the flow, which stays as it is."""
        from soft import SoftStage

        SoftStage(self, SEED, TIMES)()

    def prior(self) -> None:
        """Train the prior of picture embeddings, measure it on validation items, and ship it."""
        from prior import PriorStage

        PriorStage(self, SEED)()

    def _facts(self, training: Training, settings: StepSettings) -> dict[str, Any]:
        facts = {
            "trained_on": TRAINED_ON, "steps": training.step, "cpu_s": round(training.cpu_s or training.spent()),
            "commit": commit(), "training": settings.model_dump(), "seed": SEED,
            "last": training.rows[-1] if training.rows else {},
        }  # fmt: skip
        return facts | {"id": fingerprint([training.title, facts])[:12]}

    def _note(self, name: str, value: Mapping[str, Any]) -> None:
        """Add to results.json."""
        path = HERE / "results.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        write_json(path, {**before, "versions": versions(), name: value})


def validation_of(examples: Examples, run: Run) -> Any:
    """Return the flow's validation: posters, users, noise and times are the same each time.

    ``full``: all conditions; ``target``: without the taste; ``taste``: without the target; ``another``: the same with
    the taste of somebody else; ``none``: without any.
    """
    rows = examples.targets[run.rng("validation").permutation(len(examples.targets))[:VALIDATED]]
    latents, given = examples.of(rows, run.rng("validation", "examples"))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(run.key("validation", "noise")))

    def validate(model: FlowTransformer) -> dict[str, float]:
        found = {}
        kinds = {"full": given, "target": given.without(["taste"]), "taste": given.without(["target"])}
        kinds |= {"another": given.take(list(range(-1, len(given) - 1))).without(["target"])}
        for name, kept in (kinds | {"none": given.without(["all"])}).items():
            errors = [error_at(model, latents, noise, time, kept) for time in TIMES]
            found[name] = float(np.mean(errors))
        return found

    return validate


def error_at(model: FlowTransformer, latents: torch.Tensor, noise: torch.Tensor, time: float, given: Any) -> float:
    """Return the mean squared error of the velocity at one time."""
    x = (1 - time) * latents + time * noise
    return float((model(x, torch.full((len(x),), time), given) - (noise - latents)).square().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["autoencoder", "flow", "export", "sheet", "soft", "prior"])
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    config = apply_overrides(read_toml(HERE / "config.toml"), chosen.set)
    getattr(Experiment(config, chosen.threads), chosen.stage)()


if __name__ == "__main__":
    main()
