"""Does a list follow the edits of a profile, how far, and at what cost?

    RECSYS_DATA=<folder of data sets> python experiments/profile_steering/measure.py

MovieLens latest-small, random split, EASE as tuned in experiments/latest_small_random. 200 users are drawn among those
with ten train and one test item or more. Of each the strongest liking of the profile is raised, lowered and forbidden;
and a genre that the profile says nothing of is added. Effect: the concept's share of the top 20 before and after. Side
effects: how much of the top 20 stays, and ndcg@20 on the test items, all of them and those without the concept.
Intervals: percentile bootstrap over users.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from recsys.core.artifact import commit, versions, write_json
from recsys.core.values import Query
from recsys.evaluation.metrics import ndcg
from recsys.evaluation.significance import bootstrap_interval
from recsys.evaluation.topk import top_k
from recsys.profiles.edits import Edit, apply
from recsys.profiles.schema import Statement, UserProfile
from recsys.profiles.steering import Edited, Steered
from recsys.profiling import Profiling
from recsys.rankers.store import load_ranker
from recsys.runconfig import read_config
from recsys.workflow import Workflow

CONFIG = Path(__file__).parents[1] / "latest_small_random" / "config.toml"
EASE = {"name": "ease", "regularisation": 200.0}  # chosen on validation there
USERS, K, SEED = 200, 20, 0
FEWEST = 10  # train items of a user
DIALS = (0.5, 1.0, 2.0, 4.0)
RARITY = ((0.0, 0.05), (0.05, 0.15), (0.15, 1.0))  # share of the catalogue
EDITS = ("raise", "lower", "forbid", "add")


class Steering:
    """What the edits of some users do to their lists.

    Args:
        profiling: of the run.
    """

    def __init__(self, profiling: Profiling) -> None:
        self.profiling, split = profiling, profiling.workflow.loaded_split
        self.ranker = load_ranker(profiling.workflow.train(EASE).path)
        rng = np.random.default_rng(SEED)
        able = np.flatnonzero((split.train.user_counts >= FEWEST) & (split.test.user_counts > 0))
        drawn = rng.permutation(able)
        built = {int(user): profiling.built(profiling.dataset.users[int(user)]) for user in drawn[: 2 * USERS]}
        self.built = {user: one for user, one in built.items() if strongest(one)}
        self.built = dict(list(self.built.items())[:USERS])
        self.users = np.array(list(self.built), dtype=np.int64)
        self.without = [user for user in built if not strongest(built[user])]
        self.query = Query.of_users(split.train, self.users)
        self.seen = split.train_valid.histories.take(self.users).matrix()
        self.truth = split.test.histories.take(self.users)
        genres = [one.key for one in profiling.matcher.concepts.all if one.key.startswith("genre:")]
        self.foreign = {user: str(rng.choice(_absent(genres, one))) for user, one in self.built.items()}

    def target(self, user: int, action: str) -> str:
        return self.foreign[user] if action == "add" else strongest(self.built[user]).concept

    def lists(self, action: str | None, dial: float = 1.0) -> np.ndarray:
        """Return the top lists, item row numbers ``[n_users, K]``, -1 where none is left."""
        edited = {
            user: Edited(one, self._edited(one, action, self.target(user, action)) if action else one)
            for user, one in self.built.items()
        }
        steered = Steered(self.ranker, edited, self.profiling.matcher, dial)
        scores, rows = steered.score(self.query), []
        for row, user in enumerate(self.users):
            banned = np.zeros(scores.shape[1], dtype=bool)
            banned[steered.banned(int(user))] = True
            rows.append(top_k(scores[[row]], K, seen=self.seen[[row]], banned=banned)[0][0])
        return np.array(rows)

    def _edited(self, profile: UserProfile, action: str, target: str) -> UserProfile:
        return apply(profile, Edit(action=action, target=target), self.profiling.matcher.concepts)

    def measure(self, action: str, dial: float, before: np.ndarray) -> dict[str, Any]:
        """Return what an edit does to all lists."""
        after, concepts = self.lists(action, dial), self.profiling.matcher.concepts
        having = [concepts.items(self.target(int(user), action)) for user in self.users]
        share = self._gain(before, after, lambda row, place: float(np.isin(row, having[place]).mean()))
        quality = self._gain(before, after, lambda row, place: self._ndcg(row, self.truth[place]))
        rest = self._gain(
            before, after, lambda row, place: self._ndcg(row, np.setdiff1d(self.truth[place], having[place]))
        )
        kept = np.array([np.isin(old, new).mean() for old, new in zip(before, after, strict=True)])
        sign = 1 if action in ("raise", "add") else -1
        moved = sign * share[:, 2]
        room = np.array([self._has_room(int(user), action) for user in self.users])
        return {
            "could_move": float(room.mean()),
            "share_before": told(share[:, 0]), "share_after": told(share[:, 1]), "share_change": told(share[:, 2]),
            "that_way": float((moved > 0).mean()), "other_way": float((moved < 0).mean()), "kept": told(kept),
            "ndcg_before": told(quality[:, 0]), "ndcg_change": told(quality[:, 2]),
            "rest_users": len(rest), "rest_ndcg_before": told(rest[:, 0]), "rest_ndcg_change": told(rest[:, 2]),
        }  # fmt: skip

    def _has_room(self, user: int, action: str) -> bool:
        """Return whether the edit changes any weight, or forbids: not where a weight is 1 already and is raised."""
        built = self.built[user]
        now = self._edited(built, action, self.target(user, action))
        weights = [sorted((one.id, one.weight, one.forbidden) for one in each.statements) for each in (built, now)]
        return weights[0] != weights[1]

    def by_rarity(self, dial: float, before: np.ndarray) -> list[dict[str, Any]]:
        """Return what adding a genre of the same weight does, by how many of the catalogue's items have it."""
        after, concepts = self.lists("add", dial), self.profiling.matcher.concepts
        having = [concepts.items(self.foreign[int(user)]) for user in self.users]
        part = np.array([len(one) for one in having]) / len(self.profiling.dataset.items)
        groups = []
        for low, high in RARITY:
            rows = np.flatnonzero((part >= low) & (part < high))
            share = [np.array([np.isin(lists[row], having[row]).mean() for row in rows]) for lists in (before, after)]
            groups.append({
                "catalogue_share": [low, high], "users": len(rows), "share_before": told(share[0]),
                "share_after": told(share[1]),
            })  # fmt: skip
        return groups

    @staticmethod
    def _gain(before: np.ndarray, after: np.ndarray, figure: Callable[[np.ndarray, int], float]) -> np.ndarray:
        """Return before, after and change of a figure of each list, ``[n, 3]``; without those that have none."""
        pairs = [[figure(lists[place], place) for lists in (before, after)] for place in range(len(before))]
        values = np.array([[old, new, new - old] for old, new in pairs])
        return values[np.isfinite(values).all(axis=1)]

    @staticmethod
    def _ndcg(row: np.ndarray, truth: np.ndarray) -> float:
        """ndcg@20 of one list; NaN where nothing is to be found."""
        return float(ndcg(np.isin(row, truth)[None, :], np.array([len(truth)]), K)[0]) if len(truth) else float("nan")


