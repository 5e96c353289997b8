"""Guidance by the balance of item and taste, in a world where a picture is its mean colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from recsys.core.runtime import Run
from recsys.items import make_encoder
from recsys.visuals.balance import BalanceGuidance, viewed
from recsys.visuals.conditions import Conditions
from recsys.visuals.eye import Eye
from recsys.visuals.flow import SamplerSettings, sample
from recsys.visuals.pixels import fitted, to_signed
from recsys.visuals.request import VisualItem, VisualTaste
from recsys.visuals.selection import YARDSTICK, Yardstick

from contracts.generator_contract import poster

RED, GREEN, BLUE = np.eye(3)
NOTHING = np.zeros(3)


class Colour(nn.Module):
    """An autoencoder without loss, and an encoder that sees the mean colour."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.mean(dim=(2, 3))


def guidance(liked: np.ndarray, target: np.ndarray | None = GREEN, dial: float = 0.5, length: float = 0.3):
    return BalanceGuidance(Colour(), Colour(), Yardstick(target, liked, NOTHING), dial, length)


def grey(n: int = 2) -> torch.Tensor:
    return torch.full((n, 3, 4, 4), 0.1) + 0.01 * torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def drawn(move, n: int = 2) -> torch.Tensor:
    """Sample with a flow that always means the same grey picture; return mean colours ``[n, 3]``."""

    def velocity(x: torch.Tensor, times: torch.Tensor, given: Conditions) -> torch.Tensor:
        return (x - grey(n)) / times.view(-1, 1, 1, 1)

    noise = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return sample(
        velocity, noise, Conditions.nothing(n), SamplerSettings(steps=8, guidance={}), move=move
    ).mean(dim=(2, 3))  # fmt: skip


def test_the_dial_leads_to_the_item_or_to_the_taste() -> None:
    item, both, taste = (guidance(RED[None], dial=dial)(grey(), 1.0).mean(dim=(2, 3)) for dial in (0.0, 0.5, 1.0))
    before = grey().mean(dim=(2, 3))
    assert (item[:, 1] > before[:, 1]).all()
    assert (item[:, 0] < before[:, 0]).all()
    assert (taste[:, 0] > before[:, 0]).all()
    assert (taste[:, 1] < before[:, 1]).all()
    assert (both[:, :2] > before[:, :2]).all()
    assert (both[:, 2] < before[:, 2]).all()


def test_another_taste_another_way_and_nobody_has_none() -> None:
    red, blue = (guidance(liked[None], dial=0.8)(grey(), 1.0).mean(dim=(2, 3)) for liked in (RED, BLUE))
    assert (red[:, 0] > blue[:, 0]).all()
    assert (red[:, 2] < blue[:, 2]).all()
    nobody = guidance(np.zeros((0, 3)), dial=0.8)(grey(), 1.0).mean(dim=(2, 3))
    assert (nobody[:, 1] > grey().mean(dim=(2, 3))[:, 1]).all()
    assert guidance(np.zeros((0, 3)), target=None)(grey(), 1.0).equal(grey())


def test_moves_have_the_length_that_was_asked_for_whatever_is_beside_them() -> None:
    for left in (1.0, 0.25):
        apart = guidance(RED[None])(grey(3), left) - grey(3)
        assert apart.square().mean(dim=(1, 2, 3)).sqrt().tolist() == pytest.approx([0.3 * left] * 3, rel=1e-5)
    alone = guidance(RED[None])(grey(3)[:1], 1.0)
    assert alone[0].allclose(guidance(RED[None])(grey(3), 1.0)[0], atol=1e-6)


def test_a_lone_side_does_not_move_where_its_dial_gives_it_no_weight() -> None:
    assert guidance(RED[None], target=None, dial=0.0)(grey(), 1.0).equal(grey())


