"""How alike two pictures are, number by number: PSNR and SSIM."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import conv2d

LUMA = (0.299, 0.587, 0.114)
WINDOW, SIGMA = 11, 1.5  # as Wang et al. (IEEE TIP 2004)
C1, C2 = 0.01**2, 0.03**2


def psnr(pictures: torch.Tensor, others: torch.Tensor) -> np.ndarray:
    """Return the peak signal-to-noise ratio of pairs of pictures ``[n, 3, H, W]`` from -1 to 1, dB, float64 ``[n]``."""
    error = (pictures.clamp(-1, 1) - others.clamp(-1, 1)).double().square().mean(dim=(1, 2, 3)) / 4
    return (-10 * torch.log10(error.clamp_min(1e-12))).cpu().numpy()


def ssim(pictures: torch.Tensor, others: torch.Tensor) -> np.ndarray:
    """Return the structural similarity of pairs (Wang et al. 2004) on their brightness, float64 ``[n]``.

    Args:
        pictures, others: ``[n, 3, H, W]`` from -1 to 1, at least 11 pixels each way.
    """
    x, y = _grey(pictures), _grey(others)
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x, var_y = _smooth(x * x) - mean_x**2, _smooth(y * y) - mean_y**2
    shared = _smooth(x * y) - mean_x * mean_y
    top = (2 * mean_x * mean_y + C1) * (2 * shared + C2)
    bottom = (mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2)
    return (top / bottom).mean(dim=(1, 2, 3)).cpu().numpy()


def _grey(pictures: torch.Tensor) -> torch.Tensor:
    weights = pictures.new_tensor(LUMA, dtype=torch.float64).view(1, 3, 1, 1)
    return ((pictures.double().clamp(-1, 1) + 1) / 2 * weights).sum(dim=1, keepdim=True)  # [n, 1, H, W]


def _smooth(grey: torch.Tensor) -> torch.Tensor:
    place = torch.arange(WINDOW, dtype=grey.dtype, device=grey.device) - WINDOW // 2
    bell = torch.exp(-(place**2) / (2 * SIGMA**2))
    bell = bell / bell.sum()
    return conv2d(conv2d(grey, bell.view(1, 1, -1, 1)), bell.view(1, 1, 1, -1))
