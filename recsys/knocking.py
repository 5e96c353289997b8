"""What the modalities are worth: rankers trained, and asked, with altered features, compared with the intact ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from recsys.comparison import Comparison
from recsys.console import columns
from recsys.core.artifact import Artifact
from recsys.core.errors import ArtifactError, ConfigError, RankerError, did_you_mean
from recsys.core.protocols import SwapsFeatures
from recsys.evaluation.knockout import HOWS, Knockout, reads
from recsys.evaluation.result import Evaluation
from recsys.evaluation.significance import compare
from recsys.evaluation.wording import NOTHING, fixed, p_value, verdict
from recsys.rankers.store import load_ranker, uses_features
from recsys.workflow import Workflow

FIGURES = ("mean", "difference", "low", "high", "p", "p_holm")
WHENS = ("training", "test")
TITLE = "What the modalities are worth"
WITHOUT = {  # by the verdict on the ranker trained without; None: it could not be
    None: "going without them could not be trained",
    "worse": "there is a gain over going without them",
    "no difference shown": "no gain over going without them is shown",
    "better": "it does better without them",
}
SHUFFLED = {
    "worse": "it loses when they are shuffled",
    "no difference shown": "no loss is shown when they are shuffled",
    "better": "it does better when they are shuffled: what they tell of each item misleads it",
}
SAID = {  # by both verdicts, where the two together say more
    ("worse", "worse"): "the gain over going without them is lost when they are shuffled",
    ("worse", "no difference shown"): "there is a gain over going without them, but no loss is shown when they are "
    "shuffled: that the gain is what they tell of each item is not shown",
}


@dataclass(frozen=True)
class Knocked:
    """One ranker with one knockout: the figures, or why there are none.

    Attributes:
        ranker: its name in the comparison.
        knockout: what was altered; ``None``: the ranker as it was.
        when: ``"training"`` (trained anew) or ``"test"`` (as trained, reading other features); empty if intact.
        figures: ``FIGURES``, differences are from intact; empty where it could not be done.
        weights: what the ranker then tells of its weights.
        note: why there are no figures.
    """

    ranker: str
    knockout: Knockout | None
    when: str
    figures: Mapping[str, float]
    weights: Mapping[str, float]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; ``knocked_out`` is empty for the intact ranker."""
        what = self.knockout
        return {
            "ranker": self.ranker, "knocked_out": list(what.modalities) if what else [],
            "how": what.how if what else "intact", "when": self.when,
            **{name: self.figures.get(name) for name in FIGURES}, "weights": dict(self.weights), "note": self.note,
        }  # fmt: skip


