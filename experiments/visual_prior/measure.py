"""Do sampled pictures find the next item, and are they worth anything beside EASE?

    RECSYS_DATA=<folder of data sets> python experiments/visual_prior/measure.py

The prior is trained once (its epoch chosen on validation); how samples are matched is chosen on validation, too; then
all is measured on test, once: alone, beside EASE in the learned fusion, and by REBECA's permutation test. The control
is the same ranker that is shown another user's history. Paired bootstrap over the test users.
"""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from recsys.core.artifact import commit, versions, write_json
from recsys.core.protocols import Ranker
from recsys.evaluation.evaluator import evaluate, make_validator
from recsys.evaluation.permutation import swap_test
from recsys.evaluation.significance import compare
from recsys.profiles.preference import Another, strangers
from recsys.rankers.store import load_ranker, make_ranker
from recsys.runconfig import read_config
from recsys.visuals.drawing import mean_directions
from recsys.visuals.likes import user_vectors
from recsys.workflow import Workflow

HERE = Path(__file__).parent
METRICS = ("recall@20", "ndcg@20")
GRID = {"guidance": (1.5, 3.0, 6.0), "temperature": (0.05, 0.1, 0.3)}
EASE = {"name": "ease", "regularisation": 200}  # as latest_small_random chose
NEIGHBOURS = (10, 50, 200)
LIKED = 4.0


class Measuring:
    """What is measured, of one split."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow, self.split, self.run = workflow, workflow.loaded_split, workflow.run
        self.features = workflow.features(("text", "image"))
        self.valid = make_validator(self.split, workflow.config.evaluation)

    def fitted(self, config: dict[str, Any]) -> Ranker:
        made = make_ranker(config)
        made.fit(self.split.train, self.features, valid=None, run=self.run)
        return made

    def chosen(self) -> tuple[Any, list[dict[str, Any]]]:
        """Return the ranker with the way of matching that is best on validation, and all that were tried."""
        trained, tried = load_ranker(self.workflow.train().path), []
        for point in itertools.product(*GRID.values()):
            one = self.changed(trained, dict(zip(GRID, point, strict=True)))
            figures = self.valid(one)
            tried.append(({**dict(zip(GRID, point, strict=True)), **{name: figures[name] for name in METRICS}}, one))
            print(tried[-1][0], flush=True)
        best = max(tried, key=lambda pair: pair[0]["ndcg@20"])
        return best[1], [facts for facts, _ in tried]

    def changed(self, trained: Any, settings: dict[str, Any]) -> Any:
        """Return the ranker with the same prior and other settings of matching."""
        other = type(trained)(trained.settings.model_copy(update=settings))
        other.restore(trained.state())
        return other.with_features(self.features)

    def neighbours(self) -> tuple[Ranker, list[dict[str, Any]]]:
        """Return content_knn on pictures alone, its k chosen on validation."""
        made = [self.fitted({"name": "content_knn", "k": k, "modalities": ["image"]}) for k in NEIGHBOURS]
        figures = [self.valid(one) for one in made]
        pairs = zip(NEIGHBOURS, figures, strict=True)
        tried = [{"k": k, **{name: found[name] for name in METRICS}} for k, found in pairs]
        return made[int(np.argmax([found["ndcg@20"] for found in figures]))], tried

    def fused(self, members: dict[str, Any]) -> tuple[Any, list[Any]]:
        """Return EASE fused with one more, and the weights that were learned on validation."""
        names = [{"name": name.partition(",")[0]} for name in members]
        fusion, there = make_ranker({"name": "fusion", "members": names, "objective": "ndcg"}), iter(members.values())
        run = replace(self.run, fitted=lambda config: next(there))
        fusion.fit(self.split.train, self.features, valid=self.valid, run=run)
        weights = [round(weight, 3) for _, weight in fusion.told_weights()]
        return fusion, list(zip(members, weights, strict=True))

    def measure(self) -> dict[str, Any]:
        """Return all figures."""
        own, tried = self.chosen()
        knn, tried_knn = self.neighbours()
        of = strangers(self.split.train.n_users, self.run.rng("another"))
        another = Another(own, self.split.train.histories, of)
        rankers = {"popularity": self.fitted({"name": "popularity"}), "ease": self.fitted(EASE)}
        rankers |= {"content_knn, pictures": knn, "visual_prior": own, "visual_prior, another's": another}
        weights = {}
        for name in ("visual_prior", "visual_prior, another's", "content_knn, pictures"):
            fusion, weights[f"ease + {name}"] = self.fused({"ease": rankers["ease"], name: rankers[name]})
            rankers[f"ease + {name}"] = fusion
        config = self.workflow.config.evaluation
        found = {name: evaluate(one, self.split, config, run=self.run, name=name) for name, one in rankers.items()}
        alone = [one for name, one in found.items() if "ease" not in name]
        beside = [one for name, one in found.items() if "ease" in name]
        return {
            "chosen": own.settings.model_dump(mode="json"), "tried": tried, "tried_content_knn": tried_knn,
            "summary": {name: {metric: one.summary[metric] for metric in METRICS} for name, one in found.items()},
            "others_minus_visual_prior": {one: compare(alone, "visual_prior", one).to_dicts() for one in METRICS},
            "others_minus_ease": {one: compare(beside, "ease", one).to_dicts() for one in METRICS},
            "weights": weights, "permutation": self.permutation(own),
        }  # fmt: skip

    def permutation(self, ranker: Any) -> dict[str, Any]:
        """Return REBECA's test: mean cosine of samples to the pictures of test items rated 4 or more."""
        prior, test, pictures = ranker._prior, self.split.test, self.features.unit("image")
        test = test.select((test.rating >= LIKED) & self.features.present("image")[test.item_idx])
        users = np.flatnonzero((test.user_counts > 0) & (self.split.train.user_counts > 0))
        liked = (test.matrix[users] @ pictures) / test.user_counts[users][:, None]
        vectors = user_vectors(self.split.train.histories.take(users).matrix(), ranker._rows)
        found = {
            f"guidance {guidance:g}": asdict(
                swap_test(mean_directions(prior, vectors, guidance=guidance) @ liked.T, self.run.rng("permutations"))
            )
            for guidance in (1.0, ranker.settings.guidance)
        }
        return {"users": len(users), "pictures": len(test), **found}


def main() -> None:
    raw = Path(os.environ["RECSYS_DATA"]).resolve() / "movielens-latest-small"
    found = Measuring(Workflow(read_config(HERE / "config.toml", (f"data.raw={json.dumps(str(raw))}",)))).measure()
    about = {"commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions()}
    write_json(HERE / "results.json", {**about, **found})
    print(json.dumps({name: found[name] for name in ("summary", "weights", "permutation")}, indent=1))


if __name__ == "__main__":
    main()
