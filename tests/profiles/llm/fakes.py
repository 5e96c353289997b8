"""Language models of a few lines, and a profile that they are asked about."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from recsys.core.config import Settings as BaseSettings
from recsys.core.runtime import Run
from recsys.profiles.concepts import Concept, Concepts
from recsys.profiles.llm.protocol import Answer, Likelihoods, Prompt
from recsys.profiles.schema import Change, Evidence, Interest, Origin, Statement, UserProfile

CONCEPTS = Concepts(
    (
        Concept("genre:Horror", "horror", "text", "horror"),
        Concept("genre:Comedy", "comedies", "text", "comedy"),
        Concept("genre:Western", "westerns", "text", "western"),
        Concept("year:1980s", "items of the 1980s", "text", "1980s"),
        Concept("term:vampire", "items about “vampire”", "text", "vampire"),
        Concept("pictures:1", "items with dark, muted pictures, like those of horror and war", "image"),
        Concept("neighbours:1", "what others take along with Jaws and Big", "behaviour"),
    ),
    sp.csc_array((5, 7), dtype=np.float32),
)


def cited(*numbers: int, titles: Sequence[str] = ()) -> tuple[Evidence, ...]:
    told = titles or [f"Film {n} (1985)" for n in numbers]
    return tuple(Evidence(item_id=f"i{n}", title=title) for n, title in zip(numbers, told, strict=False))


def statement(key: str, evidence=(), polarity: str = "like", **changes) -> Statement:
    told = {"id": f"s-{key}", "text": f"About {key}.", "weight": 0.5, "modality": "text", **changes}
    return Statement(concept=key, polarity=polarity, evidence=tuple(evidence), **told)


def a_profile(user_id: str = "u1", titles: Sequence[str] = (), **changes) -> UserProfile:
    """Likes horror (of the 1980s, and about vampires), a neighbourhood and dark pictures; dislikes comedies."""
    first, second = (titles[:4], titles[4:]) if titles else ((), ())
    made = {
        "user_id": user_id,
        "summary": "This user leans to horror.",
        "statements": (
            statement("genre:Horror", cited(1, 2, 3, 4, titles=first), weight=0.8),
            statement("year:1980s", cited(1, 2, 5)),
            statement("term:vampire", cited(6, 7, 8)),
            statement("genre:Comedy", cited(9, 10), polarity="dislike"),
            statement("neighbours:1", cited(11, 12, titles=second or ("Jaws", "Big!")), modality="behaviour"),
            statement("pictures:1", cited(1, 2), modality="image"),
        ),
        "interests": (Interest(name="Horror", share=0.6, concepts=("genre:Horror", "year:1980s"), examples=cited(1)),),
        "queries": ("horror 1980s", "vampire"),
        "changes": (Change(text="More vampires.", concept="term:vampire", before=0.1, lately=0.5, evidence=cited(6)),),
        "origin": Origin(history=40, data="d", builder="b"),
    }
    return UserProfile(**{**made, **changes})


class Fake:
    """Answers by a function; tells likelihoods by another."""

    class Settings(BaseSettings):
        batch_size: int = 2

    def __init__(self, answer: Callable[[str], str], likes: Callable[[str, str], float] | None = None) -> None:
        self.settings, self.answer, self.likes = self.Settings(), answer, likes
        self.writes_freely = likes is None
        self.name, self.asked = "fake 1", []

    def identity(self) -> str:
        return self.name

    def count_tokens(self, prompt: Prompt) -> int:
        return len(text_of(prompt).split())

    def answers(
        self, prompts: Sequence[Prompt], *, max_tokens: int, seed: int | None, run: Run
    ) -> Iterator[tuple[int, Answer]]:
        for place, prompt in reversed(list(enumerate(prompts))):
            self.asked.append(text_of(prompt))
            text = self.answer(text_of(prompt))
            yield place, Answer(text, self.count_tokens(prompt), len(text.split()))

    def score(self, prompt: Prompt, choices: Sequence[str], *, run: Run) -> Likelihoods:
        self.asked.append(text_of(prompt))
        log = np.array([self.likes(text_of(prompt), choice) for choice in choices])
        return Likelihoods(log, np.ones(len(choices), np.int64), 7)


def text_of(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(one.content for one in prompt)


def says(**draft) -> Fake:
    """A model that writes this JSON."""
    return Fake(lambda _: json.dumps({"summary": "", **draft}))
