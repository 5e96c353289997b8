"""Are profiles borne out by the history, by nothing else, and at what cost?

    RECSYS_DATA=<folder of data sets> python experiments/profile_faithfulness/measure.py

MovieLens latest-small, random split, all users. Proof is ``recsys.profiles.verifying.verify`` against the user's own
history. Its controls: every concept that a history has more of than popularity gives, said without any test (before
the filter); and every profile checked against the history of the next user. Evidence: what a statement cites is taken
out of the history; control: as many items drawn at random. Leaks: no id, title or date of validation and test among a
profile's strings, no such title within its sentences, and the same profiles where those interactions are deleted;
control: profiles of all interactions, in which the probe must find them. Last the embedded language model, for 20
users, twice.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from recsys.core.artifact import commit, versions, write_json
from recsys.core.values import TRAIN, Interactions, Split
from recsys.evaluation.significance import bootstrap_interval
from recsys.profiles.builder import ProfileBuilder
from recsys.profiles.concepts import ItemWorld
from recsys.profiles.history import History
from recsys.profiles.llm.cache import AnswerCache
from recsys.profiles.llm.session import Session
from recsys.profiles.llm.writer import LLMWriter, Written, same_ranking
from recsys.profiles.naming import clean_title, spoken_title
from recsys.profiles.schema import Evidence, Statement, Support, UserProfile
from recsys.profiles.statistics import wilson
from recsys.profiles.verifying import verify
from recsys.profiling import Profiling
from recsys.wording import configured_model
from recsys.workflow import Workflow, read_config

CONFIG = Path(__file__).parents[1] / "latest_small_random" / "config.toml"
SEED, WORDED = 0, 20
LANGUAGE = ("llm.model=smollm", "llm.writer.noun=films")


# -- proof ---------------------------------------------------------------------------------------------------


def unfiltered(builder: ProfileBuilder, taken: History, profile: UserProfile) -> UserProfile:
    """Return a profile that says of every concept which the history has more of than popularity that it is liked."""
    has, n = builder.contrasts.holding(taken), len(taken)
    k, expected = has.sum(axis=0), builder.contrasts.expected(n)
    low, high = wilson(k.astype(np.float64), n)
    said = []
    for column in np.flatnonzero((k >= builder.settings.contrast.least) & (k / n > expected)):
        concept, places = builder.concepts.all[column], np.flatnonzero(has[:, column])[: builder.settings.evidence]
        cited = [
            Evidence(item_id=builder.ids[item], title=builder.titles[item], date=taken.date(int(place)))
            for place, item in zip(places, taken.items[places], strict=True)
        ]
        support = Support(
            kind="share", n=n, n_with=int(k[column]), observed=k[column] / n, expected=expected[column],
            low=low[column], high=high[column],
        )  # fmt: skip
        said.append(Statement(
            id=f"c{column}", text=concept.phrase, polarity="like", weight=0.5, modality=concept.modality,
            concept=concept.key, evidence=tuple(cited), support=support,
        ))  # fmt: skip
    return profile.model_copy(update={"statements": tuple(said)})


def proof(builder: ProfileBuilder, histories: Sequence[History], profiles: Sequence[UserProfile]) -> dict[str, Any]:
    """Return the shares of statements that are borne out: after the filter, before it, by somebody else's history."""
    neighbours = [*histories[1:], histories[0]]
    after, before, others = [], [], []
    for taken, other, profile in zip(histories, neighbours, profiles, strict=True):
        all_said = unfiltered(builder, taken, profile)
        after.append((len(profile.statements), len(verify(profile, builder, taken))))
        before.append((len(all_said.statements), len(verify(all_said, builder, taken))))
        others.append((len(profile.statements), len(verify(profile, builder, other))))
    return {"filtered": borne_out(after), "unfiltered": borne_out(before), "history_of_another": borne_out(others)}


