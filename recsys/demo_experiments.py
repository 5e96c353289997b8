"""The demo's experiments: settings chosen on validation, components of a run switched off, and what is left out."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from recsys.ablation.plan import Plan
from recsys.ablation.report import worth_section
from recsys.ablation.running import Ablation
from recsys.evaluation.report import Section
from recsys.executing import Serial
from recsys.tuning.outcome import Tuned
from recsys.tuning.page import trials_plot
from recsys.tuning.rounds import Tuning
from recsys.tuning.searchfile import read_search
from recsys.workflow import Workflow

FOLDER = "demo-experiments"  # below the results: what is trained here is not to be taken for the demo's rankers


def tuning_section(workflow: Workflow) -> Section:
    """Return the search of demo_search.toml: its best, and all trials of the ranker with several settings."""
    root = workflow.store.root / FOLDER
    workflow = workflow.with_settings(f"run.artifacts={json.dumps(str(root))}", "items.text='none'")
    with resources.as_file(resources.files("recsys") / "demo_search.toml") as path:
        search = read_search(path)
    tuning = Tuning(workflow, search, root / "trials.journal", Serial())
    tuning.run()
    tuned = Tuned(tuning)
    several = max(range(len(tuned.spaces)), key=lambda place: len(tuned.spaces[place].axes))
    told = (
        f"{tuned.verdict} Drawn: every trial of {tuned.spaces[several].label}, the best quarter in colour. By hand: "
        "recsys tune --search search.toml, which goes on where it was when it is killed."
    )
    figure = trials_plot(tuned, tuned.spaces[several], several)
    return Section("Settings, chosen on validation", told, tuned.table(), figure)


def ablation_section(artifacts: Path) -> Section:
    """Return what the components of demo_ablation.toml are worth, two seeds each."""
    override = f"run.artifacts={json.dumps(str(artifacts / FOLDER))}"
    with resources.as_file(resources.files("recsys") / "demo_ablation.toml") as path:
        plan = Plan.read(path, (override,))
    found = Ablation.run(plan, Serial(), log=lambda message: None)
    made = worth_section(found, found.variants[0], 0, ": a fusion of three")
    told = (
        f"{_asked(plan)}\n\n{made.text}\n\nBy hand: recsys ablate run.toml, whose report has means, segments, costs "
        "and curves, too."
    )
    return Section(made.title, told, made.table, made.figure_svg)


def _asked(plan: Plan) -> str:
    """Say which members the components are, and what was measured on."""
    settings = plan.settings
    members = ", ".join(f"{name} is {' and '.join(one.without)}" for name, one in settings.components.items())
    return (
        f"A fusion without each of its members in turn: {members}. Measured on the {settings.part} part, trained with "
        f"{len(settings.seeds)} seeds. Chosen before: {settings.chosen}."
    )


def elsewhere_section() -> Section:
    """Return what the package does, too, and the demo does not show."""
    told = (
        "The benchmark puts these rankers beside those of RecBole, implicit, Cornac and LensKit, all tuned alike on "
        "the same splits. It takes hours, and environments of its own. By hand: make peers, then recsys benchmark "
        "experiments/benchmark/config.toml.\n\n"
        "More cores and machines share the work of encode, tune, ablate and benchmark (--workers, --executor ray), and "
        "train one ranker together: recsys train --set ranker.name=sasrec --set ranker.devices=2, on a Ray cluster "
        "with --executor ray.\n\n"
        "Tracking copies settings, learning curves and test metrics to TensorBoard or MLflow. By hand: recsys train "
        "--set run.track=tensorboard."
    )
    return Section("Not in this demo", told)
