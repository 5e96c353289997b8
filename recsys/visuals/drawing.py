"""Sampled vectors of pictures as conditions of a generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from recsys.visuals.conditions import CONDITIONS, Conditions
from recsys.visuals.prior import Prior

PICTURE = CONDITIONS.index("picture")


def sampled_pictures(
    prior: Prior, given: Conditions, seeds: Sequence[int], guidance: Mapping[str, float], steps: int
) -> np.ndarray:
    """Return a picture vector of length 1 a seed, float32 ``[n, picture_dim]``; each by its own noise alone.

    Args:
        prior: samples them.
        given: conditions of one picture. Of its user vector (``TasteSpace.user``) the first half is told, which does
            not depend on the target; and its text, where it has any.
        seeds: of the noise.
        guidance, steps: as ``Prior.sample`` takes them.
    """
    users, texts = np.zeros((1, prior.settings.user_dim), dtype=np.float32), None
    if given.soft is not None:
        users = given.soft[:, 0, : prior.settings.user_dim].cpu().numpy()
    if given.text is not None:
        texts = given.text.cpu().numpy()
    made = [prior.sample(users, texts, n=1, guidance=guidance, seed=seed, steps=steps)[0, 0] for seed in seeds]
    rows = np.stack(made)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def blended(given: Conditions, vectors: np.ndarray, dial: float) -> Conditions:
    """Return conditions of ``n`` pictures, each with (1 - dial) own + dial sampled as what its picture shows.

    Mixtures are as long as what they are mixed of, in the same proportion. Without a vector of its own the picture is
    the sampled one, whatever the dial.

    Args:
        given: conditions of one picture.
        vectors: sampled ones, ``[n, picture_dim]``.
        dial: from 0 to 1.
    """
    new = torch.from_numpy(vectors).to(given.on.device)
    if given.picture is not None:
        own = given.picture.expand_as(new)
        length = (1 - dial) * own.norm(dim=1, keepdim=True) + dial * new.norm(dim=1, keepdim=True)
        new = torch.nn.functional.normalize((1 - dial) * own + dial * new, dim=1) * length
    many = given.repeat(len(vectors))
    on = many.on.clone()
    on[:, PICTURE] = True
    return replace(many, on=on, picture=new)


def mean_directions(
    prior: Prior, users: np.ndarray, texts: np.ndarray | None = None, *, guidance: float = 1.0, n: int = 8
) -> np.ndarray:
    """Return the mean of ``n`` samples' directions from the mean picture, ``[n_users, picture_dim]``.

    Its product with another picture's direction is the mean cosine of the samples to it. Arguments as ``Prior.sample``.
    """
    made = prior.sample(users, texts, n=n, guidance={"user": guidance}, seed=1) - prior.mean.cpu().numpy()
    return (made / np.maximum(np.linalg.norm(made, axis=2, keepdims=True), 1e-12)).mean(axis=1)
