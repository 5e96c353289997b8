"""EASE with content: text and picture kernels in the closed-form regression.

Collective EASE and Add-EASE: Jeunen, Van Balen, Goethals, "Closed-form models for collaborative filtering with
side-information", RecSys 2020; text vectors of language models in them: "L3AE", 2025.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.protocols import Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import FitLog, Interactions, ItemFeatures
from recsys.rankers.closed_form import BYTES_A_PAIR, TIME_SCALE, chosen_gram, item_regression, refuse_too_many
from recsys.rankers.content import chosen_features, content_rows, modality_weights
from recsys.rankers.linear import LinearItemRanker


class ContentEASE(LinearItemRanker):
    """Item-item weights that explain both who took what and what items look and read like.

    ``B`` minimises ``|X - X B|^2 + strength sum_m w_m |F_m^T - F_m^T B|^2 + regularisation |B|^2`` with a zero
    diagonal: the closed form of EASE, whose Gram matrix gets ``strength sum_m w_m F_m F_m^T`` added (collective).
    With ``added > 0`` the regression of the features alone, ``regularisation_added``, is mixed in (Add-EASE):
    ``B = (1 - added) B_collective + added B_content``. An item that nobody took has a row and a column all the
    same, from its content. Memory and time are those of EASE,
    with ``added`` 4/3 of the memory and twice the time.
    """

    uses_features = True

    class Settings(BaseSettings):
        regularisation: float = Field(250.0, gt=0, description="Lambda: larger shrinks towards popularity.")
        time_scale: float | None = Field(None, gt=0, description=TIME_SCALE)
        strength: float = Field(50.0, ge=0, description="How many users the features count as; 0: plain EASE.")
        added: float = Field(0.0, ge=0, le=1, description="Share of the regression of the features alone.")
        regularisation_added: float = Field(1.0, gt=0, description="Lambda of that regression.")
        modalities: tuple[str, ...] = Field((), description="Which features to read; empty: all there are.")
        weights: dict[str, float] = Field({}, description="Weight of a modality's kernel; else 1.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Solve in closed form.

        Raises:
            RankerError: there are no features, the item matrix does not fit into memory, or it is singular;
                ``time_scale`` is set, and not all interactions have a time.
        """
        chosen = chosen_features(features, self.settings.modalities, "content_ease")
        refuse_too_many(train.n_items, "content_ease", BYTES_A_PAIR + (4 if self.settings.added else 0))
        with stopwatch() as times:
            rows = content_rows(chosen, modality_weights(chosen, self.settings.weights, "content_ease"))
            self.weights = self._solve(train, rows)
        return FitLog(best=dict(valid(self)) if valid else {}, **times)

    def _solve(self, train: Interactions, rows: np.ndarray) -> np.ndarray:
        """Return the weights; what a regression overwrote is let go at once."""
        chosen = self.settings
        gram = chosen_gram(train, chosen.time_scale, "content_ease")
        weights = item_regression(with_kernel(gram, rows, chosen.strength), chosen.regularisation)
        del gram
        if chosen.added:
            kernel = with_kernel(np.zeros((len(rows), len(rows))), rows, 1.0)
            content = item_regression(kernel, chosen.regularisation_added)
            del kernel
            content *= chosen.added
            weights *= 1.0 - chosen.added
            weights += content
        return weights


def with_kernel(gram: np.ndarray, rows: np.ndarray, strength: float) -> np.ndarray:
    """Return ``gram`` itself with ``strength * rows @ rows.T`` added."""
    add_kernel(gram, rows, strength)
    return gram


def add_kernel(gram: np.ndarray, rows: np.ndarray, strength: float, block: int = 1024) -> None:
    """Add ``strength * rows @ rows.T`` to ``gram`` in place, block by block."""
    if not strength:
        return
    for start in range(0, len(gram), block):
        gram[start : start + block] += np.float64(strength) * (rows[start : start + block] @ rows.T)
