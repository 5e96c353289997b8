"""Training by steps: killed anywhere, it ends with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recsys.core.errors import RankerError
from recsys.core.runtime import Run
from recsys.visuals.muon import Muon, orthogonal
from recsys.visuals.training import StepSettings, Training, make_optimizers


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(64, 64)])
        self.out = nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.blocks[0](x)))


def loss(module: Net, step: int) -> torch.Tensor:
    x = torch.randn(16, 64, generator=torch.Generator().manual_seed(step))
    return (module(x)[:, 0] - x.sum(dim=1).sin()).square().mean()


def training(folder, **settings) -> Training:
    torch.manual_seed(0)
    chosen = StepSettings(**{"steps": 20, "warmup": 3, "muon_rate": 0.02, "eval_every": 5, "save_every": 5, **settings})
    validate = lambda average: {"there": loss(average, 999)}  # noqa: E731
    return Training(Net(), chosen, loss=loss, validate=validate, run=Run(folder=folder, log=print), title="net")


def test_a_killed_training_ends_as_a_whole_one(tmp_path) -> None:
    whole = training(tmp_path / "whole")
    rows = whole.fit()
    killed = training(tmp_path / "killed")
    for _ in range(13):  # what came after the last checkpoint, at 10, is lost
        killed.take_step()
        if killed.step == 10:
            killed.save()
    again = training(tmp_path / "killed")
    again.fit()
    for name in ("module", "average"):
        ours, theirs = getattr(whole, name).state_dict(), getattr(again, name).state_dict()
        assert all(ours[key].equal(theirs[key]) for key in ours)
    assert [row["there"] for row in rows[2:]] == [row["there"] for row in again.rows[-2:]]
    assert [row["step"] for row in rows] == [5, 10, 15, 20]


def test_a_finished_training_goes_on_when_it_is_given_more_steps(tmp_path) -> None:
    training(tmp_path).fit()
    assert len(training(tmp_path).fit()) == 4  # nothing left to do
    longer = training(tmp_path, steps=30)
    assert [row["step"] for row in longer.fit()] == [5, 10, 15, 20, 25, 30]


def test_another_seed_starts_afresh(tmp_path) -> None:
    training(tmp_path).fit()
    other = training(tmp_path)
    other.run = Run(seed=1, folder=tmp_path, log=lambda line: None)
    assert not other.resume()


def test_a_loss_that_is_no_number_stops_it(tmp_path) -> None:
    made = training(None)
    made.loss = lambda module, step: module(torch.full((1, 64), float("nan"))).sum()
    with pytest.raises(RankerError, match="learning_rate"):
        made.take_step()


def test_the_step_size_rises_and_falls_only_when_told() -> None:
    plain = StepSettings(steps=100, warmup=9)
    assert plain.rate(0) == pytest.approx(0.1)
    assert plain.rate(9) == plain.rate(99) == 1
    falling = StepSettings(steps=100, warmup=9, cooldown=10)
    assert falling.rate(89) == 1
    assert falling.rate(90) == pytest.approx(10 / 11)
    assert falling.rate(99) == pytest.approx(1 / 11)


def test_muon_has_the_inner_matrices_and_adam_the_rest() -> None:
    net = Net()
    adam, muon = make_optimizers(net, StepSettings(muon_rate=0.02))
    assert isinstance(muon, Muon)
    assert [one.shape for one in muon.param_groups[0]["params"]] == [(64, 64)]
    assert sum(one.numel() for one in adam.param_groups[0]["params"]) == 64 + 65
    assert len(make_optimizers(net, StepSettings())) == 1


def test_a_step_of_muon_is_nearly_orthogonal() -> None:
    made = torch.randn(40, 90, generator=torch.Generator().manual_seed(0))
    for matrix in (made, made.T):
        values = torch.linalg.svdvals(orthogonal(matrix))
        assert values.min() > 0.5
        assert values.max() < 1.3
    assert orthogonal(torch.zeros(4, 4)).abs().max() == 0
