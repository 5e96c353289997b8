"""Are reasons true? What ``/v1/why`` promises, held against the lists that the same server gives.

    python experiments/reasons/measure.py          # writes results.json beside this file

MovieLens 100K through the service, without HTTP. A case is a ranker, a user, an item and, for half of them, one to
three edits of the profile; a quarter of the users said something to the server before: likes and a dislike, of a new
item, too. Three items came after training. Seven of ten items are drawn from the first 50 of the user's list, the
others from all.

The service is asked why the item stands where it stands. Then the whole list is asked for: the place must be the
promised one. Each item of the history that was named is hidden, as a user hides it, the whole list asked for again, and
the item taken back. The place without edits must be that of the list before the edits were made.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from recsys.core.artifact import commit, write_json
from recsys.hosting import Host, Hosting
from recsys.runconfig import read_config
from recsys.serving.service import Service, Wanted
from recsys.serving.state.store import Event, NewItem
from recsys.workflow import Workflow

HERE, SEED = Path(__file__).parent, 0
FEW = {"epochs": 4, "batch_size": 256, "learning_rate": 0.02}  # what is promised does not rest on how good a ranker is
EASE, RP3 = {"name": "ease", "regularisation": 250}, {"name": "rp3beta", "alpha": 1.0, "beta": 0.6}
RANKERS = (
    EASE, {"name": "item_knn", "k": 200, "weighting": "bm25"}, RP3, {"name": "ials", "iterations": 6},
    {"name": "content_knn"}, {"name": "content_ease", "regularisation": 400, "strength": 5},
    {"name": "lightgcn", **FEW}, {"name": "vbpr", **FEW}, {"name": "freedom", **FEW}, {"name": "stair", **FEW},
    {"name": "mmssl", **FEW, "epochs": 1}, {"name": "sasrec", **FEW, "epochs": 1},
    {"name": "fusion", "objective": "equal", "members": [EASE, RP3]},
)  # fmt: skip
LINEAR = ("ease", "item_knn", "rp3beta", "ials", "content_knn", "content_ease")  # sums over histories
EDITS = (
    "raise genre:{genre}", "lower genre:{genre}", "forbid genre:{genre}", "add films about space", "dislike war films",
    "add animated musicals for children",
)  # fmt: skip
GENRES = ("Sci-Fi", "Comedy", "Drama", "Horror", "Children's", "War", "Musical", "Western")
NEW = (
    ("Robots at sea", "An animated musical for children about a robot and its toys", ("genre:Animation",)),
    ("Trenches", "Soldiers in a long war, a drama", ("genre:War", "genre:Drama")),
    ("Moon base", "Science fiction in space, aliens and a thriller", ("genre:Sci-Fi",)),
)


@dataclass
class Found:
    """What was found of one ranker; cases count as true when every place in them is."""

    cases: int = 0
    true: int = 0
    exact: int = 0
    exact_true: int = 0
    promises: int = 0
    kept: int = 0
    unedited: int = 0
    unedited_exact: int = 0
    wrong: list[dict[str, Any]] = field(default_factory=list)


class Cases:
    """Asks a service, and holds what it promises against what it lists.

    Args:
        service: with all rankers.
        profiles: to edit.
        rng: draws the cases.
    """

    def __init__(self, service: Service, profiles: Any, rng: np.random.Generator) -> None:
        self.service, self.profiles, self.rng = service, profiles, rng
        self.users = service.people.dataset.users.texts

    async def list_of(self, user: str, model: str) -> list[str]:
        wanted = Wanted(user, k=self.service.items.offered.n, reasons=False, model=model)
        return [line.item_id for line in (await self.service.recommend(wanted)).lines]

    async def one(self, model: str, found: Found) -> None:
        """Try one case."""
        rng, user = self.rng, str(self.rng.choice(self.users))
        said = [await self.say(user, kind) for kind in ("like", "dislike", "like")] if rng.random() < 0.25 else []
        plain = await self.list_of(user, model)
        edits = [one.format(genre=rng.choice(GENRES)) for one in rng.choice(EDITS, rng.integers(1, 4), replace=False)]
        edits = edits if rng.random() < 0.5 else []
        if edits:
            self.profiles.edit_as(user, edits, None)
            self.service.people.forget(user)
        now = await self.list_of(user, model) if edits else plain
        item = str(rng.choice(now[:50] if rng.random() < 0.7 else plain))
        why = await self.service.why(Wanted(user, model=model), item)
        promised = [("now", why.place), *((one.item_id, one.place) for one in why.without)]
        got = [place_in(now, item)]
        for one in why.without:
            event = await self.service.accounts.record(Event(user, one.item_id, "hide"))
            got.append(place_in(await self.list_of(user, model), item))
            await self.service.accounts.take_back(user, event.number)
        steered = (await self.service.accounts.person(user)).steering is not None
        if steered:
            promised.append(("without edits", why.without_edits))
            got.append(place_in(plain, item))
        self.profiles.erase(user)
        self.service.people.forget(user)
        for event in said:
            await self.service.accounts.take_back(user, event.number)
        self.count(found, why.exact, edits, promised, got, (user, item))

    async def say(self, user: str, kind: str) -> Event:
        pool = await self.list_of(user, "ease")
        item = str(self.rng.choice([*pool[:100], "new0"]))
        return await self.service.accounts.record(Event(user, item, kind))

    @staticmethod
    def count(
        found: Found, exact: bool, edits: Sequence[str], promised: Sequence[tuple[str, int | None]],
        got: Sequence[int | None], who: tuple[str, str],
    ) -> None:  # fmt: skip
        right = [place == there for (_, place), there in zip(promised, got, strict=True)]
        found.cases += 1
        found.true += all(right)
        found.promises += len(right)
        found.kept += sum(right)
        found.exact += exact
        found.exact_true += exact and all(right)
        found.unedited += not edits
        found.unedited_exact += exact and not edits
        if not all(right):
            told = {"user": who[0], "item": who[1], "edits": list(edits), "promised": list(promised), "got": list(got)}
            found.wrong.append(told)


def place_in(ids: Sequence[str], item_id: str) -> int | None:
    return ids.index(item_id) + 1 if item_id in ids else None


async def measured(service: Service, profiles: Any, cases: int) -> dict[str, Found]:
    for place, (title, text, attributes) in enumerate(NEW):
        service.items.add(NewItem(f"new{place}", title, text, attributes, None, {}))
    asked, found = Cases(service, profiles, np.random.default_rng(SEED)), {}
    for rest, config in enumerate(reversed(RANKERS)):
        name = config["name"]
        found[name] = Found()
        for _ in range((cases - sum(one.cases for one in found.values())) // (len(RANKERS) - rest)):
            await asked.one(name, found[name])
        print(line(name, found[name]), flush=True)
    return found


def line(name: str, one: Found) -> str:
    share = f"{one.unedited_exact / one.unedited:.1%}" if one.unedited else "–"
    return (
        f"{name:13} {one.cases:4} cases, all places as promised in {one.true:4} ({one.kept} of {one.promises} places); "
        f"exact {one.exact:3}, of these as promised {one.exact_true:3}; exact without edits {share}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, help="Of all rankers together.")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="As of recsys.")
    options = parser.parse_args()
    started = time.process_time()
    workflow = Workflow(read_config(HERE / "config.toml", tuple(options.overrides)))
    trained = {config["name"]: workflow.train(config) for config in RANKERS}
    with tempfile.TemporaryDirectory() as folder:
        hosting = Hosting(str(trained["ease"].path), state=f"{folder}/state.sqlite", visuals=False)
        host = Host(workflow, hosting)
        service = host.service()
        for name, artifact in trained.items():
            if name not in service.models.now.engines:
                service.models.add(name, str(artifact.path))
        found = asyncio.run(measured(service, host.profiles, options.cases))
        service.close()
        host.release()
    linear = [found[name] for name in LINEAR]
    total = {
        "cases": sum(one.cases for one in found.values()), "true": sum(one.true for one in found.values()),
        "exact": sum(one.exact for one in found.values()), "exact_true": sum(one.exact_true for one in found.values()),
        "sums_exact_without_edits": sum(one.unedited_exact for one in linear) / sum(one.unedited for one in linear),
    }  # fmt: skip
    print(json.dumps(total))
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(),
        "cpu_s": round(time.process_time() - started, 1), "total": total,
        "rankers": {name: vars(one) for name, one in found.items()},
    }  # fmt: skip
    write_json(HERE / "results.json", report)


if __name__ == "__main__":
    main()
