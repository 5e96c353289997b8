"""Profiles of a run in the words of a language model: what is shown changes, what rankings read does not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from recsys.core.amounts import amount
from recsys.profiles.concepts import Concepts
from recsys.profiles.llm import LANGUAGE_MODELS, make_language_model
from recsys.profiles.llm.budget import Budget, Usage
from recsys.profiles.llm.cache import AnswerCache
from recsys.profiles.llm.protocol import LanguageModel
from recsys.profiles.llm.session import Session
from recsys.profiles.llm.writer import LLMWriter, Written
from recsys.profiles.schema import UserProfile
from recsys.profiling import Profiling
from recsys.statefiles import StateFiles
from recsys.workflow import Workflow

NOBODY = "none"  # llm.model: profiles are told by code alone


@dataclass(frozen=True)
class Worded:
    """A profile in words, and what that took.

    Attributes:
        written: the profile, and what was dropped.
        model: identity of the language model.
        used: calls, answers from the cache, tokens and seconds.
    """

    written: Written
    model: str
    used: Usage

    def to_text(self) -> str:
        """Return one line on how it went."""
        if self.written.note:
            return f"told without the language model: {self.written.note}"
        used, written = self.used, self.written
        return (
            f"worded by {self.model}: {written.kept} of {written.said} sentences and searches passed the check; "
            f"{amount(used.calls, 'question')} asked, {used.hits} answered from the cache"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        plain = {name: value for name, value in asdict(self.written).items() if name != "profile"}
        return {"model": self.model, **plain, "used": asdict(self.used)}


class Wording:
    """Words profiles by the configured language model.

    Args:
        workflow: the run; its section ``llm`` says by which model, and what that may use.
        concepts: that the profiles were built with.

    Raises:
        ConfigError: no such model or setting.
        RecsysError: the model's package is not installed, or its files are not there.
    """

    def __init__(self, workflow: Workflow, concepts: Concepts) -> None:
        self.workflow, self.concepts = workflow, concepts
        self.model = configured_model(workflow)
        self.identity = self.model.identity()
        self.budget = Budget(workflow.config.llm.budget)

    @classmethod
    def of(cls, profiling: Profiling) -> Wording | None:
        """Return the wording of a run's profiles; ``None`` where no language model is configured.

        Raises:
            RecsysError: as the constructor.
        """
        if profiling.workflow.config.llm.model == NOBODY:
            return None
        return cls(profiling.workflow, profiling.builder.concepts)

    def word(self, profile: UserProfile) -> Worded:
        """Return a profile in words; where the model fails, the profile as it is, with a note.

        Of somebody new no answer is kept: nobody could ask for it to be forgotten.
        """
        cache = AnswerCache() if profile.user_id is None else answers_of(self.workflow)
        before = asdict(self.budget.used)
        writer = LLMWriter(Session(self.model, cache, self.budget), self.concepts, self.workflow.config.llm.writer)
        written = writer.write(profile, run=self.workflow.run)
        used = {name: value - before[name] for name, value in asdict(self.budget.used).items()}
        return Worded(written, self.identity, Usage(**used))


def configured_model(workflow: Workflow) -> LanguageModel:
    """Return the run's language model, not loaded yet; what it unpacks it keeps beside the run's results.

    Raises:
        ConfigError: no such model or setting.
    """
    section = workflow.config.llm
    settings = section.options.get(section.model, {})
    if "artifacts" in LANGUAGE_MODELS.load(section.model).Settings.model_fields:
        settings = {"artifacts": workflow.store.root, **settings}
    return make_language_model(section.model, settings)


def answers_of(workflow: Workflow) -> AnswerCache:
    """Return what models answered about a data set's users: a file beside their edited profiles."""
    return AnswerCache(StateFiles(workflow).answers)
