"""The autoencoder: a PCA to begin with, and better after a little training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from recsys.core.runtime import Run
from recsys.visuals.autoencoder import Autoencoder, AutoencoderSettings
from recsys.visuals.likeness import psnr, ssim
from recsys.visuals.perceptual import Perceptual
from recsys.visuals.pixels import HEIGHT, WIDTH, fitted, sheet, to_pictures, to_signed
from recsys.visuals.reconstruction import ReconstructionSettings, crops, quality, reconstruction_loss, train_autoencoder

SMALL = AutoencoderSettings(channels=6, width=16, encoder_blocks=1, decoder_blocks=1)


def pictures(n: int, seed: int = 0, height: int = 48, width: int = 32) -> np.ndarray:
    """Discs on plain grounds: hard edges, which no linear map of patches keeps."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    made = np.empty((n, height, width, 3), np.uint8)
    for one in made:
        one[:] = rng.integers(256, size=3)
        middle, radius = rng.uniform(8, 24, size=2), rng.uniform(5, 12)
        one[(rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < radius**2] = rng.integers(256, size=3)
    return made


def test_it_starts_as_the_principal_components_of_patches() -> None:
    model, x = Autoencoder(SMALL), to_signed(pictures(30))
    model.start_linear(x)
    again = model.decode(model.encode(x))
    patches = torch.nn.functional.pixel_unshuffle(x, 8).permute(0, 2, 3, 1).reshape(-1, 192).double()
    centred = patches - patches.mean(dim=0)
    kept = torch.linalg.svd(centred, full_matrices=False)[2][:6]
    hand = centred @ kept.T @ kept
    ours = torch.nn.functional.pixel_unshuffle(again, 8).permute(0, 2, 3, 1).reshape(-1, 192).double()
    ours = ours - ours.mean(dim=0)
    assert torch.allclose(ours, hand, atol=2e-3)
    assert model.encode(x).mean(dim=(0, 2, 3)).abs().max() < 1e-2
    assert torch.allclose(model.encode(x).std(dim=(0, 2, 3)), torch.ones(6), atol=0.02)


def test_training_makes_it_better_than_linear_and_goes_on_where_it_was(tmp_path) -> None:
    learned, seen = pictures(60), pictures(12, seed=1)
    settings = ReconstructionSettings(
        steps=80, batch_size=8, crop=32, perceptual=0.0, warmup=5, cooldown=0, ema=0.9, eval_every=40, save_every=40,
        learning_rate=6e-3,
    )  # fmt: skip

    def trained(steps: int, folder) -> Autoencoder:
        torch.manual_seed(0)
        quiet = Run(folder=folder, log=lambda line: None)
        chosen = settings.model_copy(update={"steps": steps})
        return train_autoencoder(Autoencoder(SMALL), learned, seen, chosen, run=quiet).average

    linear = Autoencoder(SMALL)
    linear.start_linear(to_signed(learned))
    whole = trained(80, tmp_path / "whole")
    assert quality(whole, seen)["psnr"] > quality(linear, seen)["psnr"] + 0.2
    trained(40, tmp_path / "parts")
    parts = trained(80, tmp_path / "parts")
    for (name, one), two in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert one.equal(two), name
    latents = whole.encode(to_signed(learned))
    assert latents.mean().abs() < 0.05
    assert latents.square().mean().item() == pytest.approx(1, abs=0.1)
    spread = latents.std(dim=(0, 2, 3))
    assert spread[0] == spread.max()  # what moves most of the picture is the largest


def test_every_parameter_but_the_linear_map_has_a_finite_gradient() -> None:
    model, x = Autoencoder(SMALL), to_signed(pictures(4))
    model.start_linear(x)
    for name, parameter in model.named_parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
        assert parameter.requires_grad == (".linear." not in name)
    settings = ReconstructionSettings(perceptual=0.0)
    reconstruction_loss(model, x, settings, None, torch.Generator().manual_seed(0)).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any(), name


def test_crops_follow_from_their_generator() -> None:
    made = [crops(pictures(5), 16, 4, np.random.default_rng(2)) for _ in range(2)]
    assert made[0].shape == (4, 3, 16, 16)
    assert made[0].equal(made[1])


def test_likeness_is_what_its_papers_say() -> None:
    x = to_signed(pictures(2))
    noisy = (x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    error = ((noisy - x) / 2).square().mean(dim=(1, 2, 3))
    assert psnr(noisy, x) == pytest.approx((10 * torch.log10(1 / error)).numpy(), rel=1e-5)
    assert ssim(x, x) == pytest.approx(np.ones(2))
    assert (ssim(noisy, x) < 0.95).all()
    light, dark = torch.full((1, 3, 16, 16), 0.6), torch.full((1, 3, 16, 16), -0.4)  # 0.8 and 0.3 of full brightness
    assert ssim(light, dark) == pytest.approx([(2 * 0.8 * 0.3 + 1e-4) / (0.8**2 + 0.3**2 + 1e-4)], rel=1e-4)


def test_the_perceptual_distance_orders_damages_and_lets_gradients_through() -> None:
    distance, x = Perceptual(), to_signed(pictures(4, height=64, width=64))
    little, much = (
        x + level * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)) for level in (0.05, 0.5)
    )
    assert (distance(x, x).abs() < 1e-6).all()
    assert (distance(little, x) < distance(much, x)).all()
    seen = little.clone().requires_grad_()
    distance.train()(seen, x).sum().backward()
    assert torch.isfinite(seen.grad).all()
    assert seen.grad.any()
    assert not any(parameter.requires_grad for parameter in distance.parameters())
    assert not any(module.training for module in distance.modules())


@pytest.mark.parametrize("size", [(182, 268), (100, 100), (400, 90), (1, 1), (128, 192)])
def test_any_picture_is_fitted(size) -> None:
    made = fitted(Image.new("RGB", size, (200, 30, 40)))
    assert made.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(made.astype(int) - [200, 30, 40]).max() <= 2  # margins have the picture's own colour


def test_pixels_there_and_back() -> None:
    x = pictures(2)
    assert (np.stack([np.asarray(one) for one in to_pictures(to_signed(x))]) == x).all()
    assert to_pictures(torch.full((1, 3, 8, 8), 7.0))[0].getpixel((0, 0)) == (255, 255, 255)
    assert sheet([to_pictures(to_signed(x))] * 3, gap=2).size == (2 * 34 + 2, 3 * 50 + 2)
