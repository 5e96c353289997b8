"""What would a million users with a billion interactions take? Computed from results.json, and written to model.json.

    python experiments/scale/model.py                     the table of the README, too
    python experiments/scale/model.py --users 2e6 --interactions 5e8 --items 1e5

Memory is a part that does not grow plus a factor times the bytes that ``counting`` counts; CPU seconds are a sum of
``counting``'s terms with coefficients that are not negative. Both are fitted to the measured sizes by relative errors.
How far to trust them is told by leaving the largest size out: it is predicted from the two smaller ones. Beyond what
was measured, times start from the largest size, and ``at most`` lets them run away from the prediction in each further
tenfold by as much as they did in the last one that was measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from math import ceil, log10
from pathlib import Path
from typing import Any

import numpy as np
from counting import STAGES, Stage, World
from limits import breaks, limits
from scipy.optimize import nnls

from recsys.core.artifact import write_json

HERE = Path(__file__).resolve().parent
RESULTS, BEYOND, MODEL = HERE / "results.json", HERE / "beyond.json", HERE / "model.json"
TRAIN_SHARE = 0.8
MACHINES = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # GB of memory
SPARE = 1.25  # times the peak that a machine should have
MIB = 2**20
LARGE_BATCH = 65_536
TOLD = ("beyond", "softmax_epoch_large_batch", "serving", "breaks", "limits")  # what is printed below the table
LISTS, BUSY, EVENTS = 1_000, 0.7, 10  # lists a second; share of a core that may be busy; events a user and day


def world_of(n_rows: int, measured: dict[str, Any]) -> World:
    """Return the sizes of a measured world, as its stages told them."""
    loaded, train = measured["load"], measured["graph"]["directed_edges"] / 2
    ease = measured.get("ease_fit", {"items": loaded["items"], "interactions": train})
    return World(
        n_rows, loaded["interactions"], train, loaded["users"], loaded["items"], ease["items"], ease["interactions"]
    )


def target_of(users: float, interactions: float, items: float, batch: int = 2048) -> World:
    """Return a world that nobody measured; all of its items are EASE's."""
    train = TRAIN_SHARE * interactions
    return World(interactions, interactions, train, users, items, items, train, batch)


