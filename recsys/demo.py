"""The main job, end to end, on the data that comes with the package."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from recsys.comparison import Comparison, best_on_validation
from recsys.core.config import make_settings
from recsys.core.runtime import stopwatch, to_stderr
from recsys.demo_answers import served_section, visual_section
from recsys.demo_experiments import ablation_section, elsewhere_section, tuning_section
from recsys.evaluation.publish import write_report
from recsys.evaluation.report import RecommendedList, Section
from recsys.graph.item_graph import knn_graph
from recsys.knocking import Knocking
from recsys.listing import listed, lists_text
from recsys.profiles.render import bounds
from recsys.profiling import Current, Profiling
from recsys.reporting import build_report, knockout_section
from recsys.runconfig import RunConfig
from recsys.searching import Search
from recsys.serving.recommender import Recommender
from recsys.workflow import Workflow

REPORT = "report.html"


def run_demo(artifacts: Path, *, quiet: bool = False) -> Path:
    """Run ``demo.toml`` and return the path of its report.

    Steps: tables, split, text vectors, every ranker of the file, test metrics with intervals, lists with reasons
    for a user and for a newcomer, items found by words, what the texts were worth, the user's profile, read and edited,
    an item drawn for the user, what a served newcomer gets from like to like, settings searched for on validation,
    components of a fusion switched off, and where to find the rest. What was made is reused.
    """
    plan = tomllib.loads(resources.files("recsys").joinpath("demo.toml").read_text(encoding="utf-8"))
    parts = ("rankers", "people", "search", "knockout", "visual", "served")
    wanted, people, words, knockout, visual, served = (plan.pop(name) for name in parts)
    config = make_settings(RunConfig, {**plan, "run": {**plan.get("run", {}), "artifacts": artifacts}}, "demo.toml")
    shown = not quiet and sys.stderr.isatty()  # a log file wants no bars
    workflow = Workflow(config, progress=shown, log=(lambda message: None) if quiet else to_stderr)
    with stopwatch() as times:
        comparison = _measure(workflow, wanted)
        print(f"{comparison.to_text()}\n{_reference_told(comparison)}\n")
        lists, model = _lists(workflow, comparison, people)
        sections = [_knockouts(comparison, **knockout), _text_section(workflow, model, people["liked"])]
        sections.append(_search_section(workflow, **words))
        sections += _profile_sections(workflow, comparison, people["user"], people["edits"])
        sections.append(visual_section(workflow, people["user"], **visual))
        sections.append(served_section(workflow, comparison, **served))
        sections += [tuning_section(workflow), ablation_section(artifacts), elsewhere_section()]
    report = build_report(
        comparison, "MovieLens 100K: which ranker, and what people get", lists=lists, sections=sections
    )
    report = replace(report, summary=[*report.summary, _reference_told(comparison)])
    workflow.run.log(f"all steps took {times['wall_s']:.0f} s")
    return write_report(report, artifacts / REPORT)


def _measure(workflow: Workflow, wanted: list[dict[str, Any]]) -> Comparison:
    trained = []
    for place, ranker in enumerate(wanted, 1):
        workflow.run.log(f"[{place}/{len(wanted)}] {ranker['name']}")
        trained.append(workflow.train(ranker))
    made = [workflow.evaluate(artifact) for artifact in trained]
    single = [artifact for artifact, ranker in zip(trained, wanted, strict=True) if "members" not in ranker]
    reference = best_on_validation(single, workflow.config.evaluation.metric) or single[0]
    return Comparison.from_artifacts(workflow, trained, made, "test", reference.manifest["name"])


def _reference_told(comparison: Comparison) -> str:
    """Say why differences are from this ranker: a fusion is asked what it adds to the best that it could be made of."""
    return (
        f"All are compared with {comparison.reference}: of the rankers that are no fusion it was the best on "
        "validation, so that what a fusion adds is seen."
    )


def _lists(
    workflow: Workflow, comparison: Comparison, people: dict[str, Any]
) -> tuple[list[RecommendedList], Recommender]:
    model = Recommender.load(comparison.shown.path, artifacts=workflow.store.root, known="train+valid")
    user, liked = people["user"], people["liked"]
    split, data = workflow.loaded_split, workflow.dataset
    row = int(data.users.index([user])[0])
    held_out = {data.items[item] for item in split.test.histories[row]}
    known = model.recommend(user, k=10)
    new = model.recommend(history=liked, k=10)
    print(lists_text({f"user {user}": known, "somebody new who likes " + ", ".join(liked): new}) + "\n")
    recent = split.train_valid.histories[row][::-1][:8]
    name = comparison.shown.manifest["name"]
    why = "" if comparison.chosen else f" (the first ranker; {comparison.choice})"
    told = f"Ranked by {name}{why}; the newest of what is known of this user:"
    first = listed(model, f"User {user}", told, recent, known, held_out)
    told = f"Never seen in training; all that {name} knows is:"
    return [first, listed(model, "Somebody new", told, model.catalogue.find(liked), new, set())], model


def _text_section(workflow: Workflow, model: Recommender, liked: list[str]) -> Section:
    """What the text vectors see: the nearest items of a few titles, so that a person can judge them."""
    made = workflow.items()["text"]
    graph = knn_graph(np.load(made.path / "text.npy", allow_pickle=False), 3)
    rows = []
    for item in model.catalogue.find(liked):
        near = graph[[item]]
        order = np.argsort(-near.data, kind="stable")
        titles = zip(model.dataset.titles(near.indices[order]), near.data[order], strict=True)
        rows.append([model.dataset.titles([item])[0], "; ".join(f"{title} ({value:.2f})" for title, value in titles)])
    results = made.manifest["results"]
    text = (
        f"Title and genres of {results['encoded']:,} of {results['items']:,} items were read by a sentence encoder "
        f"({results['dim']} numbers each). Nearest by meaning, with cosine similarity:"
    )
    return Section("Items as their text tells them", text, (["item", "nearest"], rows), None)


def _search_section(workflow: Workflow, words: Sequence[str], k: int = 5) -> Section:
    """What words find among the texts; pictures, which the joint space is for, do not come with these data."""
    search, rows = Search(workflow), []
    for text in words:
        found = search.by_words(text, "text", k)
        rows.append([text, "; ".join(f"{one.title} ({one.score:.2f})" for one in found)])
    told = "The same encoder reads the words; nearest titles and genres by cosine. By hand: recsys search WORDS."
    return Section("Found by words", told, (["words", "nearest"], rows), None)


def _profile_sections(
    workflow: Workflow, comparison: Comparison, user: str, edits: Sequence[str], k: int = 10
) -> list[Section]:
    """What the profile of a user says, and what edits of it do to the list; nothing of them is kept."""
    profiling = Profiling(workflow)
    built = profiling.built(user)
    rows = [
        [one.text, bounds(one.support) if one.support else "", "; ".join(each.title for each in one.evidence[:3])]
        for one in built.statements
    ]
    told = f"{built.summary} By hand: recsys profile {user}."
    read = Section(f"The profile of user {user}", told, (["statement", "interval", "from, among others"], rows))
    nobody = built.model_copy(update={"user_id": None})
    edited = profiling.edit(Current(nobody, nobody), edits)
    changed = profiling.lists(str(comparison.shown.path), user).change(nobody, edited.after.profile, nobody, k)
    lines = [
        [str(line.place or "out"), str(line.was or "new"), ", ".join(line.because), line.title]
        for line in (*changed.now, *changed.went)
    ]
    told = (
        f"The list of {changed.ranker} after: {'; '.join(edits)}. “Was” is the place before the edits, in a list that "
        "leaves out all that the user took; the list further up was made without the test part, to see whether its "
        f"items are found, so the two differ. By hand: recsys profile {user} --edit …"
    )
    return [read, Section("The list after edits of the profile", told, (["place", "was", "because of", "item"], lines))]


def _knockouts(comparison: Comparison, rankers: Sequence[str], modalities: str) -> Section:
    """What the item vectors are worth to the named rankers, which are trained anew without them."""
    places = [place for place, name in enumerate(comparison.names) if name in rankers]
    trained, made = ([every[place] for place in places] for every in (comparison.trained, comparison.evaluations))
    few = replace(comparison, trained=trained, evaluations=made, reference=made[0].name)
    return knockout_section(Knocking.of(few, modalities))
