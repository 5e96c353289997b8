"""A user as the vector that soft tokens are made from: what texts and pictures of the liked items have in common.

It rests on the two built-in encoders alone, not on the graph of one catalogue, so that it means the same in every
catalogue and for somebody who is new. Two means side by side: of all that is liked, and of what is most like the target
(as RAGAR, 2025, weighs a history by its likeness to what is to be made).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recsys.profiles.space import unit_rows

NAMES = ("text_mean", "text_basis", "picture_mean", "picture_basis", "scale")


class TasteSpace:
    """Principal directions of texts and pictures.

    Args:
        state: as ``fitted`` and ``state`` give it: ``text_mean [384]``, ``text_basis [384, dim]``, the same for
            pictures, ``scale [2 dim]``, and ``typical [4 dim]``, the mean user vector, where it is known.
    """

    def __init__(self, state: Mapping[str, np.ndarray]) -> None:
        self._state = {name: np.asarray(state[name], dtype=np.float32) for name in NAMES}
        typical = state.get("typical")
        self.typical = None if typical is None else np.asarray(typical, dtype=np.float32)

    @classmethod
    def fitted(cls, text: np.ndarray, picture: np.ndarray, dim: int = 64) -> TasteSpace:
        """Return the space of items with vectors ``[n, text_dim]`` and ``[n, picture_dim]``; NaN rows are left out."""
        made: dict[str, np.ndarray] = {}
        for name, rows in (("text", text), ("picture", picture)):
            known = rows[np.isfinite(rows).all(axis=1)].astype(np.float64)
            centred = known - known.mean(axis=0)
            _, vectors = np.linalg.eigh(centred.T @ centred)
            basis = vectors[:, ::-1][:, :dim]
            signs = np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])])
            made |= {f"{name}_mean": known.mean(axis=0), f"{name}_basis": basis * signs}
        made["scale"] = np.ones(made["text_basis"].shape[1] + made["picture_basis"].shape[1])
        space = cls(made)
        spread = space.rows(text, picture).std(axis=0)
        return cls({**made, "scale": 1 / np.maximum(spread, 1e-6)})

    @property
    def dim(self) -> int:
        """Of user vectors."""
        return 2 * len(self._state["scale"])

    @property
    def text_mean(self) -> np.ndarray:
        """Of texts, ``[text_dim]``."""
        return self._state["text_mean"]

    @property
    def picture_mean(self) -> np.ndarray:
        """Of pictures, ``[picture_dim]``."""
        return self._state["picture_mean"]

    def rows(self, text: np.ndarray, picture: np.ndarray) -> np.ndarray:
        """Return where items lie, float32 ``[n, dim / 2]``; what is missing (NaN) is an average one."""
        parts = []
        for name, given in (("text", text), ("picture", picture)):
            centred = np.nan_to_num(given - self._state[f"{name}_mean"])
            parts.append(unit_rows(centred @ self._state[f"{name}_basis"]))
        return (np.hstack(parts) * self._state["scale"]).astype(np.float32)

    def user(self, rows: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Return the user vector ``[dim]``.

        Args:
            rows: of liked items, ``[n, dim / 2]``.
            near: which of them are most like the target, int ``[<= n]``.
        """
        if not len(rows):
            return np.zeros(self.dim, dtype=np.float32)
        close = rows[near] if len(near) else rows
        sizes = min(len(rows), 16) ** 0.5, len(close) ** 0.5  # means of many are small: back to numbers of size 1
        return np.concatenate([rows.mean(axis=0) * sizes[0], close.mean(axis=0) * sizes[1]]).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """Return the numbers that it is made of."""
        return self._state | ({} if self.typical is None else {"typical": self.typical})


def nearest(target: np.ndarray, texts: np.ndarray, n: int) -> np.ndarray:
    """Return which of the texts ``[m, dim]`` are most like the target's ``[dim]``, ``n`` at most; unknown ones last."""
    scores = np.nan_to_num(texts @ np.nan_to_num(target), nan=-1.0)
    return np.argsort(-scores, kind="stable")[:n]
