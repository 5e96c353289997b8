"""Are profiles borne out by the history, by nothing else, and at what cost?

    RECSYS_DATA=<folder of data sets> python experiments/profile_faithfulness/measure.py

MovieLens latest-small, random split, all users. Proof is ``recsys.profiles.verifying.verify`` against the user's own
history. Its controls: every concept that a history has more of than popularity gives, said without any test (before
the filter); and every profile checked against the history of the next user. Evidence: what a statement cites is taken
out of the history; control: as many items drawn at random. Leaks: no id, title or date of validation and test among a
profile's strings, no such title within its sentences, and the same profiles where those interactions are deleted;
control: profiles of all interactions, in which the probe must find them. Then the check of a language model's
sentences, on true and untrue ones; last the embedded model, for 20 users, twice.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from leaks import Leaks, leaks
from proof import SEED, proof, ratio, without_evidence

from recsys.core.artifact import commit, versions, write_json
from recsys.evaluation.significance import bootstrap_interval
from recsys.profiles.history import History
from recsys.profiles.llm.cache import AnswerCache
from recsys.profiles.llm.check import fault
from recsys.profiles.llm.facts import Facts
from recsys.profiles.llm.phrasing import merged, sentence_choices
from recsys.profiles.llm.session import Session
from recsys.profiles.llm.writer import LLMWriter, Written, same_ranking
from recsys.profiles.schema import UserProfile
from recsys.profiles.verifying import verify
from recsys.profiling import Profiling
from recsys.runconfig import read_config
from recsys.wording import configured_model
from recsys.workflow import Workflow

CONFIG = Path(__file__).parents[1] / "latest_small_random" / "config.toml"
WORDED = 20
LANGUAGE = ("llm.model=smollm", "llm.writer.noun=films")


# -- the check of sentences -----------------------------------------------------------------------------------


def checked(profiling: Profiling, profiles: Sequence[UserProfile]) -> dict[str, Any]:
    """Return how many sentences pass the check that a language model's go through: true ones, and untrue ones.

    True: those that code writes of a profile for a model to choose among. Untrue: the same, said of the next user with
    whom the profile has no concept in common.
    """
    writer = profiling.workflow.config.llm.writer
    all_facts = [one for one in (Facts(each, profiling.builder.concepts, writer.noun) for each in profiles) if one.all]
    about = [{one.statement.concept for one in facts.all}.union(*facts.names.values()) for facts in all_facts]
    own, others = [], []
    for place, facts in enumerate(all_facts):
        said = list(dict.fromkeys(chain.from_iterable(sentence_choices(facts, merged(facts)[0]))))
        own.append((len(said), sum(fault(one, facts) is not None for one in said)))
        order = (np.arange(1, len(all_facts)) + place) % len(all_facts)
        stranger = next((all_facts[each] for each in order if not about[each] & about[place]), None)
        if stranger is not None:
            others.append((len(said), sum(fault(one, stranger) is not None for one in said)))
    return {name: passing(counts) for name, counts in (("own", own), ("of_a_stranger", others))}


def passing(counts: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return profiles, sentences and the share that passes of counts ``(said, refused)``."""
    said, refused = np.array(counts, dtype=np.float64).T
    return {"profiles": len(counts), "sentences": int(said.sum()), "passing": ratio(said - refused, said)}


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
        "users": n, "load_s": load_s, **sums, "used": asdict(session.budget.used),
        "failed": sum(bool(one.note) for one in written),
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
    lines += ["", "| sentences | number | pass the check |", "|---|---|---|"]
    lines += [f"| {name} | {one['sentences']:,} | {share(one['passing'])} |" for name, one in report["checked"].items()]
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
        "checked": checked(profiling, profiles),
        "worded": worded(profiling, histories, profiles),
    }  # fmt: skip
    write_json(Path(__file__).with_name("results.json"), report)
    print(table(report))


if __name__ == "__main__":
    main()
