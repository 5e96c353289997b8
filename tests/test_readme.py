"""The README says only what runs: its commands, its Python and its TOML are taken from it and executed."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.items import DESCRIBERS, make_describer
from recsys.profiles.llm import LANGUAGE_MODELS, make_language_model
from recsys.rankers.store import resolved
from recsys.runconfig import read_config

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def test_commands_by_hand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    commands = [line for line in blocks("bash")[1].splitlines() if line.startswith("recsys ")]
    assert len(commands) >= 9
    for line in commands:
        arguments = shlex.split(line, comments=True)[1:]
        if "ranker.name=lightgcn" in arguments:
            arguments += ["--set", "ranker.epochs=2", "--set", "ranker.embedding_dim=8"]  # the test is of the words
        if arguments[0] == "encode":
            arguments = ["doctor", "--settings", "items.minilm"]  # encoding has its own test
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, f"{line}\n{done.output}"
    assert (folder / "report.html").is_file()


def test_commands_that_need_a_model_or_pictures_have_verbs_options_and_settings_that_exist() -> None:
    """They are not run: ``--help`` at the end makes click read all options, and the settings are read by themselves."""
    commands = [line for block in blocks("bash")[2:] for line in block.splitlines() if line.startswith("recsys ")]
    assert len(commands) >= 6
    for line in commands:
        arguments = shlex.split(line, comments=True)[1:]
        done = CliRunner().invoke(main, [*arguments, "--help"])
        assert done.exit_code == 0, f"{line}\n{done.output}"
        resolved(read_config(None, tuple(re.findall(r"--set (\S+)", line))).ranker)
        for section in re.findall(r"--settings (\S+)", line):
            assert CliRunner().invoke(main, ["doctor", "--settings", section]).exit_code == 0, line


def test_further_settings_are_settings(folder: Path) -> None:
    for number, text in enumerate(blocks("toml")[1:]):
        path = folder / f"more{number}.toml"
        path.write_text(text)
        config = read_config(path)
        items, llm = config.items, config.llm
        assert items.describe.describer in DESCRIBERS or llm.model in LANGUAGE_MODELS
        if items.describe.describer != "none":
            make_describer(items.describe.describer, items.options[items.describe.describer])
        if llm.model != "none":
            make_language_model(llm.model, llm.options[llm.model])


def test_library_lines(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(folder)
    exec(compile(blocks("python")[0], "README.md", "exec"), {})
    assert "because of" in capsys.readouterr().out


def test_a_ranker_in_one_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (folder / "my_file.py").write_text(blocks("python")[1])
    done = CliRunner().invoke(main, ["evaluate", "-q", "--set", "ranker={name='my_file:Newest'}"])
    assert done.exit_code == 0, done.output
    assert "Newest" in done.output


def test_the_run_file_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the file says data/samples
    path = folder / "run.toml"
    path.write_text(blocks("toml")[0])
    for verb in ("train", "evaluate"):
        arguments = [verb, "-q", "-c", str(path), "--artifacts", str(folder / "own"), "--set", "ranker.epochs=2"]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
    assert "sasrec" in done.output


def test_the_file_map_names_files_that_exist() -> None:
    text = README.partition("## The files")[2].split("```")[1]
    for name in re.findall(r"^  (\w+)/ ", text, flags=re.M):
        assert (ROOT / "recsys" / name).is_dir(), name
    for name in re.findall(r"\b(\w+\.(?:py|toml))\b", text):
        assert any(list((ROOT / folder).rglob(name)) for folder in ("recsys", "experiments", "tests")), name


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_every_ranker_and_split_is_named() -> None:
    from recsys.rankers import RANKERS

    for name in RANKERS:
        assert f"| `{name}` |" in README
