"""An invented run, as large and as uneven as a real one, for the tests of the report; nothing here was measured."""

from __future__ import annotations

import base64
import math
import struct
import zlib

from recsys.evaluation.report import (
    Curve,
    Difference,
    ListedItem,
    RankerRow,
    RecommendedList,
    Report,
    Section,
)

METRICS = {"ndcg": 1.0, "recall": 1.16, "precision": 0.72, "mrr": 1.62, "hit": 2.62, "map": 0.57}
NAMES = {
    "popularity": ("Popularity", 0.1564, 0.02, 0),
    "item_knn": ("Item kNN", 0.3046, 0.31, None),
    "rp3beta": ("RP3beta", 0.2987, 0.28, None),
    "ease": ("EASE", 0.3441, 1.9, 2_829_124),
    "lightgcn": ("LightGCN", 0.3302, 41.7, 168_128),
    "sasrec": ("SASRec", 0.2764, 75.2, 412_480),
    "recbole_bpr": ("BPR", 0.3188, 214.0, 168_128),
}


def picture(red: int, green: int, blue: int) -> str:
    """A PNG of one pixel as a data URI."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixel = zlib.compress(bytes((0, red, green, blue)))
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Contrast of two colours, from 1 to 21; 4.5 is the least for text."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def ranker(name: str) -> RankerRow:
    label, ndcg, seconds, n_parameters = NAMES[name]
    summary = {
        f"{metric}@{k}": ndcg * factor * (1 if k == 20 else 0.86)
        for k in (10, 20)
        for metric, factor in METRICS.items()
    }
    return RankerRow(
        name=name,
        label=label,
        chosen=name == "ease",
        summary=summary,
        intervals={metric: (0.972 * value, 1.028 * value) for metric, value in summary.items()},
        catalogue={
            "coverage@20": ndcg * 1.4,
            "gini@20": 1 - ndcg,
            "novelty@20": 1.8 + 3 * ndcg,
            "popularity@20": 212.4,
        },
        valid=None if name == "popularity" else 0.91 * ndcg,
        fit_s=seconds,
        cpu_s=1.8 * seconds,
        n_parameters=n_parameters,
        settings={"regularization": 180.0} if name == "ease" else {"num_layers": 3, "embedding_dim": 64, "seed": 0},
        note="RecBole through the adapter" if name.startswith("recbole") else "",
    )


def difference(name: str, p: float) -> Difference:
    gap = NAMES[name][1] - NAMES["ease"][1]
    return Difference(name, "ease", "ndcg@20", gap, gap - 0.008, gap + 0.008, p, min(1.0, 5 * p))


def curve(name: str, n: int, top: float, speed: float) -> Curve:
    points = [(epoch, top * (1 - math.exp(-epoch / speed)) - 2e-6 * epoch**2) for epoch in range(1, n + 1)]
    return Curve(name, "ndcg@20", points, max(points, key=lambda point: point[1])[0])


def segments() -> list[dict]:
    rows = []
    for name, (_, ndcg, *_) in NAMES.items():
        for by, metric, groups in (
            ("history", "ndcg@20", {"0 (cold)": 11, "1–5": 34, "6–20": 245, "21+": 653}),
            ("items", "recall@20", {"tail": 488, "head": 943}),
        ):
            for place, (segment, n_users) in enumerate(groups.items()):
                value = ndcg * (0.4 + 0.25 * place) if name != "popularity" else ndcg * (1 + 0.02 * place)
                rows.append({
                    "name": name, "by": by, "segment": segment, "metric": metric, "n_users": n_users,
                    "mean": value, "low": value - 0.3 / n_users**0.5, "high": value + 0.3 / n_users**0.5,
                })  # fmt: skip
    return rows


HISTORY = [
    "Toy Story (1995)",
    "Babe (1995)",
    "Wallace & Gromit: The Best of Aardman Animation (1996)",
    "Aladdin (1992)",
]
SHOWN = [
    ("Lion King, The (1994)", ["Animation", "Children's", "Musical"], True),
    ("Beauty and the Beast (1991)", ["Animation", "Children's", "Musical"], False),
    ("Wrong Trousers, The (1993)", ["Animation", "Comedy"], True),
    ("2001: A Space Odyssey (1968)", ["Drama", "Mystery", "Sci-Fi", "Thriller"], False),
    ("Star Wars (1977)", ["Action", "Adventure", "Romance", "Sci-Fi", "War"], False),
    ("Willy Wonka and the Chocolate Factory (1971)", ["Adventure", "Children's"], False),
    ("Groundhog Day (1993)", ["Comedy", "Romance"], True),
    ("E.T. the Extra-Terrestrial (1982)", ["Children's", "Fantasy"], False),
    ("Mononoke-hime", [], False),
    ("Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1963)", ["War"], False),
]


def recommended(who: str, explanation: str, held_out: bool) -> RecommendedList:
    items = [
        ListedItem(
            title=title,
            item_id=str(71 + place),
            attributes=attributes,
            reasons=[f"because of {HISTORY[place % 4]}: 38 %", f"and {HISTORY[(place + 1) % 4]}: 21 %"][
                : 1 + place % 2
            ],
            score=2.31 - 0.11 * place,
            image=picture(40, 90, 120) if place == 4 else None,
            held_out=hit and held_out,
        )
        for place, (title, attributes, hit) in enumerate(SHOWN)
    ]
    return RecommendedList(who, explanation, [ListedItem(title, "1") for title in HISTORY], items)


def sample_report() -> Report:
    return Report(
        title="What 943 people would like to watch next",
        summary=[
            "EASE, chosen on validation, finds 40 % of the films that people went on to rate; showing everybody the "
            "most popular films finds 18 %.",
            "No graph ranker is shown to be better than EASE here; LightGCN comes closest.",
        ],
        facts=[
            ("people", 943), ("films", 1682), ("ratings", 100_000), ("minutes, all in all", 2.4),
            ("Text features", "sentence vectors of titles and genres, 384 numbers each"), ("Seed", 0),
            ("Machine", "2 cores, no accelerator"),
        ],
        counts=[
            ("interactions of the same user and item, the last one kept", 0, ""),
            ("items without a title", 1, "267"),
            ("users with fewer than 5 interactions", 12, "user 4711"),
        ],
        rankers=[ranker(name) for name in NAMES],
        differences=[
            difference(name, p)
            for name, p in {"popularity": 1e-4, "item_knn": 1e-4, "lightgcn": 0.021, "sasrec": 1e-4}.items()
        ],
        curves=[curve("lightgcn", 120, 0.31, 14), curve("sasrec", 34, 0.262, 5), curve("recbole_bpr", 61, 0.3, 11)],
        lists=[
            recommended("User 186", "Somebody from the data, with 92 films known; shown is the list of EASE.", True),
            recommended("Somebody new", "Never seen in training: only the four films below were given.", False),
        ],
        segments=segments(),
        protocol={
            "dataset": "ml-100k", "split": "random", "part": "test", "n_users": 943, "n_items": 1682,
            "n_truth": 10_473, "users": "all 943 users with at least one interaction in test, each weighing the same",
            "users_without_history": 0, "truth_unseen_in_train": 22, "truth_masked": 0, "mask": "train+valid",
            "history": "train", "ranking": "full: all 1,682 items but the user's own; nothing is sampled",
            "ties": "a fixed pseudo-random order of the items", "fingerprint": "8a1f00c2d94e77ab", "house_rule": "none",
        },
        sections=[
            Section("Profiles", "What is believed about a person.\n\nEach statement names its evidence.",
                    (["Statement", "Evidence", "Films"], [["likes animation", "Toy Story, Babe", 14]]),
                    '<svg viewBox="0 0 200 20"><rect width="150" height="20" fill="currentColor"/></svg>'),
        ],
        made={"date": "2026-01-31", "commit": "0123456789ab", "command": "recsys demo --set ranker.num_layers=3"},
    )  # fmt: skip
