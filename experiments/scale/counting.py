"""What each stage holds and does, counted from the code: bytes of the arrays that are alive at its peak, and its work.

Letters: ``rows`` are read, ``kept`` interactions are left of them, ``train`` of those are learned from, ``edges`` are
directed (two an interaction of train), ``nodes`` are users and items. What an entry of each array takes is in
``ENTRY``, which tests/test_scale_model.py compares with what the code makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, log2

DIM, LAYERS = 64, 2
BPR_STEPS = 32  # an epoch, at every size
ENTRY = {
    "interaction": 20,  # Interactions: user_idx, item_idx int32, rating float32, timestamp int64
    "part": 1,  # Split.part: uint8
    "csr": 8,  # of Interactions.matrix and InteractionGraph.adjacency: float32 and an int32 column
    "csr64": 12,  # of a product in float64: float64 and an int32 column
    "packed": 12,  # SparseMatrix: int64 column and float32
    "history": 8,  # Histories.items: int64
    "key": 8,  # NegativeSampler.keys: int64
    "vector": 4 * DIM,  # an embedding: float32
}


@dataclass(frozen=True)
class World:
    """Sizes of a data set and of how it is learned from.

    Attributes:
        rows, kept, train: interactions read, kept, learned from.
        users, items: how many.
        ease_items, ease_train: what EASE is fitted on, where that is less.
        batch: users of a step of the softmax loss.
    """

    rows: float
    kept: float
    train: float
    users: float
    items: float
    ease_items: float
    ease_train: float
    batch: int = 2048

    @property
    def edges(self) -> float:
        return 2 * self.train

    @property
    def nodes(self) -> float:
        return self.users + self.items

    @property
    def steps(self) -> int:
        """Steps of a softmax epoch."""
        return ceil(self.users / self.batch)


def data(w: World) -> float:
    """The loaded data set and split."""
    return (ENTRY["interaction"] + ENTRY["part"]) * w.kept


def learned(w: World) -> float:
    """``data``, the train interactions selected from it, and their matrix."""
    return data(w) + (ENTRY["interaction"] + ENTRY["csr"]) * w.train


def graph(w: World) -> float:
    """``learned``, the adjacency, and the two products of ``normalise``."""
    return learned(w) + (ENTRY["csr"] + 2 * ENTRY["csr64"]) * w.edges


def training(w: World) -> float:
    """``learned``, the adjacency as scipy and as PyTorch have it, eleven matrices of the nodes, 16 MiB of logits.

    The eleven: parameter, gradient, two of Adam, a layer each, their mean, its unit rows, and gradients of the last
    four on the way back (``LightGCNModule.propagated``).
    """
    held = learned(w) + (ENTRY["csr"] + ENTRY["packed"]) * w.edges + (7 + 2 * LAYERS) * ENTRY["vector"] * w.nodes
    return max(graph(w), held + 2**24)


def pairs(w: World) -> float:
    """``training``, the sampler's keys, an epoch's order, users and items (int64), and a batch of three vectors a pair.

    Of those there are four: the rows, their gradient, the penalty's rows and theirs (``VectorModule.bpr``).
    """
    return training(w) + (ENTRY["key"] + 3 * 8) * w.train + 4 * 3 * ENTRY["vector"] * w.train / BPR_STEPS


def evaluated(w: World) -> float:
    """``data``; train and its histories, taken in the users' order; train+valid, its matrix and the mask; lists, table.

    Beside them: positions of what is taken (two of int64), lists of 20 (int32), 14 columns a user (float64).
    """
    known = 0.9 * w.kept
    return (
        data(w) + (ENTRY["interaction"] + 2 * ENTRY["history"] + 16) * w.train
        + (ENTRY["interaction"] + 2 * ENTRY["csr"]) * known + (4 * 20 + 8 * 14) * w.users
    )  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """A stage: what it holds, in bytes, what it does, in terms that CPU seconds are a sum of, and who can share it.

    Attributes:
        memory: bytes of arrays at the peak.
        work: terms by name.
        parallel: threads that more cores are of use to.
        cpu: name of its seconds in results.json.
    """

    memory: Callable[[World], float]
    work: Mapping[str, Callable[[World], float]]
    parallel: str
    cpu: str = "cpu_seconds"


STAGES: dict[str, Stage] = {
    # The frame of read_rows (28 bytes a row: row, user_idx, item_idx, rating, weight of four, timestamp of eight), the
    # renumbered columns (8), and in stable_order key, its parts, order and the sort's own (four of int64).
    "ingest": Stage(lambda w: 68 * w.rows, {"rows log2 rows": lambda w: w.rows * log2(w.rows)}, "polars"),
    # The frame of load_dataset (20) and the int32 columns made from it (8).
    "load": Stage(lambda w: 28 * w.kept, {"interactions": lambda w: w.kept}, "polars"),
    # In _from_end: times, shuffle, shuffled times, key, its parts, order, the sort's own (seven of int64), users (4).
    "split": Stage(lambda w: data(w) + 60 * w.kept, {"kept log2 kept": lambda w: w.kept * log2(w.kept)}, "one"),
    "graph": Stage(graph, {"edges": lambda w: w.edges}, "one"),
    "lightgcn_softmax_epoch": Stage(
        training,
        {"steps x edges": lambda w: w.steps * w.edges, "users x items": lambda w: w.users * w.items},
        "PyTorch",
    ),
    "lightgcn_bpr_epoch": Stage(
        pairs,
        {"steps x edges": lambda w: BPR_STEPS * w.edges, "pairs log2 pairs": lambda w: w.train * log2(w.train)},
        "PyTorch",
    ),
    # Train in int32 again, its matrix in float64 and that transposed; the inverse in float64, the weights in float32.
    "ease_fit": Stage(
        lambda w: learned(w) + (8 + 2 * ENTRY["csr64"]) * w.ease_train + 12 * w.ease_items**2,
        {"items^3": lambda w: w.ease_items**3, "train^2 / users": lambda w: w.ease_train**2 / w.users},
        "LAPACK",
    ),
    # Users' and items' vectors in float64, old and new; train's matrix by item; the small systems (32 MiB).
    "ials_round": Stage(
        lambda w: learned(w) + ENTRY["csr"] * w.train + 2 * 8 * DIM * w.nodes + 2**25,
        {"systems": lambda w: w.nodes, "train": lambda w: 2 * w.train},
        "one",
    ),
    "evaluation_per_10k_users": Stage(
        evaluated,
        {"users": lambda w: w.users, "users x items": lambda w: w.users * w.items},
        "PyTorch, BLAS",
        "measured_cpu_seconds",
    ),
    # Interactions, and in Histories position, order, the sort's own (int64), items in order (int32), and items (int64).
    "serve_exact": Stage(
        lambda w: data(w) + 36 * w.kept + ENTRY["vector"] * w.nodes,
        {"one": lambda w: 1.0, "items": lambda w: w.items},
        "replicas",
    ),
    "serve_index": Stage(
        lambda w: data(w) + 2 * ENTRY["vector"] * w.items,
        {"items log2 items": lambda w: w.items * log2(w.items)},
        "usearch",
    ),
}
