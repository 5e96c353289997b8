"""The flow: one step by hand, exact sampling of a known field, guidance, and a world where one condition decides."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from recsys.core.errors import ConfigError
from recsys.core.runtime import Run
from recsys.visuals.conditions import CONDITIONS, Conditions, ConditionSettings
from recsys.visuals.flow import FlowSettings, SamplerSettings, flow_loss, guided, noised, sample, training_times
from recsys.visuals.training import StepSettings, Training
from recsys.visuals.transformer import FlowTransformer, TransformerSettings

SIZES = ConditionSettings(text_dim=8, picture_dim=10, soft_dim=6, soft_tokens=2, picture_tokens=2, soft_hidden=16)
SMALL = TransformerSettings(
    channels=3, rows=6, columns=4, patch=2, width=32, depth=2, heads=2, steering=16, conditions=SIZES
)


def given(n: int, seed: int = 0) -> Conditions:
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(seed))
    return Conditions.of(
        text=draw(n, 8), picture=draw(n, 10), layout=draw(n, 3, 6, 4), keywords=draw(n, 3, 8),
        keyword_weights=draw(n, 3).sigmoid(), soft=draw(n, 1, 6), history=draw(n, 2, 10),
    )  # fmt: skip


def model(seed: int = 0, *, awake: bool = False) -> FlowTransformer:
    """A small transformer; ``awake``: its silent layers are not zero, so that everything has an effect."""
    torch.manual_seed(seed)
    made = FlowTransformer(SMALL)
    if awake:
        for parameter in made.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
    return made


def latents(n: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, 3, 6, 4, generator=torch.Generator().manual_seed(seed))


def test_shapes_and_a_new_network_says_nothing() -> None:
    out = model()(latents(5), torch.rand(5), given(5))
    assert out.shape == (5, 3, 6, 4)
    assert not out.any()


def test_every_parameter_has_a_finite_gradient() -> None:
    made = model(awake=True)
    nothing = FlowSettings(drop=dict.fromkeys(CONDITIONS, 0.5), drop_all=0.0)
    flow_loss(made, latents(16), given(16), nothing, torch.Generator().manual_seed(0)).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_the_loss_is_the_one_written_by_hand() -> None:
    made, x, known = model(awake=True), latents(4), given(4)
    chosen = FlowSettings(drop={}, drop_all=0.0)
    found = flow_loss(made, x, known, chosen, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    times = torch.sigmoid(torch.randn(4, generator=generator))
    noise = torch.randn(x.shape, generator=generator)
    errors = []
    for row in range(4):
        mixed = (1 - times[row]) * x[row] + times[row] * noise[row]
        velocity = made(mixed[None], times[row : row + 1], known.take([row]))[0]
        errors.append((velocity - (noise[row] - x[row])).square().mean())
    assert found.item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-5)


def test_one_training_step_is_the_one_written_by_hand(run) -> None:
    settings = StepSettings(steps=1, warmup=0, learning_rate=0.01, clip=1e9, ema=0.5)
    x, known, how = latents(4), given(4), FlowSettings()

    def loss(network, step: int) -> torch.Tensor:
        return flow_loss(network, x, known, how, torch.Generator().manual_seed(step))

    training = Training(model(awake=True), settings, loss=loss, run=run, title="step")
    hand = model(awake=True)
    loss(hand, 0).backward()
    training.take_step()
    for ours, (name, theirs) in zip(training.module.parameters(), hand.named_parameters(), strict=True):
        # Adam's first step: the mean over the root of the mean square, both unbiased, is the gradient over its size.
        expected = theirs - 0.01 * theirs.grad / (theirs.grad.abs() + 1e-8)
        assert torch.allclose(ours, expected, atol=1e-5), name
    first = dict(training.average.named_parameters())["places"]
    keep = 2 / 11  # the average forgets its random beginning quickly
    wanted = hand.places * keep + training.module.places * (1 - keep)
    assert torch.allclose(first, wanted, atol=1e-6)


def test_times_lie_inside_and_lean_where_they_are_told() -> None:
    generator = torch.Generator().manual_seed(0)
    times = training_times(4000, FlowSettings(), generator)
    assert times.min() > 0
    assert times.max() < 1
    assert times.mean().item() == pytest.approx(0.5, abs=0.02)
    assert training_times(4000, FlowSettings(time_mean=1.0), generator).mean() > 0.65


@pytest.mark.parametrize("method", ["euler", "heun"])
@pytest.mark.parametrize("steps", [1, 3, 16])
def test_sampling_a_straight_flow_is_exact(method, steps) -> None:
    goal, noise = latents(2, 5), latents(2, 6)

    def straight(x, times, conditions) -> torch.Tensor:
        return (x - goal.repeat(len(x) // 2, 1, 1, 1)) / times.view(-1, 1, 1, 1)

    settings = SamplerSettings(steps=steps, method=method, guidance={})
    assert torch.allclose(sample(straight, noise, Conditions.nothing(2), settings), goal, atol=1e-5)


def test_heun_is_exact_where_the_velocity_is_linear_in_time() -> None:
    settings = SamplerSettings(steps=2, method="heun", guidance={})
    found = sample(
        lambda x, t, c: 2 * t.view(-1, 1, 1, 1) * torch.ones_like(x), latents(1), Conditions.nothing(1), settings
    )
    middle = latents(1) - 0.75  # from 1 to a half; the last step looks once, at a half: 1 times a half
    assert torch.allclose(found, middle - 0.5, atol=1e-6)


def test_strength_zero_keeps_the_picture_and_small_strength_stays_near() -> None:
    made, start, noise = model(awake=True), latents(2, 8), latents(2, 9)
    draw = partial(sample, made, noise, given(2), SamplerSettings(steps=8), start=start)
    assert draw(strength=0.0).equal(start)
    far = [(draw(strength=one) - start).square().mean().item() for one in (0.1, 0.5, 1.0)]
    assert far[0] < far[1] < far[2]
    assert draw(strength=1.0).equal(sample(made, noise, given(2), SamplerSettings(steps=8)))


def test_guidance_adds_up_and_zero_switches_off() -> None:
    made, x, times, known = model(awake=True), latents(2), torch.tensor([0.3, 0.7]), given(2)
    full = made(x, times, known)
    assert torch.allclose(guided(made, {"all": 1.0})(x, times, known), full)
    off = guided(made, {"soft": 0.0})(x, times, known)
    assert torch.allclose(off, made(x, times, known.without(["soft"])), atol=1e-5)
    both = guided(made, {"text": 2.0, "history": 3.0})(x, times, known)
    hand = (
        full
        + (full - made(x, times, known.without(["text"])))
        + 2 * (full - made(x, times, known.without(["history"])))
    )
    assert torch.allclose(both, hand, atol=1e-5)


def test_a_pull_leads_away_from_nothing_or_from_somebody_typical() -> None:
    made, x, times, known = model(awake=True), latents(2), torch.tensor([0.3, 0.7]), given(2)
    full, alone = made(x, times, known), made(x, times, known.without(["target"]))
    nothing = made(x, times, known.without(["all"]))
    pulled = guided(made, {"all": 1.0}, {"taste": 4.0})(x, times, known)
    assert torch.allclose(pulled, full + 4 * (alone - nothing), atol=1e-4)
    typical = known.typical(np.arange(6, dtype=np.float32))
    assert typical.on.tolist() == [[name == "soft" for name in CONDITIONS]] * 2
    pulled = guided(made, {}, {"taste": 4.0}, typical)(x, times, known)
    assert torch.allclose(pulled, full + 4 * (alone - made(x, times, typical)), atol=1e-4)
    assert known.typical(None) is None
    assert Conditions.of(text=known.text).typical(np.zeros(6, np.float32)) is None


def test_the_whole_target_is_dropped_as_often_as_asked() -> None:
    known = given(4000)
    kept = known.dropped({}, 0.0, torch.Generator().manual_seed(0), target=0.3).on
    target = kept[:, [CONDITIONS.index(name) for name in ("text", "picture", "layout")]]
    assert target.any(dim=1).equal(target.all(dim=1))
    assert 0.27 < 1 - target[:, 0].float().mean() < 0.33
    assert kept[:, CONDITIONS.index("soft")].all()


def test_each_condition_has_an_effect_and_only_when_on() -> None:
    made, x, times = model(awake=True), latents(2), torch.tensor([0.3, 0.7])
    for name in CONDITIONS:
        seen, other = given(2, 0), given(2, 1)
        swapped = Conditions(**{**vars(seen), name: getattr(other, name)})
        assert not torch.allclose(made(x, times, seen), made(x, times, swapped), atol=1e-5), name
        assert made(x, times, seen.without([name])).equal(made(x, times, swapped.without([name]))), name


def test_an_absent_keyword_changes_nothing_and_weight_matters() -> None:
    made, x, times, known = model(awake=True), latents(1), torch.tensor([0.5]), given(1)
    weights = known.keyword_weights.clone()
    weights[0, 2] = 0
    less = Conditions(**{**vars(known), "keyword_weights": weights})
    other = less.keywords.clone()
    other[0, 2] = 9
    assert torch.allclose(
        made(x, times, less), made(x, times, Conditions(**{**vars(less), "keywords": other})), atol=1e-5
    )
    assert not torch.allclose(made(x, times, known), made(x, times, less), atol=1e-4)
    none = Conditions(**{**vars(known), "keyword_weights": torch.zeros(1, 3)})
    assert torch.allclose(made(x, times, none), made(x, times, known.without(["keywords"])), atol=1e-5)


def test_states_of_a_language_model_may_be_several() -> None:
    known = given(2)
    several = Conditions(**{**vars(known), "soft": torch.randn(2, 3, 6)})
    assert torch.isfinite(model(awake=True)(latents(2), torch.rand(2), several)).all()


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="textt"):
        Conditions.of(textt=torch.zeros(1, 8))
    with pytest.raises(ConfigError, match="none is given"):
        Conditions.of()
    with pytest.raises(ConfigError, match="Did you mean 'history'"):
        given(1).without(["histroy"])
    with pytest.raises(ConfigError, match="strength"):
        sample(model(), latents(1), given(1), SamplerSettings(), start=latents(1), strength=1.5)
    with pytest.raises(ConfigError, match="stay near"):
        sample(model(), latents(1), given(1), SamplerSettings(), strength=0.5)
    with pytest.raises(ConfigError, match="2 for 1"):
        sample(model(), latents(1), given(2), SamplerSettings())
    with pytest.raises(ConfigError, match="patch"):
        TransformerSettings(rows=7)
    with pytest.raises(ConfigError, match="heads"):
        TransformerSettings(width=250)


def test_dropping_is_by_condition_and_by_chance() -> None:
    known = given(2000)
    kept = known.dropped({"text": 0.5}, 0.0, torch.Generator().manual_seed(0)).on
    assert kept[:, CONDITIONS.index("text")].float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert kept[:, 1:].all()
    nothing = known.dropped({}, 0.25, torch.Generator().manual_seed(0)).on
    assert (~nothing).all(dim=1).float().mean().item() == pytest.approx(0.25, abs=0.05)


# -- a world with a known answer ----------------------------------------------------------------------------------

COLOURS = torch.tensor([[1.5, -1.0, 0.0], [-1.0, 1.5, 0.5], [0.0, 0.5, -1.5]])
WORLD = TransformerSettings(
    channels=3, rows=4, columns=4, patch=2, width=32, depth=2, heads=2, steering=16, conditions=SIZES
)


def coloured(kind: torch.Tensor, name: str) -> tuple[torch.Tensor, Conditions]:
    """Pictures of one colour each, which follows from the condition ``name`` alone; the others are chance."""
    n, signs = len(kind), torch.eye(3, 16)[kind] * 3
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(int(kind.sum())))
    known = {
        "text": draw(n, 8), "picture": draw(n, 10), "keywords": draw(n, 2, 8), "soft": draw(n, 1, 6),
        "history": draw(n, 2, 10),
    }  # fmt: skip
    told = signs[:, : known[name].shape[-1]]
    known[name] = told if known[name].ndim == 2 else told[:, None].expand_as(known[name]).clone()
    return COLOURS[kind][:, :, None, None].expand(n, 3, 4, 4), Conditions.of(**known)


def drawn_colours(network, kind: torch.Tensor, known: Conditions) -> float:
    """Share of pictures drawn that have the colour of ``kind``."""
    noise = torch.randn(len(kind), 3, 4, 4, generator=torch.Generator().manual_seed(5))
    made = sample(network, noise, known, SamplerSettings(steps=12, guidance={})).mean(dim=(2, 3))
    return (torch.cdist(made, COLOURS).argmin(dim=1) == kind).float().mean().item()


@pytest.mark.parametrize("name", ["text", "keywords", "soft", "history"])
def test_one_condition_decides_and_is_missed_when_off_or_swapped(name) -> None:
    torch.manual_seed(0)
    settings = StepSettings(steps=90, learning_rate=6e-3, warmup=5, ema=0.9, eval_every=1000)
    how = FlowSettings(drop={name: 0.2}, drop_all=0.0)

    def loss(network, step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(step)
        x, known = coloured(torch.randint(3, (32,), generator=generator), name)
        return flow_loss(network, x, known, how, generator)

    training = Training(FlowTransformer(WORLD), settings, loss=loss, run=Run(log=lambda line: None), title="colours")
    training.fit()
    kind = torch.arange(60) % 3
    _, known = coloured(kind, name)
    network = training.average
    assert drawn_colours(network, kind, known) > 0.9
    assert drawn_colours(network, kind, known.without([name])) < 0.6
    assert drawn_colours(network, kind, known.take((torch.arange(60) + 1).remainder(60))) < 0.1


def test_noised_is_the_straight_way() -> None:
    x, noise = latents(2), latents(2, 3)
    assert noised(x, noise, torch.tensor([0.0, 1.0]))[0].equal(x[0])
    assert noised(x, noise, torch.tensor([0.0, 1.0]))[1].equal(noise[1])