def fitted(terms: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return non-negative coefficients ``[n_terms]`` of ``terms`` ``[n, n_terms]`` with the least relative errors."""
    scale = np.abs(terms).max(axis=0)
    return nnls(terms / scale / wanted[:, None], np.ones(len(wanted)))[0] / scale


class Fitted:
    """One stage, fitted to some measured worlds.

    Args:
        stage: what it holds and does.
        worlds: measured.
        found: their figures of this stage.
    """

    def __init__(self, stage: Stage, worlds: Sequence[World], found: Sequence[dict[str, Any]]) -> None:
        self.stage, self.largest = stage, worlds[-1]
        self.cpu = np.array([each[stage.cpu] for each in found])
        self.peaks = np.array([each["peak_mb"] for each in found], dtype=float)
        self.memory = fitted(np.array([[1.0, stage.memory(w) / MIB] for w in worlds]), self.peaks)
        self.times = fitted(np.array([self._terms(w) for w in worlds]), self.cpu)

    def _terms(self, world: World) -> list[float]:
        return [term(world) for term in self.stage.work.values()]

    def peak_mib(self, world: World) -> float:
        return float(self.memory @ [1.0, self.stage.memory(world) / MIB])

    def cpu_s(self, world: World) -> float:
        return float(self.times @ self._terms(world))

    def beyond_s(self, world: World) -> float:
        """Return CPU seconds, through the largest measured size."""
        return self.cpu_s(world) * self.cpu[-1] / self.cpu_s(self.largest)


def modelled(name: str, worlds: Sequence[World], found: Sequence[dict[str, Any]], target: World) -> dict[str, Any]:
    """Return a stage's coefficients, how it predicts the largest size from the smaller ones, and the target's cost."""
    stage = STAGES[name]
    whole, before = Fitted(stage, worlds, found), Fitted(stage, worlds[:-1], found[:-1])
    ratio = whole.cpu[-1] / before.cpu_s(worlds[-1])
    tenfolds = log10(target.kept / worlds[-1].kept)
    seconds, peak = whole.beyond_s(target), whole.peak_mib(target) * MIB / 1e9
    fits = [size for size in MACHINES if size >= SPARE * peak]
    return {
        "memory": {"fixed_mib": whole.memory[0], "factor_of_counted": whole.memory[1],
                   "bytes_counted": stage.memory(target)},
        "cpu": dict(zip(stage.work, whole.times.tolist(), strict=True)),
        "left_out": {
            "cpu_s": {"measured": whole.cpu[-1], "predicted": before.cpu_s(worlds[-1])},
            "peak_mib": {"measured": whole.peaks[-1], "predicted": before.peak_mib(worlds[-1])},
            "cpu_error": before.cpu_s(worlds[-1]) / whole.cpu[-1] - 1,
            "peak_error": before.peak_mib(worlds[-1]) / whole.peaks[-1] - 1,
        },
        "target": {"cpu_s": seconds, "cpu_s_at_most": seconds * max(1.0, ratio) ** tenfolds, "peak_gb": peak,
                   "machine_gb": fits[0] if fits else None, "threads": stage.parallel},
    }  # fmt: skip


def beyond(fits: dict[str, Fitted]) -> dict[str, Any]:
    """Return how a larger size came out that nothing was fitted to: measured, and what was predicted of it."""
    told: dict[str, Any] = {}
    for n_rows, found in json.loads(BEYOND.read_text())["sizes"].items():
        world = world_of(int(n_rows), found)
        for name in sorted(found.keys() & fits.keys()):
            cpu, peak = found[name][STAGES[name].cpu], found[name]["peak_mb"]
            told.setdefault(n_rows, {})[name] = {
                "cpu_s": cpu, "cpu_error": fits[name].beyond_s(world) / cpu - 1,
                "peak_mib": peak, "peak_error": fits[name].peak_mib(world) / peak - 1,
            }  # fmt: skip
    return told


def served(stages: dict[str, Any], measured: dict[str, Any], target: World) -> dict[str, Any]:
    """Return what serving the target takes: cores, memory, an index, a state."""
    largest = measured["10000000"]
    exact, index, state = (largest[f"serve_{name}"] for name in ("exact", "index", "state"))
    list_s = stages["serve_exact"]["target"]["cpu_s"]
    near_s = index["search_cpu_s"] * np.log2(target.items) / np.log2(index["items"])
    a_day = EVENTS * target.users
    return {
        "lists_a_second": LISTS, "list_cpu_s": list_s, "cores": LISTS * list_s / BUSY,
        "index": {"bytes": index["bytes"] / index["items"] * target.items, "search_cpu_s": near_s,
                  "make_cpu_s": stages["serve_index"]["target"]["cpu_s"], "cores": LISTS * near_s / BUSY},
        "opening_cpu_s": exact["opening_cpu_s"] * target.kept / largest["load"]["interactions"],
        "replica_gb": stages["serve_exact"]["target"]["peak_gb"],
        "replicas_gb": ceil(LISTS * list_s / BUSY) * stages["serve_exact"]["target"]["peak_gb"],
        "state": {"events_a_day": a_day, "gb_a_day": state["bytes"] / state["events"] * a_day / 1e9,
                  "event_s": state["seconds"], "writers_busy": a_day / 86_400 * state["seconds"]},
    }  # fmt: skip


def model(users: float = 1e6, interactions: float = 1e9, items: float = 2e5) -> dict[str, Any]:
    """Return the whole model as plain values."""
    results = json.loads(RESULTS.read_text())
    sizes = results["sizes"]
    worlds = [world_of(int(n_rows), found) for n_rows, found in sizes.items()]
    target = target_of(users, interactions, items)
    stages = {name: modelled(name, worlds, [found[name] for found in sizes.values()], target) for name in STAGES}
    large = target_of(users, interactions, items, LARGE_BATCH)
    fits = {name: Fitted(STAGES[name], worlds, [found[name] for found in sizes.values()]) for name in STAGES}
    peaks = {name: fit.peak_mib for name, fit in fits.items()}
    return {
        "measured": {"date": results["date"], "commit": results["commit"]},
        "target": {"users": users, "interactions": interactions, "items": items},
        "stages": stages,
        "beyond": beyond(fits),
        "softmax_epoch_large_batch": {"batch": LARGE_BATCH, "cpu_s": fits["lightgcn_softmax_epoch"].beyond_s(large)},
        "serving": served(stages, sizes, target),
        "breaks": breaks(peaks, lambda n: target_of(n * users / interactions, n, items * (n / interactions) ** 0.5)),
        "limits": limits(target),
    }


def table(found: dict[str, Any]) -> str:
    """Return the target's cost, a line a stage, as Markdown."""
    lines = [
        "| stage | CPU hours | at most | peak | machine of | predicted from two smaller sizes: CPU | peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, stage in found["stages"].items():
        cost, left = stage["target"], stage["left_out"]
        machine = f"{cost['machine_gb']:,} GB" if cost["machine_gb"] else "none"
        hours = [f"{cost[key] / 3600:,.2g}" if cost[key] < 36_000 else f"{cost[key] / 3600:,.0f}"
                 for key in ("cpu_s", "cpu_s_at_most")]  # fmt: skip
        errors = [f"{left[key]:+.0%}" for key in ("cpu_error", "peak_error")]
        lines.append(f"| {name} | {' | '.join(hours)} | {cost['peak_gb']:,.0f} GB | {machine} | {' | '.join(errors)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("users", 1e6), ("interactions", 1e9), ("items", 2e5)):
        parser.add_argument(f"--{name}", type=float, default=value)
    asked = vars(parser.parse_args())
    found = model(**asked)
    print(table(found))
    print(
        json.dumps(
            {name: found[name] for name in ("softmax_epoch_large_batch", "serving", "breaks", "limits")}, indent=1
        )
    )
    if asked == {name: parser.get_default(name) for name in asked}:
        write_json(MODEL, found)


if __name__ == "__main__":
    main()
