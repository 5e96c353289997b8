"""Settings: unknown keys are refused with a hint, overrides are typed, TOML errors name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.core.config import apply_overrides, read_toml
from recsys.core.errors import ConfigError
from recsys.core.registry import Registry
from recsys.core.runtime import Run
from recsys.runconfig import read_config


def test_defaults_make_a_run() -> None:
    config = read_config(None)
    assert config.data.source == "ml-100k"
    assert config.ranker["name"] == "ease"


def test_overrides_are_typed_and_leave_the_original_alone() -> None:
    before = {"ranker": {"name": "ease"}}
    after = apply_overrides(
        before,
        ["ranker.regularisation=12.5", "split.seed=3", "evaluation.ks=[5, 10]", "data.raw=some folder", "run.x=true"],
    )
    assert before == {"ranker": {"name": "ease"}}
    assert after["ranker"] == {"name": "ease", "regularisation": 12.5}
    assert after["split"]["seed"] == 3
    assert after["evaluation"]["ks"] == [5, 10]
    assert after["data"]["raw"] == "some folder"
    assert after["run"]["x"] is True


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("splitt.seed=1", "Did you mean 'split'"),
        ("split.sed=1", "Did you mean 'seed'"),
        ("split.seed=often", "split.seed"),
        ("split.kind=ranodm", "random"),
        ("evaluation.metric=ndgc@20", "ndcg"),
        ("run.seed=-1", "greater than or equal to 0"),
        ("data.prepare.k_core=-2", "k_core"),
        ("seed", "section.key=value"),
        ("split=3", "is a section"),
        ("split.seed.deep=1", "valid integer"),
    ],
)
def test_a_wrong_setting_names_itself(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(None, (override,))
    assert said in str(caught.value)


def test_broken_toml_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[split]\nkind = "random\n')
    with pytest.raises(ConfigError, match=r"run\.toml.*line 2"):
        read_toml(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_toml(tmp_path / "absent.toml")


def test_registry_errors_say_what_to_do() -> None:
    registry = Registry("ranker", {"ease": "recsys.rankers.ease:EASE", "lost": "recsys.rankers.nowhere:X"})
    with pytest.raises(ConfigError, match="Did you mean 'ease'"):
        registry.load("eas")
    with pytest.raises(ConfigError, match="was not found"):
        registry.load("lost")
    with pytest.raises(ConfigError, match="has no 'Y'"):
        registry.load("recsys.rankers.ease:Y")
    assert registry.load("recsys.rankers.ease:EASE").__name__ == "EASE"


def test_random_streams_depend_on_seed_and_place_only() -> None:
    run = Run(seed=1)
    first = run.rng("negatives", 3, 4).integers(1 << 30)
    assert first == Run(seed=1, device="cuda").rng("negatives", 3, 4).integers(1 << 30)
    assert first != run.rng("negatives", 34).integers(1 << 30)
    assert first != Run(seed=2).rng("negatives", 3, 4).integers(1 << 30)