@dataclass(frozen=True)
class Knocking:
    """The knockouts of a comparison: each modality by itself, and all of them at once if there are several."""

    comparison: Comparison
    groups: Sequence[tuple[str, ...]]

    @classmethod
    def of(cls, comparison: Comparison, wanted: str) -> Knocking:
        """Take modalities as the user names them: ``"image,text"`` or ``"all"``.

        Raises:
            ConfigError: no ranker compared reads features, or there is no such modality.
        """
        readers = [one.config["ranker"] for one in comparison.trained if uses_features(one.config["ranker"])]
        if not readers:
            raise ConfigError("--knockout", "no ranker compared reads item features", "Such as content_ease, freedom.")
        there = sorted(set().union(*(reads(config, _there(comparison.workflow, config)) for config in readers)))
        names = there if wanted == "all" else list(dict.fromkeys(name.strip() for name in wanted.split(",")))
        for name in names:
            if name not in there:
                cause = "no ranker compared reads such item features"
                raise ConfigError(f"--knockout {name}", cause, did_you_mean(name, [*there, "all"]))
        return cls(comparison, [(name,) for name in names] + ([tuple(names)] if len(names) > 1 else []))

    @cached_property
    def rows(self) -> list[Knocked]:
        """Return one row a ranker, knockout and time; the intact ranker comes first."""
        pairs = zip(self.comparison.trained, self.comparison.evaluations, strict=True)
        return [row for one, found in pairs if uses_features(one.config["ranker"]) for row in self._of(one, found)]

    def _of(self, trained: Artifact, intact: Evaluation) -> list[Knocked]:
        """Train and measure all knockouts of a ranker, then test their differences from it together."""
        made: list[tuple[Knockout, str, Evaluation | str, Mapping[str, float]]] = []
        workflow, config = _as_trained(self.comparison.workflow, trained), trained.config["ranker"]
        for group in self.groups:
            for how in HOWS:
                knockout = Knockout(how, group).met(config)
                if knockout is None or knockout.modalities != group:
                    continue  # the ranker does not read all of them
                made += [(knockout, when, *self._measured(workflow, trained, knockout, when)) for when in WHENS]
        figures = self._figures(intact, [found for _, _, found, _ in made if isinstance(found, Evaluation)])
        rows = [Knocked(intact.name, None, "", figures[intact.name], told_weights(trained))]
        for knockout, when, found, weights in made:
            known = isinstance(found, Evaluation)
            told = figures[found.name] if known else {}
            rows.append(Knocked(intact.name, knockout, when, told, weights, "" if known else found))
        return rows

    def _measured(
        self, workflow: Workflow, trained: Artifact, knockout: Knockout, when: str
    ) -> tuple[Evaluation | str, Mapping[str, float]]:
        """Return the evaluation and the weights, or a sentence why it cannot be."""
        measure = self.comparison.workflow
        try:
            if when == "training":
                one = workflow.train(trained.config["ranker"], knockout=knockout)
                made, weights = measure.evaluate(one, self.comparison.part), told_weights(one)
            elif not swaps(load_ranker(trained.path)):
                return "it cannot be given other features once it is trained", {}
            else:
                made, weights = measure.evaluate(trained, self.comparison.part, knockout=knockout), {}
        except RankerError as error:
            if knockout.how != "zero":
                raise
            return f"{error.thing}: {error.cause}", {}  # a ranker of pictures alone, without any picture
        return Evaluation.load(made.path).renamed(f"{knockout.label} at {when}"), weights

    def _figures(self, intact: Evaluation, others: Sequence[Evaluation]) -> dict[str, dict[str, float]]:
        settings = self.comparison.workflow.config.evaluation
        found = compare(
            [intact, *others], intact.name, self.comparison.metric, settings.resamples, level=settings.level
        ).to_dicts()
        return {row["name"]: {name: row[name] for name in FIGURES if row[name] is not None} for row in found}

    def sentences(self) -> list[str]:
        """Return, for each ranker and knockout at training, what is shown of its gain and of shuffling."""
        rows = {(row.ranker, row.knockout): row for row in self.rows if row.when == "training"}
        return [self._sentence(row, rows.get((row.ranker, replace(row.knockout, how="zero"))))
                for (_, knockout), row in rows.items() if knockout.how == "shuffle"]  # fmt: skip

    def _sentence(self, shuffled: Knocked, without: Knocked | None) -> str:
        """Say what is shown of going without the modality, and of shuffling it; what is not shown is said to be so."""
        metric, without = self.comparison.metric, without if without and without.figures else None
        found = (self._verdict(without) if without else None, self._verdict(shuffled))
        said = SAID.get(found) or f"{WITHOUT[found[0]]}; {SHUFFLED[found[1]]}"
        told = f"shuffled {_gap(shuffled.figures)}, p (Holm) {p_value(shuffled.figures['p_holm'])}"
        rest = f"; without {_gap(without.figures)}, p {p_value(without.figures['p_holm'])}" if without else ""
        return (
            f"{shuffled.ranker}, {' and '.join(shuffled.knockout.modalities)} vectors: {said} ({metric}: {told}{rest})."
        )

    def _verdict(self, row: Knocked) -> str:
        return verdict(row.figures["difference"], row.figures["p_holm"], 1 - self.comparison.level)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {"metric": self.comparison.metric, "rows": [row.to_dict() for row in self.rows],
                "sentences": self.sentences()}  # fmt: skip

    def table(self) -> list[dict[str, str]]:
        """Return one row a ranker and knockout, with what it gives at training and at test, as text."""
        metric, level = self.comparison.metric, self.comparison.level_text
        names = {
            when: (f"{metric} {word} so", f"from intact, {word} ({level})", f"p, {word}")
            for when, word in zip(WHENS, ("trained", "asked"), strict=True)
        }
        lines: dict[tuple[str, Knockout | None], dict[str, str]] = {}
        for row in self.rows:
            what, figures = row.knockout, row.figures
            head = {"ranker": row.ranker, "knocked out": "+".join(what.modalities) if what else NOTHING,
                    "how": what.how if what else "intact"}  # fmt: skip
            head |= {name: "" for columns_of in names.values() for name in columns_of}
            line = lines.setdefault((row.ranker, what), head)
            told = (fixed(figures.get("mean")), _gap(figures), p_value(figures.get("p_holm")))
            line |= zip(names[row.when], told, strict=True) if what else {names["training"][0]: told[0]}
        return list(lines.values())

    def notes(self) -> list[str]:
        """Return the weights that rankers tell, and why figures are missing."""
        lines = [
            f"weights of {row.ranker}{_knocked(row)}: "
            + ", ".join(f"{name} {weight:.2f}" for name, weight in row.weights.items())
            for row in self.rows
            if row.weights and (row.knockout is None or row.knockout.how == "shuffle")
        ]
        missing = dict.fromkeys(f"{row.ranker} ({row.when}): {row.note}" for row in self.rows if row.note)
        return [*lines, *missing]

    def to_text(self) -> str:
        """Return table, sentences and notes for a terminal."""
        return "\n".join([f"{TITLE}:", columns(self.table()), *self.sentences(), *self.notes()])