def borne_out(counts: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return statements, and the share borne out with its interval over users, of counts ``(said, refused)``."""
    said, refused = np.array(counts, dtype=np.float64).T
    return {"statements": int(said.sum()), "borne_out": ratio(said - refused, said)}


def ratio(part: np.ndarray, whole: np.ndarray) -> list[float]:
    """Return ``part.sum() / whole.sum()`` and its 95 % interval, percentile bootstrap over users."""
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, len(whole), (2000, len(whole)))
    means = part[drawn].sum(axis=1) / np.maximum(whole[drawn].sum(axis=1), 1)
    return [round(float(x), 4) for x in (part.sum() / whole.sum(), *np.quantile(means, [0.025, 0.975]))]


# -- evidence ------------------------------------------------------------------------------------------------


def without_evidence(
    builder: ProfileBuilder, histories: Sequence[History], profiles: Sequence[UserProfile]
) -> dict[str, Any]:
    """Return what becomes of statements when what they cite, or as much at random, is not in the history."""
    rng = np.random.default_rng(SEED)
    fates: dict[str, list[dict[str, int]]] = {"cited": [], "random": []}
    for taken, profile in zip(histories, profiles, strict=True):
        mine: dict[str, dict[str, int]] = {kind: dict.fromkeys(("gone", "weaker", "said"), 0) for kind in fates}
        for one in profile.statements:
            cited = np.isin([builder.ids[item] for item in taken.items], [each.item_id for each in one.evidence])
            drawn = np.isin(np.arange(len(taken)), rng.permutation(len(taken))[: cited.sum()])
            for kind, out in (("cited", cited), ("random", drawn)):
                fate = after_removal(builder, taken, one, ~out)
                mine[kind]["said"] += 1
                if fate in mine[kind]:
                    mine[kind][fate] += 1
        for kind, counts in mine.items():
            fates[kind].append(counts)
    told = {}
    for kind, counts in fates.items():
        columns = {
            name: np.array([one[name] for one in counts], dtype=np.float64) for name in ("gone", "weaker", "said")
        }
        either = columns["gone"] + columns["weaker"]
        told[kind] = {name: ratio(columns[name], columns["said"]) for name in ("gone", "weaker")}
        told[kind]["either"] = ratio(either, columns["said"])
    return told


def after_removal(builder: ProfileBuilder, taken: History, one: Statement, kept: np.ndarray) -> str:
    """Return ``gone`` where the statement is not found any more, ``weaker`` where it has less strength, ``stays``."""
    pick = lambda array: None if array is None else array[kept]  # noqa: E731
    left = History(taken.items[kept], pick(taken.times), pick(taken.ratings))
    if not len(left):
        return "gone"
    has = builder.contrasts.holding(left)
    found = builder.contrasts.shares(left, has) if one.support.kind == "share" else builder.contrasts.ratings(left, has)
    column = builder.concepts.place[one.concept]
    now = [each.support for each in found if (each.column, each.polarity) == (column, one.polarity)]
    if not now:
        return "gone"
    before, after = (abs(each.observed - each.expected) for each in (one.support, now[0]))
    return "weaker" if after < before else "stays"


# -- leaks ---------------------------------------------------------------------------------------------------


class Leaks:
    """Looks for what a user took in validation and test, in a profile of that user.

    Args:
        split: of the run.
        builder: for ids and titles.
    """

    def __init__(self, split: Split, builder: ProfileBuilder) -> None:
        self.held = split.dataset.interactions.select(split.part != TRAIN)
        self.titles, self.ids = split.dataset.item_table["title"].to_list(), builder.ids
        self.checked = 0

    def found(self, user: int, taken: History, profile: UserProfile) -> list[str]:
        """Return ids, titles and dates of held-out items that are no train item's, and that the profile says."""
        held = history_of(self.held, user)
        whole = set(strings(profile.model_dump(mode="json", exclude={"user_id"})))
        secrets = self._names(held) - self._names(taken)
        self.checked += len(secrets)
        texts = " ".join(one for one in whole if " " in one)
        mine = " ".join(self.titles[item] or "" for item in taken.items)
        spoken = {spoken_title(self.titles[item] or "") for item in held.items} - {
            spoken_title(self.titles[item] or "") for item in taken.items
        }
        told = [one for one in spoken if " " in one and one not in mine and re.search(rf"\b{re.escape(one)}\b", texts)]
        return sorted(secrets & whole) + sorted(told)

    def _names(self, taken: History) -> set[str]:
        names = {name for item in taken.items for name in (self.ids[item], clean_title(self.titles[item] or ""))}
        return (names | {taken.date(place) for place in range(len(taken))}) - {None, ""}


def history_of(interactions: Interactions, user: int) -> History:
    """Return what a user took there."""
    mine = np.flatnonzero(interactions.user_idx == user)
    times, ratings = (None if one is None else one[mine] for one in (interactions.timestamp, interactions.rating))
    return History.of(interactions.item_idx[mine], interactions.n_items, times, ratings)


def strings(value: Any) -> Iterator[str]:
    """Yield every string of a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def leaks(profiling: Profiling, histories: Sequence[History], profiles: Sequence[UserProfile]) -> dict[str, Any]:
    """Return how many profiles tell held-out items, with the control, and how many change once those are deleted."""
    builder, split = profiling.builder, profiling.workflow.loaded_split
    probe = Leaks(split, builder)
    found = [probe.found(user, taken, one) for user, (taken, one) in enumerate(zip(histories, profiles, strict=True))]
    checked, control = probe.checked, 0
    for user, taken in enumerate(histories):
        control += bool(probe.found(user, taken, builder.build(history_of(split.dataset.interactions, user))))
    alone = replace(split.dataset, interactions=split.train, part=None)  # validation and test are deleted
    train = Split(alone, np.full(len(split.train), TRAIN, dtype=np.uint8), split.kind).train
    world = ItemWorld(alone.item_table, profiling.workflow.features(), train)
    anew = ProfileBuilder(profiling.settings).fit(world, run=profiling.workflow.run)
    same = [anew.build(anew.history(user), user_id=one.user_id) == one for user, one in enumerate(profiles)]
    return {
        "strings_looked_for": checked, "profiles_that_tell": sum(map(bool, found)),
        "told": sorted(chain.from_iterable(found)),
        "control_profiles_that_tell": control, "equal_without_held_out": sum(same), "profiles": len(profiles),
    }  # fmt: skip


# -- the language model --------------------------------------------------------------------------------------


def wording(
    profiling: Profiling, profiles: Sequence[UserProfile], cache: Path, *, load: bool
) -> tuple[dict[str, Any], list[Written]]:
    """Return what it takes to word profiles, for these and for 1,000 users.

    Args:
        profiling: of the run.
        profiles: to be worded.
        cache: file of answers.
        load: load the model first, timed by itself; else it is loaded only if the cache lacks an answer.
    """
    workflow = profiling.workflow
    session = Session(configured_model(workflow), AnswerCache(cache))
    writer = LLMWriter(session, profiling.builder.concepts, workflow.config.llm.writer)
    begun = time.perf_counter()
    if load:
        session.model.count_tokens("a word")
    wall, cpu = time.perf_counter(), time.process_time()
    load_s = wall - begun
    written = writer.write_all(profiles, run=workflow.run)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    pairs, n = list(zip(profiles, written, strict=True)), len(profiles)
    sums = {
        "wall_s": wall, "cpu_s": cpu, "said": sum(one.said for one in written),
        "dropped": sum(len(one.dropped) for one in written),
    }  # fmt: skip
    told = {
        "users": n, "load_s": load_s, **sums, "used": asdict(session.budget.used), "failed": sum(bool(one.note) for one in written),
        "same_ranking": sum(same_ranking(old, one.profile) for old, one in pairs),
        "changed_summaries": sum(old.summary != one.profile.summary for old, one in pairs),
        "changed_searches": sum(old.queries != one.profile.queries for old, one in pairs),
        "per_1000_users": session.budget.used.per(n) | {name: value / n * 1000 for name, value in sums.items()},
    }  # fmt: skip
    return told, written


def worded(profiling: Profiling, histories: Sequence[History], profiles: Sequence[UserProfile]) -> dict[str, Any]:
    """Word users with a statement, drawn at random: from nothing, then from the cache."""
    able = np.flatnonzero([len(one.statements) > 0 for one in profiles])
    users = np.sort(np.random.default_rng(SEED).permutation(able)[:WORDED])
    chosen = [profiles[user] for user in users]
    with tempfile.TemporaryDirectory() as folder:
        first, written = wording(profiling, chosen, Path(folder) / "answers.sqlite", load=True)
        second, again = wording(profiling, chosen, Path(folder) / "answers.sqlite", load=False)
    probe = Leaks(profiling.workflow.loaded_split, profiling.builder)
    refused = [
        len(verify(one.profile, profiling.builder, histories[user])) for user, one in zip(users, written, strict=True)
    ]
    telling = [bool(probe.found(user, histories[user], one.profile)) for user, one in zip(users, written, strict=True)]
    return {
        "model": configured_model(profiling.workflow).identity(), "first": first, "second": second,
        "statements_not_borne_out": sum(refused), "profiles_that_tell": sum(telling),
        "same_again": sum(one.profile == other.profile for one, other in zip(written, again, strict=True)),
    }  # fmt: skip


# -- all of it -----------------------------------------------------------------------------------------------


def table(report: dict[str, Any]) -> str:
    """Return the figures as Markdown tables."""
    share = lambda three: "{:.1%} ({:.1%}–{:.1%})".format(*three)  # noqa: E731
    lines = ["| claims | statements | borne out |", "|---|---|---|"]
    lines += [
        f"| {name} | {one['statements']:,} | {share(one['borne_out'])} |" for name, one in report["proof"].items()
    ]
    lines += ["", "| taken out of the history | gone | weaker | gone or weaker |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {' | '.join(share(one[part]) for part in ('gone', 'weaker', 'either'))} |"
        for name, one in report["without_evidence"].items()
    ]
    lines += ["", "| run | wall s | CPU s | calls | from the cache | tokens | dropped of said | wall s, 1,000 users |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for name in ("first", "second"):
        one, used = report["worded"][name], report["worded"][name]["used"]
        tokens = used["tokens_in"] + used["tokens_out"]
        lines.append(
            f"| {name} | {one['wall_s']:.1f} | {one['cpu_s']:.1f} | {used['calls']} | {used['hits']} | {tokens:,} "
            f"| {one['dropped']} of {one['said']} | {one['per_1000_users']['wall_s']:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="As of recsys.")
    options = parser.parse_args()
    shared = Path(os.environ["RECSYS_DATA"]).resolve() / "movielens-latest-small"
    config = read_config(CONFIG, (f"data.raw={json.dumps(str(shared))}", *LANGUAGE, *options.overrides))
    profiling = Profiling(Workflow(config))
    builder, users = profiling.builder, list(profiling.dataset.users)
    wall, cpu = time.perf_counter(), time.process_time()
    histories = [builder.history(user) for user in range(len(users))]
    profiles = [builder.build(taken, user_id=name) for taken, name in zip(histories, users, strict=True)]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    counts = np.array([len(one.statements) for one in profiles], dtype=np.float64)
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "versions": versions(),
        "users": len(users), "without_statement": int((counts == 0).sum()),
        "statements_each": [round(float(x), 3) for x in (counts.mean(), *bootstrap_interval(counts))],
        "profiles_per_s": round(len(users) / wall, 2), "profiles_per_cpu_s": round(len(users) / cpu, 2),
        "proof": proof(builder, histories, profiles),
        "without_evidence": without_evidence(builder, histories, profiles),
        "leaks": leaks(profiling, histories, profiles),
        "worded": worded(profiling, histories, profiles),
    }  # fmt: skip
    write_json(Path(__file__).with_name("results.json"), report)
    print(table(report))


if __name__ == "__main__":
    main()