def test_sampling_follows_the_move_and_no_move_is_none() -> None:
    plain = drawn(None)
    assert plain.equal(drawn(lambda clean, left: clean))
    assert plain.allclose(grey().mean(dim=(2, 3)), atol=1e-6)
    shares: list[float] = []

    def noted(clean: torch.Tensor, left: float) -> torch.Tensor:
        shares.append(left)
        return clean + 0.5

    assert drawn(noted).allclose(plain + 0.5, atol=1e-5)
    assert shares == pytest.approx([1 - step / 8 for step in range(8)])


def test_a_view_is_a_part_of_the_picture_mirrored_or_not_and_none_is_the_whole() -> None:
    pictures = torch.arange(40 * 60.0).reshape(1, 1, 60, 40).expand(2, 3, 60, 40)
    assert viewed(pictures, 0.0, 1).equal(pictures)
    sides, mirrored = set(), 0
    for seed in range(40):
        part = viewed(pictures, 1.0, seed)
        assert part.equal(viewed(pictures, 1.0, seed))
        step = part[0, 0, 0, 1] - part[0, 0, 0, 0]
        assert (part[:, :, 1:] - part[:, :, :-1] == 40).all()  # rows follow each other, and so do columns
        assert (part[..., 1:] - part[..., :-1] == step).all()
        sides.add(tuple(part.shape[2:]))
        mirrored += int(step == -1)
    assert 10 < mirrored < 30
    assert min(sides) >= (45, 30)
    assert max(sides) <= (60, 40)
    assert len(sides) > 8
    assert all(viewed(pictures, 0.1, seed).shape[2] >= 58 for seed in range(20))


def test_steps_that_see_parts_move_nothing_outside_of_them() -> None:
    target, liked = np.zeros(3), RED[None]
    whole = BalanceGuidance(Colour(), Colour(), Yardstick(None, liked, target), 1.0, 0.3)
    part = BalanceGuidance(Colour(), Colour(), Yardstick(None, liked, target), 1.0, 0.3, views=1.0)
    before = torch.rand(1, 3, 24, 16, generator=torch.Generator().manual_seed(3))
    lefts = [0.2, 0.4, 0.6, 0.8]
    still = [[(move(before, left) == before).all(dim=1).any().item() for left in lefts] for move in (whole, part)]
    assert still == [[False] * 4, [True] * 4]


@torch.no_grad()
def test_it_works_where_gradients_are_off() -> None:
    assert not guidance(RED[None])(grey(), 1.0).equal(grey())


def test_the_eye_sees_what_the_encoder_sees(run) -> None:
    pictures = [poster(seed) for seed in range(3)]
    there = make_encoder(YARDSTICK, "image", {}).encode(pictures, "image", run=run)
    small = to_signed(np.stack([fitted(picture) for picture in pictures]))
    here = Eye()(small).numpy()
    likeness = here @ there.T
    assert (likeness.argmax(axis=1) == np.arange(3)).all()
    assert likeness.diagonal().min() > 0.95  # the encoder scales the picture before it is cropped to 2 : 3


def test_a_yardstick_knows_vectors_makes_others_and_takes_off_what_everybody_has(run: Run) -> None:
    def encode(pictures) -> np.ndarray:
        return np.tile(BLUE, (len(pictures), 1))

    target = VisualItem("1", vectors={YARDSTICK: GREEN})
    liked = (VisualItem("2", vectors={YARDSTICK: RED}), VisualItem("3", picture=poster(3)), VisualItem("4"))
    found = Yardstick.of(target, VisualTaste((), liked), encode, np.ones(3))
    assert found.target.tolist() == GREEN.tolist()
    assert found.liked.tolist() == [RED.tolist(), BLUE.tolist()]
    assert found.centre.tolist() == [1, 1, 1]
    taste = replace(VisualTaste((), liked), everybody={YARDSTICK: RED / 2})
    assert Yardstick.of(target, taste, encode, np.ones(3)).centre.tolist() == (RED / 2).tolist()
    nothing = Yardstick.of(VisualItem("5"), VisualTaste(), encode)
    assert nothing.parts(torch.rand(2, 3)) == {}