def strongest(profile: UserProfile) -> Statement | None:
    """Return the liking with the largest weight."""
    liked = [one for one in profile.statements if one.polarity == "like"]
    return max(liked, key=lambda one: one.weight, default=None)


def _absent(genres: Sequence[str], profile: UserProfile) -> list[str]:
    said = {one.concept for one in profile.statements}
    return [one for one in genres if one not in said]


def told(values: np.ndarray) -> list[float]:
    """Return mean and the ends of its 95 % interval."""
    return [round(float(x), 4) for x in (values.mean(), *bootstrap_interval(values))]


def table(report: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| dial | edit | share before | share after | that way / the other | stays | ndcg@20 | of the rest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for dial, edits in report["dials"].items():
        for action, one in edits.items():
            mean, low, high = one["share_after"]
            cells = [
                dial, action, f"{one['share_before'][0]:.3f}", f"{mean:.3f} ({low:.3f}–{high:.3f})",
                f"{one['that_way']:.1%} / {one['other_way']:.1%}", f"{one['kept'][0]:.1%}",
                *("{:+.4f} ({:+.4f} to {:+.4f})".format(*one[name]) for name in ("ndcg_change", "rest_ndcg_change")),
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="As of recsys.")
    options = parser.parse_args()
    shared = Path(os.environ["RECSYS_DATA"]).resolve() / "movielens-latest-small"
    config = read_config(CONFIG, (f"data.raw={json.dumps(str(shared))}", *options.overrides))
    started = time.process_time()
    steering = Steering(Profiling(Workflow(config)))
    before = steering.lists(None)
    results = {f"{dial:g}": {action: steering.measure(action, dial, before) for action in EDITS} for dial in DIALS}
    weights = np.array([strongest(one).weight for one in steering.built.values()])
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "versions": versions(),
        "users": len(steering.users), "users_without_a_liking": len(steering.without),
        "strongest_weight": told(weights), "cpu_s": round(time.process_time() - started, 1),
        "dials": results, "added_by_rarity": steering.by_rarity(1.0, before),
    }  # fmt: skip
    write_json(Path(__file__).with_name("results.json"), report)
    print(table(report))


if __name__ == "__main__":
    main()
