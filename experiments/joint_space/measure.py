"""Joint space of posters and plots: every setting is compared on validation, the best one measured once on test.

python experiments/joint_space/measure.py            # writes results.json beside this file
RECSYS_DATA=<folder of data sets> …                  # holds movielens-latest-small and movielens-posters
"""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from recsys.core.artifact import commit
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import TEST, TRAIN, VALID, ItemFeatures
from recsys.items.joint import JointSettings, JointSpace, deal
from recsys.items.retrieval import pair_figures
from recsys.runconfig import read_config
from recsys.searching import encoded_features
from recsys.workflow import Workflow

HERE = Path(__file__).parent
CONFIG = HERE.parent / "latest_small_random" / "config.toml"
TRIALS: list[dict[str, Any]] = [{}, {"dropout": 0.5}, {"learning_rate": 3e-3}]


class CCA:
    """Regularised linear canonical correlation (Hotelling 1936; Vinod 1976), in closed form: the baseline.

    Args:
        ridge: added to both covariances of standardised inputs.
        dim: how many directions are kept.
        power: a direction counts with its correlation to this power.
    """

    def __init__(self, ridge: float, dim: int, power: float = 1.0) -> None:
        self.ridge, self.dim, self.power = ridge, dim, power

    def fit(self, text: np.ndarray, image: np.ndarray) -> CCA:
        views = {"text": text, "image": image}
        self.mean = {name: x.mean(0) for name, x in views.items()}
        self.scale = {name: 1 / np.maximum(x.std(0), 1e-6) for name, x in views.items()}
        z = {name: (x - self.mean[name]) * self.scale[name] for name, x in views.items()}
        white = {name: self._whitener(x) for name, x in z.items()}
        cross = white["text"].T @ (z["text"].T @ z["image"] / len(text)) @ white["image"]
        left, strength, right = np.linalg.svd(cross, full_matrices=False)
        weight = strength[: self.dim] ** (self.power / 2)
        self.maps = {
            "text": white["text"] @ left[:, : self.dim] * weight,
            "image": white["image"] @ right[: self.dim].T * weight,
        }
        return self

    def _whitener(self, z: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh(z.T @ z / len(z) + self.ridge * np.eye(z.shape[1]))
        return vectors / np.sqrt(values)

    def vectors(self, name: str, x: np.ndarray) -> np.ndarray:
        y = (x - self.mean[name]) * self.scale[name] @ self.maps[name]
        return y / np.linalg.norm(y, axis=1, keepdims=True)

    def measure(self, text: np.ndarray, image: np.ndarray) -> dict[str, dict[str, float]]:
        scores = self.vectors("text", text) @ self.vectors("image", image).T
        return {"text_to_image": pair_figures(scores), "image_to_text": pair_figures(scores.T)}


def mean_of(figures: dict[str, dict[str, float]], name: str) -> float:
    """Return the mean of both directions."""
    return float(np.mean([one[name] for one in figures.values()]))


def pairs(features: ItemFeatures, part: np.ndarray, which: int) -> tuple[np.ndarray, np.ndarray]:
    """Return text and image rows of a part."""
    return tuple(features[name][part == which] for name in ("text", "image"))


def try_cca(features: ItemFeatures, part: np.ndarray) -> tuple[list[dict[str, Any]], CCA]:
    """Return all trials and the best on validation."""
    train, valid = pairs(features, part, TRAIN), pairs(features, part, VALID)
    trials, best = [], None
    for ridge in (1.0, 3.0, 10.0):
        for dim, power in ((256, 1.0), (256, 2.0)):
            model = CCA(ridge, dim, power).fit(*train)
            figures = model.measure(*valid)
            trials.append({"ridge": ridge, "dim": dim, "power": power, **{m: mean_of(figures, m) for m in SHOWN}})
            if best is None or trials[-1]["mrr"] > max(row["mrr"] for row in trials[:-1]):
                best = model
            print("cca", trials[-1], flush=True)
    return trials, best


SHOWN = ("mrr", "recall@1", "recall@10", "median_rank")


def try_heads(features: ItemFeatures, run: Run) -> tuple[list[dict[str, Any]], JointSpace]:
    """Return all trials and the best on validation."""
    trials, best = [], None
    for changes in TRIALS:
        space = JointSpace(JointSettings(**changes))
        log = space.fit(features, run=run)
        row = {"changes": changes, "best_epoch": log.best_epoch, "cpu_s": round(log.cpu_s, 1), **log.best}
        if best is None or row["mrr"] > max(trial["mrr"] for trial in trials):
            best = space
        trials.append(row)
        print("heads", row, flush=True)
    return trials, best


def shuffled(features: ItemFeatures, run: Run) -> ItemFeatures:
    """Give every item with both another one's picture: nothing is left to learn."""
    rows = np.flatnonzero(features.present("text") & features.present("image"))
    image = features["image"].copy()
    image[rows] = image[run.rng("shuffle").permutation(rows)]
    return ItemFeatures({"text": features["text"], "image": image})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifacts", default="data/artifacts")
    data = Path(os.environ["RECSYS_DATA"])
    config = read_config(
        CONFIG, (f"data.raw={data / 'movielens-latest-small'}", f"run.artifacts={parser.parse_args().artifacts}")
    )
    workflow = Workflow(config)
    features, run = encoded_features(workflow), workflow.run
    part = deal(features, run)
    with stopwatch() as times:
        cca_trials, cca = try_cca(features, part)
        trials, space = try_heads(features, run)
        mixed = shuffled(features, run)
        chance = JointSpace(space.settings)
        chance.fit(mixed, run=run)
    sizes = {name: int((part == which).sum()) for name, which in (("train", TRAIN), ("valid", VALID), ("test", TEST))}
    closed = {"ridge": cca.ridge, "dim": cca.dim, "power": cca.power}
    result = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}", "commit": commit(), "cpu_s": round(times["cpu_s"], 1),
        "pairs": sizes,
        "validation": {"heads": trials, "cca": cca_trials},
        "chosen": {"heads": space.settings.model_dump(), "cca": closed},
        "test": {
            "heads": space.measure(features), "cca": cca.measure(*pairs(features, part, TEST)),
            "heads, pictures shuffled": chance.measure(mixed),
        },
    }  # fmt: skip
    (HERE / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["test"], indent=1))


if __name__ == "__main__":
    main()
