"""A ranker whose worth is known: the nearer ``x`` is to 0.3, the better, and it grows with every epoch."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import RankerError
from recsys.core.values import FitLog

COUNTS = {"valid": 3, "test": 2}  # how often the items are in train that are held out in a part


class Toy:
    """Puts forward the items of one part, the stronger the nearer ``x`` is to 0.3; ``bad`` ones cannot be fitted."""

    class Settings(BaseSettings):
        x: float = Field(0.5, ge=0, le=1, description="Best at 0.3.")
        part: Literal["valid", "test"] = Field("valid", description="Whose items are put forward.")
        epochs: int = Field(1, ge=1, description="Validations.")
        bad: bool = Field(False, description="Fail.")
        seconds: float = Field(0.0, description="Of an epoch.")

    def __init__(self, settings) -> None:
        self.settings = settings

    def fit(self, train, features, *, valid=None, run):
        if self.settings.bad:
            raise RankerError("ranker toy", "it was told to fail", "Leave bad out.")
        noise = 1.5 * run.rng("noise").random(train.n_items)
        wanted = train.item_counts == COUNTS[self.settings.part]
        worth, rows = max(0.0, 1 - 1.5 * abs(self.settings.x - 0.3)), []
        for epoch in range(1, self.settings.epochs + 1):
            self.scores = (noise + wanted * worth * epoch / self.settings.epochs).astype(np.float32)
            time.sleep(self.settings.seconds)
            rows.append({"epoch": epoch, **(valid(self) if valid else {})})
        best = {name: value for name, value in rows[-1].items() if name != "epoch"}
        return FitLog(best=best, rows=rows, best_epoch=self.settings.epochs)

    def score(self, query):
        return np.tile(self.scores, (len(query), 1))

    def state(self):
        return {"scores": self.scores}

    def restore(self, state):
        self.scores = state["scores"]