def told_weights(trained: Artifact) -> dict[str, float]:
    """Return what a ranker tells of its weights: those of members, of modalities, the share of pictures."""
    config = trained.config["ranker"]
    if config.get("members"):
        ranker = load_ranker(trained.path)
        pairs = list(ranker.told_weights()) if hasattr(ranker, "told_weights") else []
        names = [name for name, _ in pairs]
        return {name if names.count(name) == 1 else f"{name} {n + 1}": float(w) for n, (name, w) in enumerate(pairs)}
    shares = {"image (share)": config["image_weight"]} if "image_weight" in config else {}
    told = config.get("weights") or {}
    return shares | {name: float(weight) for name, weight in told.items() if isinstance(weight, int | float)}


def swaps(ranker: Any) -> bool:
    """Return whether the ranker can be given other features; of a fusion, all members that read any must."""
    members = getattr(ranker, "members", None)
    if members:
        return all(swaps(member) for member in members if getattr(member, "uses_features", False) or _joins(member))
    return isinstance(ranker, SwapsFeatures)


def _joins(ranker: Any) -> bool:
    return bool(getattr(ranker, "members", None))


def _there(workflow: Workflow, config: Mapping[str, Any]) -> list[str]:
    return sorted(workflow.features(config.get("modalities", ())).matrices)


def _as_trained(workflow: Workflow, trained: Artifact) -> Workflow:
    """Return a workflow with the seed and metric that the ranker was trained with, of the same split.

    Raises:
        ArtifactError: the ranker read other item vectors than the configuration's.
    """
    seed, metric = trained.config["seed"], trained.config["metric"]
    other = workflow.with_settings(f"run.seed={seed}", f"evaluation.metric={metric}")
    vars(other).update({name: vars(workflow)[name] for name in ("_data", "_split") if name in vars(workflow)})
    wanted = trained.config["ranker"].get("modalities", ())
    before = {parent["key"] for parent in trained.manifest["parents"] if parent["kind"] == "items"}
    if before != {artifact.key for artifact in other.items(wanted).values()}:
        raise ArtifactError(
            f"ranker {trained.path.name}", "was trained on other item vectors than this configuration's",
            "Give the same --config and --set as when it was trained, or train it again.",
        )  # fmt: skip
    return other


def _gap(figures: Mapping[str, float]) -> str:
    if "difference" not in figures:
        return NOTHING
    low, high = (fixed(figures[end], sign=True) for end in ("low", "high"))
    return f"{fixed(figures['difference'], sign=True)} ({low} to {high})"


def _knocked(row: Knocked) -> str:
    return f" trained on {row.knockout.label}" if row.knockout else ""
