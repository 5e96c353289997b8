"""What a search found: its trials, the best run as a file to train, what mattered, a page of plots, a verdict."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator

from recsys.console import columns
from recsys.core.amounts import amount
from recsys.core.artifact import Artifact, commit, versions, write_json
from recsys.core.errors import RankerError
from recsys.core.hashing import file_hash
from recsys.core.tomltext import to_toml
from recsys.evaluation.wording import duration, fixed
from recsys.ranker_names import TUNED
from recsys.tuning.proposing import drawn
from recsys.tuning.rounds import Trial, Tuning, best_of
from recsys.tuning.space import Space

TRIALS = "trials.json"
TOP_SHARE = 0.25  # importance: what it takes to be among this part of the trials
FEWEST, ENOUGH = 8, 20  # complete trials below which nothing is said about importance, or only as a hint
NEAR = 0.02  # part of a range from its end that counts as the end


@dataclass(frozen=True)
class Tuned:
    """The outcome of a search that has ended."""

    tuning: Tuning

    @property
    def spaces(self) -> tuple[Space, ...]:
        return self.tuning.search.spaces

    @cached_property
    def trials(self) -> dict[str, list[Trial]]:
        """Finished trials by ranker, as the file names them."""
        return {space.label: self.tuning.trials(space) for space in self.spaces}

    @cached_property
    def best(self) -> Trial:
        """The best trial of all, the first of equals.

        Raises:
            RankerError: no trial ended well.
        """
        everybody = [trial for trials in self.trials.values() for trial in trials]
        found = best_of(everybody)
        if found is None:
            faults = [trial.error for trial in everybody if trial.error]
            cause = f"no trial ended well ({faults[0] if faults else 'all were stopped'})"
            raise RankerError("search", cause, "Train one point by hand: recsys train.")
        return found

    @cached_property
    def importance(self) -> dict[str, dict[str, float]]:
        """What each setting was worth for being among the best quarter, by ranker; only where trials are enough."""
        found = {space.label: self._importance(space) for space in self.spaces}
        return {label: shares for label, shares in found.items() if shares}

    def rests_on(self, label: str) -> str:
        """Return in words what importance rests on: with few trials another seed may well say otherwise."""
        n = len(self._whole(label))
        return f"{amount(n, 'complete trial')}" + (": a rough hint" if n < ENOUGH else "")

    def _whole(self, label: str) -> list[Trial]:
        return [trial for trial in self.trials[label] if trial.value is not None]

    def _importance(self, space: Space) -> dict[str, float]:
        whole = self._whole(space.label)
        if len(space.axes) < 2 or len(whole) < FEWEST or len({trial.value for trial in whole}) < 2:
            return {}
        study = optuna.create_study(direction="maximize")
        for trial in whole:
            study.add_trial(
                optuna.trial.create_trial(
                    value=trial.value, params=dict(trial.params), distributions=space.distributions
                )
            )
        evaluator = PedAnovaImportanceEvaluator(target_quantile=TOP_SHARE, evaluate_on_local=True)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
        return {name: float(share) for name, share in shares.items()}

    # -- words ---------------------------------------------------------------------------------------------------

    @property
    def verdict(self) -> str:
        """The outcome in one sentence."""
        best, metric = self.best, self.tuning.metric
        others = [trial for label, trials in self.trials.items() if label != best.ranker and (trial := best_of(trials))]
        told = f"Best on validation: {best.ranker}, {metric} {fixed(best.value)}, with {_settings(best)}"
        if others:
            second = max(others, key=lambda trial: trial.value or 0.0)
            told += f"; next is {second.ranker} with {fixed(second.value)}"
        return told + ". Test was not looked at."

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a ranker."""
        return [self._row(space) for space in self.spaces]

    def _row(self, space: Space) -> dict[str, Any]:
        trials, best = self.trials[space.label], self.tuning.best(space)
        states = [trial.state for trial in trials]
        return {
            "ranker": space.label + (" *" if best == self.best else ""),
            "trials": len(trials),
            "stopped": states.count("pruned"),
            "failed": states.count("fail"),
            f"best {self.tuning.metric}": best.value if best else None,
            "seconds": f"{sum(trial.seconds for trial in trials):.1f}",
            "settings": _settings(best) if best else "none ended well",
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the same as text: a head, and the cells of each row."""
        rows = self.rows()
        cells = [
            [fixed(value) if value is None or isinstance(value, float) else str(value) for value in row.values()]
            for row in rows
        ]
        return list(rows[0]), cells

    def notes(self) -> Iterator[str]:
        """Yield what a reader must know: the budget, who proposed, and best values at the end of a range."""
        budget = self.tuning.settings.trials
        yield f"Every ranker had the same budget: {amount(budget, 'trial')}" + self._exhausted()
        yield from self._proposed()
        for space in self.spaces:
            best = self.tuning.best(space)
            for axis in space.axes if best else ():
                if axis.range and (end := axis.range.end_of(best.params[axis.name], NEAR)):
                    yield f"{space.label}: the best {axis.name} lies at the {end} end of its range; widen it there."
        yield "The best of many flatters itself on validation; what it is worth, its one measurement on test says."

    def _exhausted(self) -> str:
        small = [space.label for space in self.spaces if space.size <= self.tuning.settings.trials]
        return f", or all its points where it has no more ({', '.join(small)})." if small else "."

    def _proposed(self) -> Iterator[str]:
        """Yield who chose the points, unless all were tried."""
        settings, n = self.tuning.settings, drawn(self.tuning.settings)
        if all(space.size <= settings.trials for space in self.spaces):
            return
        if settings.sampler == "random":
            yield "Points were drawn at random."
        elif settings.trials <= n:
            after = f"{amount(n, 'trial')} of a ranker (startup, together)"
            yield f"Points were drawn at random: TPE would propose after {after}."
        else:
            yield f"The first {n} points of a ranker were drawn at random, then TPE proposed."

    def to_text(self) -> str:
        return "\n".join([columns(self.rows()), self.verdict, *(f"note: {note}" for note in self.notes())])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        config = self.tuning.workflow.config.model_dump(mode="json", exclude={"ranker"})
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "versions": versions() | {"optuna": optuna.__version__},
            "metric": self.tuning.metric,
            "part": "valid",
            "split": self.tuning.workflow.split().key,
            "tune": self.tuning.settings.model_dump(mode="json"),
            "verdict": self.verdict,
            "best": asdict(self.best),
            "importance": self.importance,
            "trials": [asdict(trial) for trials in self.trials.values() for trial in trials],
            "config": config,
        }

    # -- what it leaves behind: artifacts, so that a name means the best, and files -------------------------------

    def keep_bests(self) -> list[Artifact]:
        """Note the best of each ranker beside the trained ones: it is what the ranker's name then means (``naming``).

        A best whose artifact was deleted since it was tried is left out.
        """
        store, split, kept = self.tuning.workflow.store, self.tuning.workflow.split(), []
        for space in self.spaces:
            best = self.tuning.best(space)
            ranker = store.find(best.key) if best and best.key else None
            if best is None or ranker is None:
                continue
            config = {"label": space.label, "metric": self.tuning.metric, "settings": dict(best.settings)}
            found = {"value": best.value, "trials": len(self.trials[space.label]), "number": best.number}
            config |= {"seed": self.tuning.workflow.config.run.seed, **found}
            name, parents = ranker.manifest["name"], [split, ranker]
            kept.append(store.build(TUNED, name, config=config, parents=parents, write=lambda _, found=found: found))
        return kept

    # -- files ---------------------------------------------------------------------------------------------------

    def write(self, folder: Path) -> list[Path]:
        """Write trials.json, best.toml, a file for the best of each ranker, report.md and plots.html; return them.

        A ranker's name means the best of its trials from then on (``keep_bests``).
        Files of a search before that this one does not have are removed, unless somebody changed them.
        """
        from recsys.tuning.page import page

        self.keep_bests()
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"best.toml": self.toml(self.best), "report.md": self.markdown(), "plots.html": page(self)}
        for space in self.spaces:
            if best := self.tuning.best(space):
                texts[f"best-{_slug(space.label)}.toml"] = self.toml(best)
        for path in _left(folder, texts):
            self.tuning.workflow.run.log(f"removed {path}: of a search before, without a ranker of this one")
            path.unlink()
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        written = {name: file_hash(folder / name) for name in texts}
        write_json(folder / TRIALS, self.to_dict() | {"written": written})
        return [folder / name for name in (TRIALS, *texts)]

    def toml(self, trial: Trial) -> str:
        """Return a whole run that trains a trial's settings: ``recsys train -c`` finds its very artifact."""
        config = self.tuning.workflow.config.model_dump(mode="json") | {"ranker": dict(trial.settings)}
        said = f"{self.tuning.metric} {fixed(trial.value)} on validation"
        which = f"number {trial.number} of {trial.ranker} in {TRIALS}"
        return f"# Trial {which}, chosen by recsys tune: {said}.\n{to_toml(config)}"

    def markdown(self) -> str:
        lines = ["# Settings chosen on validation", "", f"**{self.verdict}**", "", _table(*self.table()), ""]
        lines += [f"- {note}" for note in self.notes()]
        for label, shares in self.importance.items():
            told = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
            what = f"- What decided whether {label} was among its best quarter (shares of 1; {self.rests_on(label)})"
            lines.append(f"{what}: {told}.")
        spent = duration(sum(trial.seconds for trials in self.trials.values() for trial in trials))
        made = f"{datetime.now(UTC):%Y-%m-%d}, {commit()}"
        return "\n".join([*lines, "", f"{made}; {spent} of training in all. Plots: plots.html.", ""])


def _left(folder: Path, names: Collection[str]) -> list[Path]:
    """Return the bests of rankers besides these that the search before wrote into a folder and nobody changed."""
    try:
        before = json.loads((folder / TRIALS).read_text(encoding="utf-8")).get("written", {})
    except (OSError, ValueError, AttributeError):
        return []
    others = [path for path in sorted(folder.glob("best-*.toml")) if path.name not in names]
    return [path for path in others if before.get(path.name) == file_hash(path)]


def _settings(trial: Trial) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in trial.params.items()) or "its settings as given"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _slug(label: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", label).strip("-")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(one.replace("|", "/") for one in row) + " |" for row in rows)])
