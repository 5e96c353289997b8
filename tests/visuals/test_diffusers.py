"""Pipelines of diffusers, with tiny ones made here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers")

import tiny_pipelines

from recsys.core.errors import ArtifactError, ConfigError, DataError
from recsys.core.runtime import Run
from recsys.visuals import make_generator
from recsys.visuals.prompts import own_words, taste_words
from recsys.visuals.request import VisualItem, VisualTaste

from contracts.generator_contract import TASTE, GeneratorContract, item, likeness

WIDTH, HEIGHT = tiny_pipelines.SIZE
SMALL = {"steps": 3, "width": WIDTH, "height": HEIGHT, "batch_size": 2}
WORDS = VisualTaste((("neon", 0.9), ("quiet garden", 0.5), ("pirates", 0.1)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_pipelines.stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    return tiny_pipelines.ip_adapter(tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def plain(folder) -> Callable:
    return partial(made, folder)


def made(folder: Path, **options: Any) -> Any:
    return make_generator("diffusers", {**SMALL, "model": str(folder), **options})


def apart(one: Any, other: Any) -> int:
    return int(np.abs(np.asarray(one.image, dtype=int) - np.asarray(other.image, dtype=int)).max())


class TestDiffusers(GeneratorContract):
    """With an IP-Adapter: the contract's taste is pictures alone."""

    @pytest.fixture
    def make(self, folder, adapter) -> Callable:
        return partial(made, folder, ip_adapter={"model": str(adapter)})

    def test_the_dial_sets_how_much_the_history_counts(self, make, run) -> None:
        generator = make()
        (own,) = generator.generate(item(), TASTE, n=1, dial=0.0, run=run)
        (nobody,) = generator.generate(item(), VisualTaste(), n=1, dial=0.0, run=run)
        assert own.image.tobytes() == nobody.image.tobytes()
        (own,) = generator.generate(item(), TASTE, n=1, dial=0.5, run=run)
        assert own.given["ip_adapter_scale"] == pytest.approx(0.3)
        assert sorted(own.given["history"]) == ["11", "12", "13"]
        (nobody,) = generator.generate(item(), VisualTaste(), n=1, dial=0.5, run=run)
        assert (nobody.given["ip_adapter_scale"], nobody.given["history"]) == (0.0, [])
        assert "ip-adapter_sd15.safetensors" in own.generator


def test_size_and_what_is_told(plain, run) -> None:
    (one,) = plain().generate(item(text="A title. Genres: Comedy, Drama."), WORDS, n=1, dial=1.0, run=run)
    assert one.image.size == (WIDTH, HEIGHT)
    assert one.given["prompt"] == "A title, neon, quiet garden, comedy, drama"
    assert one.given["keywords"] == {"neon": 0.9, "quiet garden": 0.5}
    assert one.given["strength"] == pytest.approx(0.8)
    assert one.given["safety_checker"] is False
    assert metadata.version("diffusers") in one.generator
    (bare,) = plain().generate(item(picture=None), WORDS, n=1, dial=0.0, run=run)
    assert (bare.given["strength"], bare.given["prompt"]) == (1.0, "A title")


def test_words_change_the_picture_and_the_noise_does_not(plain, run) -> None:
    generator = plain()
    (own,), (nobody,) = (generator.generate(item(), who, n=1, dial=0.8, run=run) for who in (WORDS, VisualTaste()))
    assert own.seed == nobody.seed
    assert own.image.tobytes() != nobody.image.tobytes()


def test_a_picture_does_not_depend_on_how_many_are_asked_for(plain, run) -> None:
    few, many = (plain().generate(item(), WORDS, n=n, dial=0.5, run=run) for n in (1, 3))
    assert apart(few[0], many[0]) <= 1  # batches of other sizes round otherwise


def test_one_step_is_always_taken(plain, run) -> None:
    generator = plain(steps=1, nearest=0.1)
    made_so = generator.generate(item(), VisualTaste(), n=1, dial=0.0, run=run)
    assert likeness(item(), made_so) > 20


def test_texts_of_anybody_are_drawn(plain, run) -> None:
    evil = "\x00\x1b[31m\u202e{title} %s " + "word " * 2000
    taste = VisualTaste(((evil, 1.0), ("", 0.9), ("\x07", 0.8)))
    (one,) = plain().generate(item(title=evil, text=evil), taste, n=1, dial=1.0, run=run)
    prompt = one.given["prompt"]
    assert prompt.isprintable()
    assert prompt.startswith("[31m {title} %s word")
    assert len(prompt) < 600


def test_names_of_a_text_are_no_words() -> None:
    text = "Toy Story. Genres: Comedy. A toy meets Woody Allen, and the toy of woody planets sails. actor: tom hanks"
    found = own_words(VisualItem("1", "Toy Story", text), 8)
    assert found[:2] == ["comedy", "toy"]
    assert not {"woody", "allen", "tom", "hanks"} & set(found)


def test_weak_words_are_left_out_by_the_dial() -> None:
    assert list(taste_words(WORDS, 1.0, 6, 0.2)) == ["neon", "quiet garden"]
    assert list(taste_words(WORDS, 0.3, 6, 0.2)) == ["neon"]
    assert taste_words(WORDS, 0.0, 6, 0.0) == {}


