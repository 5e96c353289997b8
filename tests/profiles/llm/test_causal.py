"""Writing and scoring with real, tiny models: padding, caches and seeds change nothing that they should not."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.core.errors import EncoderError
from recsys.core.runtime import Run
from recsys.profiles.llm import make_language_model
from recsys.profiles.llm.protocol import HasModule, LanguageModelError, ask

WORDS = [
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "user",
    "likes",
    "dislikes",
    "films",
    "of",
    "space",
    "war",
    "about",
    "and",
    ":",
    "system",
    "assistant",
    "<s>",
    "</s>",
    "<unk>",
    ".",
]
PROMPTS = ["a b", "user likes films of space and war", "c", "a b c d e f g h a b c d"]


def save_tokenizer(folder, template: str | None = None) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Whitespace(), decoders.Fuse()
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", bos_token="<s>", unk_token="<unk>")
    made.chat_template = template
    made.save_pretrained(folder)


def save_model(folder, kind: str = "llama", seed: int = 3, **changes) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    tokens = {"vocab_size": len(WORDS), "bos_token_id": WORDS.index("<s>"), "eos_token_id": WORDS.index("</s>")}
    if kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, **tokens))
    else:
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
        model = LlamaForCausalLM(
            LlamaConfig(
                num_key_value_heads=2,
                initializer_range=0.5,
                **{"max_position_embeddings": 64, **sizes, **tokens, **changes},
            )
        )
    model.save_pretrained(folder)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    save_model(folder, request.param)
    save_tokenizer(folder)
    return make_language_model("causal", {"model": str(folder), "batch_size": 3})


def written(model, prompts, seed=None, max_tokens=6) -> list[str]:
    found = dict(model.answers(prompts, max_tokens=max_tokens, seed=seed, run=Run()))
    return [found[place].text for place in range(len(prompts))]


def by_hand(model, prompt: str, max_tokens: int = 6) -> str:
    """The likeliest token each time, the whole text read anew: no cache, no batch, no padding."""
    import torch

    net, tokenizer = model.module()
    ids = tokenizer(prompt)["input_ids"]
    start = len(ids)
    with torch.inference_mode():
        while len(ids) < start + max_tokens:
            ids.append(int(net(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                ids.pop()
                break
    return tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


def test_batches_with_left_padding_write_what_each_prompt_alone_does(model) -> None:
    assert written(model, PROMPTS) == [by_hand(model, prompt) for prompt in PROMPTS]


def test_likelihoods_are_those_of_the_whole_text(model) -> None:
    import torch

    net, tokenizer = model.module()
    choices = ["space", "war and space", "a b c d", "films of war"]
    found = model.score("user likes", choices, run=Run())
    for choice, log, length in zip(choices, found.log, found.lengths, strict=True):
        prompt, rest = tokenizer("user likes")["input_ids"], tokenizer(choice)["input_ids"]
        with torch.inference_mode():
            table = net(torch.tensor([prompt + rest])).logits[0].log_softmax(-1)
        wanted = sum(table[len(prompt) + place - 1, token].item() for place, token in enumerate(rest))
        assert log == pytest.approx(wanted, abs=1e-4)
        assert length == len(rest)
    np.testing.assert_allclose(found.mean(), found.log / found.lengths)
    many = model.score("user likes", choices * 9, run=Run())  # more than one pass
    np.testing.assert_allclose(many.log, np.tile(found.log, 9), atol=1e-4)


def test_a_seed_draws_the_same_whatever_else_is_asked_and_leaves_the_global_state(model) -> None:
    import torch

    state = torch.random.get_rng_state()
    first = written(model, PROMPTS, seed=1, max_tokens=12)
    assert torch.equal(state, torch.random.get_rng_state())
    assert written(model, PROMPTS[::-1], seed=1, max_tokens=12) == first[::-1]
    assert written(model, PROMPTS[:1], seed=1, max_tokens=12) == first[:1]
    assert written(model, PROMPTS, seed=2, max_tokens=12) != first


def test_a_chat_is_put_through_the_template_and_tokens_are_counted(tmp_path) -> None:
    template = "{% for m in messages %}{{ m.role }} : {{ m.content }} . {% endfor %}assistant :"
    save_model(tmp_path)
    save_tokenizer(tmp_path, template)
    found = make_language_model("causal", {"model": str(tmp_path)})
    chat = ask("films", "likes war")
    assert found._causal.text(chat) == "system : films . user : likes war . assistant :"
    assert found.count_tokens(chat) == 11
    ((_, answer),) = found.answers([chat], max_tokens=3, seed=None, run=Run())
    assert answer.tokens_in == 11
    assert answer.tokens_out <= 3
    assert isinstance(found, HasModule)


def test_identity_follows_weights_and_how_they_are_used(tmp_path) -> None:
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        save_model(tmp_path / name, seed=seed)
        save_tokenizer(tmp_path / name)
    one, same, other = (make_language_model("causal", {"model": str(tmp_path / n)}) for n in ("one", "same", "other"))
    warm = make_language_model("causal", {"model": str(tmp_path / "one"), "temperature": 1.0})
    assert one.identity() == same.identity()
    assert len({one.identity(), other.identity(), warm.identity()}) == 3


def test_errors_name_cause_and_remedy(model, tmp_path) -> None:
    with pytest.raises(LanguageModelError, match="looks at 64 at most"):
        written(model, ["a " * 60], max_tokens=10)
    with pytest.raises(LanguageModelError, match="one is empty"):
        model.score("a", ["b", ""], run=Run())
    with pytest.raises(EncoderError, match="cannot be loaded"):
        make_language_model("causal", {"model": str(tmp_path)}).module()
