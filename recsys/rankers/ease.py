"""EASE: the closed-form item-item regression (Steck, WWW 2019, eq. 8)."""

from __future__ import annotations

from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.protocols import Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import FitLog, Interactions, ItemFeatures
from recsys.rankers.closed_form import TIME_SCALE, chosen_gram, item_regression, refuse_too_many
from recsys.rankers.linear import LinearItemRanker


class EASE(LinearItemRanker):
    """Minimises ``|X - X B|^2 + regularisation |B|^2`` with a zero diagonal.

    With ``time_scale`` the products ``X^T X`` in its solution count two items of a user the less the further apart
    they were taken, ``exp(-gap / time_scale)``: what is taken in one sitting tells more of each other.

    The item matrix is dense. Fitting needs ``12 n_items^2`` bytes beside the data (measured at 7,000 items:
    12.5) and a time that grows with ``n_items^3``; the fitted ranker is ``4 n_items^2`` bytes, also on disk.
    10,000 items need 1.2 GB, 50,000 items 30 GB; what does not fit into memory is refused before it is begun.
    """

    class Settings(BaseSettings):
        regularisation: float = Field(250.0, gt=0, description="Lambda: larger shrinks towards popularity.")
        time_scale: float | None = Field(None, gt=0, description=TIME_SCALE)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Solve in closed form.

        Raises:
            RankerError: the item matrix does not fit into memory, or it is singular; ``time_scale`` is set, and not all
                interactions have a time.
        """
        refuse_too_many(train.n_items, "ease")
        with stopwatch() as times:
            self.weights = item_regression(
                chosen_gram(train, self.settings.time_scale, "ease"), self.settings.regularisation
            )
        return FitLog(best=dict(valid(self)) if valid else {}, **times)