@pytest.mark.parametrize("kind", ["stable_diffusion_xl", "pixart"])
def test_other_kinds_of_pipelines(tmp_path, run, kind: str) -> None:
    generator = made(getattr(tiny_pipelines, kind)(tmp_path), steps=1)
    (one,) = generator.generate(item(), WORDS, n=1, dial=0.5, run=run)
    assert one.image.size == (WIDTH, HEIGHT)
    if kind == "pixart":
        assert one.given["strength"] == 1.0
        assert "cannot begin" in one.given["note"]
        adapted = made(tmp_path, ip_adapter={"model": str(tmp_path)})
        with pytest.raises(ConfigError, match="PixArtAlphaPipeline takes none"):
            adapted.generate(item(), WORDS, n=1, dial=0.5, run=run)
    else:
        assert one.given["strength"] == pytest.approx(0.55)


class Checker:
    """Stands in for a pipeline's ``run_safety_checker``; flags the first ``times`` pictures that it sees."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, images: Any, *given: Any) -> tuple[Any, list[bool]]:
        flags = []
        for _ in images:
            flags.append(self.times > 0)
            self.times -= 1
        return images, flags


def test_flagged_pictures_are_drawn_again_or_told(plain, run) -> None:
    generator = plain()
    clean = generator.generate(item(), WORDS, n=3, dial=0.5, run=run)
    near = generator._pipelines(run)[1]
    near.run_safety_checker = Checker(1)
    again = generator.generate(item(), WORDS, n=3, dial=0.5, run=run)
    assert [one.given["flagged_before"] for one in again] == [1, 0, 0]
    assert again[0].seed != clean[0].seed
    assert [one.image.tobytes() for one in again[1:]] == [one.image.tobytes() for one in clean[1:]]
    near.run_safety_checker = Checker(99)
    with pytest.raises(DataError, match="flagged 2 of 2, each 4 times"):
        generator.generate(item(), WORDS, n=2, dial=0.5, run=run)


def test_what_is_wrong_with_a_model_is_told(folder, tmp_path, run, monkeypatch) -> None:
    from huggingface_hub import constants

    def told(error: type[Exception], words: str, **options: Any) -> None:
        with pytest.raises(error, match=words):
            make_generator("diffusers", {**SMALL, **options}).generate(item(), WORDS, n=1, dial=0.5, run=run)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    told(ConfigError, r"\[visuals.options.diffusers\] model = ")
    told(ArtifactError, "hf download somebody/unknown", model="somebody/unknown")
    told(ArtifactError, "no folder here", model="./nowhere/at/all")
    told(ArtifactError, "pipeline of model.*model_index.json", model=str(tmp_path))
    told(ArtifactError, "IP-Adapter of model", model=str(folder), ip_adapter={"model": str(tmp_path)})
    for name in ("unet", "tokenizer", "text_encoder", "scheduler", "vae"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "model_index.json").write_text((folder / "model_index.json").read_text())
    (tmp_path / "unet").unlink()
    told(ArtifactError, "pipeline of model", model=str(tmp_path))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "float64"}, "dtype"),
        ({"width": 100}, "width"),
        ({"prompt": "{words}"}, "the target must stay"),
        ({"prompt": "{title} {actor}"}, "only {title} and {words}"),
        ({"ip_adapter": {"weight_name": "x.bin"}}, "weight_name"),
    ],
)
def test_settings_that_do_not_fit_are_told(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_generator("diffusers", options)


def test_without_diffusers_the_extra_is_named(plain, run, monkeypatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(ConfigError, match=r"recsys\[diffusers\]"):
        plain().generate(item(), WORDS, n=1, dial=0.5, run=run)


def test_importing_it_is_light() -> None:
    code = (
        "import sys, recsys.visuals.pipelines; from recsys.visuals import make_generator;"
        "make_generator('diffusers', {});"
        "print([name for name in ('torch', 'diffusers', 'transformers') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_model_of_the_hub_is_fetched_once_and_found_without_a_network(folder, tmp_path, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "items"))
    from test_hub import NAME, NEW, Hub

    files = {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}
    unused = {"unet/x.bin": b"pickled", "unet/x.py": b"raise", "unet/y.fp16.safetensors": b"", "all.safetensors": b""}
    hub = Hub({NEW: files | unused})
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    run, bare = Run(log=lambda message: None), replace(item(), picture=None)
    generator = made(NAME)
    assert generator.identity().endswith(f"{NAME}@{NEW}")
    (one,) = generator.generate(bare, WORDS, n=1, dial=0.5, run=run)
    fetched = {path.partition(f"{NEW}/")[2] for path in hub.asked if "resolve" in path}
    assert {"model_index.json", "unet/diffusion_pytorch_model.safetensors"} <= fetched
    assert not fetched & set(unused)
    hub.server.shutdown()
    hub.server.server_close()
    (later,) = made(NAME, revision=NEW).generate(bare, WORDS, n=1, dial=0.5, run=run)
    assert later.image.tobytes() == one.image.tobytes()
    assert later.generator == one.generator
