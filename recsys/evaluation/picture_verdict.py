"""From what a judge sees in pictures of pairs to tables with intervals: taste, item, whose, how real, how new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.console import columns
from recsys.core.runtime import Run
from recsys.evaluation.picture_cases import Cases, Way
from recsys.evaluation.pictures import (
    Identified,
    centred,
    identified,
    kid,
    likeness_to_liked,
    nearest_likeness,
    sign_flips,
    spread,
)
from recsys.evaluation.significance import bootstrap_interval

METRICS = {
    "taste": "likeness to the user's liked test pictures, mean cosine",
    "taste@5": "the same of the nearest five",
    "item": "likeness to the item's own picture, cosine",
    "ssim": "structural similarity to it",
    "perceptual": "perceptual distance to it, less is nearer",
    "copied": "likeness to the nearest picture of the train items",
}
BETTER_LOW = ("perceptual",)


@dataclass(frozen=True)
class Sight:
    """What is known of the pictures of one way.

    Attributes:
        way: see there.
        vectors: unit, centred, ``[pairs, pictures, dim]``.
        pixels: metrics that need the pixels, ``ssim`` and ``perceptual``, ``[pairs]`` each.
    """

    way: Way
    vectors: np.ndarray
    pixels: Mapping[str, np.ndarray]


class Verdict:
    """All tables.

    Args:
        cases: who and what is judged.
        sights: raw vectors ``[pairs, pictures, dim]`` and metrics of the pixels, by way.
        posters: raw vectors of the items' own pictures, NaN rows without one, ``[n_items, dim]``.
        trained: rows of items that train has.
        run: its seed, for resampling.
    """

    def __init__(
        self,
        cases: Cases,
        sights: Mapping[Way, tuple[np.ndarray, Mapping[str, np.ndarray]]],
        posters: np.ndarray,
        trained: np.ndarray,
        run: Run,
    ) -> None:
        self.cases, self.run = cases, run
        there = np.isfinite(posters).all(axis=1)
        centre = posters[trained][there[trained]].mean(axis=0)
        self.posters = centred(posters, centre)
        self.known = self.posters[trained][there[trained]]
        self.held_out = self.posters[np.setdiff1d(np.flatnonzero(there), trained)]
        self.sights = {}
        for way, (raw, pixels) in sights.items():
            flat = centred(raw.reshape(-1, raw.shape[-1]), centre)
            self.sights[way.name] = Sight(way, flat.reshape(raw.shape), pixels)
        self.values = {name: self._values(sight) for name, sight in self.sights.items()}
        self.liked = np.stack([self.posters[rows].mean(axis=0) for rows in cases.liked])  # [users, dim]

    def _targets(self, way: Way) -> np.ndarray:
        return self.cases.targets[:, :1] if way.first else self.cases.targets  # [users, items]

    def _values(self, sight: Sight) -> dict[str, np.ndarray]:
        """Return each metric's mean over a user's pictures, ``[users]``."""
        targets = self._targets(sight.way)
        users, items = targets.shape
        rows = sight.vectors.reshape(users, items * sight.vectors.shape[1], -1)
        own = np.repeat(self.posters[targets], sight.vectors.shape[1], axis=1)  # [users, items * pictures, dim]
        tastes = [
            likeness_to_liked(row, self.posters[liked]) for row, liked in zip(rows, self.cases.liked, strict=True)
        ]
        found = {
            "taste": np.array([mean.mean() for mean, _ in tastes]),
            "taste@5": np.array([nearest.mean() for _, nearest in tastes]),
            "item": (rows * own).sum(axis=2).mean(axis=1),
            "copied": np.array([nearest_likeness(row, self.known).mean() for row in rows]),
        }
        return found | {name: value.reshape(users, -1).mean(axis=1) for name, value in sight.pixels.items()}

    # -- tables ------------------------------------------------------------------------------------------------

    def means(self) -> dict[str, dict[str, Any]]:
        """Return by way and metric the mean over users, with its 95 % interval."""
        return {
            way: {metric: [float(of.mean()), *bootstrap_interval(of)] for metric, of in values.items()}
            for way, values in self.values.items()
        }

    def gap(self, first: str, second: str, metric: str) -> dict[str, float | None]:
        """Return the mean of the paired differences of users, its 95 % interval, the permutation p, and a ratio.

        There is no ratio to nothing.
        """
        return self._gap(self.values[first][metric], self.values[second][metric], first, second, metric)

    def _gap(self, one: np.ndarray, two: np.ndarray, *names: str) -> dict[str, float | None]:
        low, high = bootstrap_interval(one - two)
        p = sign_flips(one - two, self.run.rng("judge", *names))
        return {"mean": float((one - two).mean()), "low": low, "high": high, "p": p,
                "ratio": float(one.mean() / two.mean()) if two.mean() else None}  # fmt: skip

    def real(self) -> dict[str, dict[str, float | None]]:
        """Return what there is to win: the same difference for the real pictures that users liked in train.

        Each user's own, and those of the user whose taste is the wrong one.
        """
        place = {user: row for row, user in enumerate(self.cases.users.tolist())}
        others = [place[user] for user in self.cases.others.tolist()]
        own, another = (np.array([self._likeness(row, of) for row, of in enumerate(whose)])
                        for whose in (range(len(others)), others))  # fmt: skip
        names = ("taste", "taste@5")
        return {name: self._gap(own[:, at], another[:, at], "real", name) for at, name in enumerate(names)}

    def _likeness(self, user: int, of: int) -> tuple[float, float]:
        """Return how like one user's liked train pictures are to what another (or the same) likes in test."""
        mean, nearest = likeness_to_liked(self.posters[self.cases.known[of]], self.posters[self.cases.liked[user]])
        return float(mean.mean()), float(nearest.mean())

    def gaps(self) -> dict[str, dict[str, Any]]:
        """Return the differences that the claims rest on, by ``first - second`` and metric."""
        pairs = [("own", "another"), ("own", "nobody"), ("own, chosen", "another, chosen"), ("own, chosen", "nobody")]
        cut = [sight.way for sight in self.sights.values() if sight.way.without]  # of the first item alone
        pairs += [(f"own at {way.dial:g}", way.name) for way in cut]
        return {
            f"{first} - {second}": {metric: self.gap(first, second, metric) for metric in self.values[first]}
            for first, second in pairs
            if first in self.sights and second in self.sights
        }

    def sweep(self) -> dict[str, Any]:
        """Return means by dial, and Spearman's correlation of dial and metric: of the means, and within users.

        It is None where the dial changes nothing.
        """
        steps = sorted((one.way.dial, name) for name, one in self.sights.items() if name.startswith("own at "))
        dials, found = [dial for dial, _ in steps], {}
        for metric in self.values[steps[0][1]] if len(steps) > 1 else ():
            table = np.stack([self.values[name][metric] for _, name in steps], axis=1)  # [users, dials]
            whole, inner = _spearman(dials, table.mean(axis=0)), [_spearman(dials, row) for row in table]
            known = [one for one in inner if one is not None]
            within = float(np.mean(known)) if known else None
            found[metric] = {"means": table.mean(axis=0).tolist(), "spearman": whole, "within": within}
        return {"dials": dials, **found}

    def whose(self) -> list[dict[str, Any]]:
        """Return how well pictures tell whom they were made for: one by one, and all of a user's together.

        ``seen`` compares what the pictures look like, ``moved`` only what the taste changed: the picture less that for
        nobody from the same noise.
        """
        found = [self._told("liked train pictures", "together", "seen", self._known_means())]
        for name, nobody in (("own", "nobody"), ("own, chosen", "nobody"), *self._ends()):
            if name not in self.sights or nobody not in self.sights:
                continue
            here, there = (self._by_user(self.sights[one]) for one in (name, nobody))  # [users, n, dim]
            for kind, rows in (("seen", here), ("moved", here - there)):
                found.append(self._told(name, "one by one", kind, rows))
                found.append(self._told(name, "together", kind, rows.mean(axis=1, keepdims=True)))
        return found

    def _ends(self) -> Iterator[tuple[str, str]]:
        """Yield the ways of the largest dial, for the user and for nobody."""
        for name in self.sights:
            if name.startswith("nobody at "):
                yield name.replace("nobody", "own"), name

    def _by_user(self, sight: Sight) -> np.ndarray:
        return sight.vectors.reshape(len(self.cases.users), -1, sight.vectors.shape[-1])

    def _known_means(self) -> np.ndarray:
        return np.stack([self.posters[rows].mean(axis=0, keepdims=True) for rows in self.cases.known])

    def _told(self, name: str, how: str, kind: str, rows: np.ndarray) -> dict[str, Any]:
        """Return one row: hit rates and reciprocal rank of pictures ``[users, n, dim]``, with intervals over users."""
        users, n, dim = rows.shape
        liked = self.liked - self.liked.mean(axis=0)
        liked = liked / np.maximum(np.linalg.norm(liked, axis=1, keepdims=True), 1e-12)
        ranks = identified(rows.reshape(-1, dim) @ liked.T, np.repeat(np.arange(users), n))
        told: dict[str, Any] = {"way": name, "pictures": how, "compares": kind, "users": users}
        for metric, values in _hits(ranks).items():
            by_user = values.reshape(users, n).mean(axis=1)
            told[metric] = [float(by_user.mean()), *bootstrap_interval(by_user)]
        return told | {"chance of hit@1": ranks.chance(1), "chance of hit@10": ranks.chance(10)}

    def realness(self) -> dict[str, Any]:
        """Return KID to real pictures but the targets, its deviation, variety within a pair, likeness to train's."""
        rng, found = self.run.rng("judge", "kid"), {}
        targets = np.unique(self.cases.targets)
        others = self.posters[np.setdiff1d(np.flatnonzero(np.isfinite(self.posters).all(axis=1)), targets)]
        halves = np.array_split(rng.permutation(len(self.held_out)), 2)
        found["real: one half of the held-out to the other"] = {
            "kid": kid(self.held_out[halves[0]], self.held_out[halves[1]], rng),
            "copied": float(nearest_likeness(self.held_out, self.known).mean()),
        }
        for name, sight in self.sights.items():
            flat = sight.vectors.reshape(-1, sight.vectors.shape[-1])
            varied = spread(list(sight.vectors))
            found[name] = {
                "kid": kid(flat, others, rng), "copied": float(nearest_likeness(flat, self.known).mean()),
                "spread": float(np.nanmean(varied)) if np.isfinite(varied).any() else None,
            }  # fmt: skip
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return all tables as plain values."""
        return {
            "users": len(self.cases.users), "items_a_user": self.cases.targets.shape[1],
            "liked_a_user": float(np.median([len(rows) for rows in self.cases.liked])), "metrics": METRICS,
            "means": self.means(), "gaps": self.gaps(), "real": self.real(), "sweep": self.sweep(),
            "whose": self.whose(), "realness": self.realness(),
        }  # fmt: skip

    def to_text(self) -> str:
        """Return the main tables for the terminal."""
        means = [{"way": way, **{name: value[0] for name, value in row.items()}} for way, row in self.means().items()]
        gaps = [
            {"difference": pair, "metric": name, "mean": gap["mean"], "p": gap["p"],
             "95 % interval": f"{gap['low']:+.4f} to {gap['high']:+.4f}"}
            for pair, row in [*self.gaps().items(), ("real liked train pictures: own - another", self.real())]
            for name, gap in row.items()
        ]  # fmt: skip
        whose = [
            {name: row[name] for name in ("way", "pictures", "compares")} | {"hit@10": row["hit@10"][0],
             "chance": row["chance of hit@10"], "mrr": row["mrr"][0]}
            for row in self.whose()
        ]  # fmt: skip
        real = [{"kid": row["kid"][0], "copied": row["copied"], "way": way} for way, row in self.realness().items()]
        swept = [
            {"metric": name, "Spearman with the dial": row["spearman"], "within users": row["within"]}
            for name, row in self.sweep().items() if name != "dials"
        ]  # fmt: skip
        parts = {"means over users": means, "paired differences": gaps, "the dial": swept, "whose is it?": whose,
                 "real and new": real}  # fmt: skip
        return "\n\n".join(f"{title}\n{columns(rows)}" for title, rows in parts.items() if rows)


def _spearman(dials: Sequence[float], values: np.ndarray) -> float | None:
    """Return Spearman's correlation, None for values that are all the same."""
    from scipy.stats import spearmanr

    if np.ptp(values) <= 1e-12:  # means of equal values may differ in their last bit
        return None
    return float(spearmanr(dials, values).statistic)


def _hits(ranks: Identified) -> dict[str, np.ndarray]:
    return {"hit@1": ranks.hit(1), "hit@10": ranks.hit(10), "mrr": ranks.reciprocal}
