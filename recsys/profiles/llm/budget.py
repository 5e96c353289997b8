"""What language models may use, and what they did use."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field

from pydantic import Field

from recsys.core.config import Settings
from recsys.core.errors import RecsysError

MILLION = 1_000_000


class BudgetError(RecsysError):
    """A budget is used up; all answers so far are kept."""


class BudgetSettings(Settings):
    """How much may be asked; what the cache answers costs nothing."""

    tokens: int | None = Field(None, ge=0, description="Tokens read and written together, at most [no limit].")
    cost: float | None = Field(None, ge=0, description="Money, at most, in the currency of the prices [no limit].")
    price_in: float = Field(0.0, ge=0, description="Price of a million tokens that are read.")
    price_out: float = Field(0.0, ge=0, description="Price of a million tokens that are written.")


@dataclass
class Usage:
    """Sums over what was asked."""

    calls: int = 0
    hits: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    cost: float = 0.0

    def per(self, n: int, scale: int = 1000) -> dict[str, float]:
        """Return the sums for ``scale`` users where these were ``n``, and the share that the cache answered."""
        sums = {name: value * scale / max(n, 1) for name, value in asdict(self).items()}
        return sums | {"hit_share": self.hits / max(self.hits + self.calls, 1)}


@dataclass
class Budget:
    """Counts what is used and stops before the limits; threads may share one.

    Attributes:
        settings: the limits.
        used: the sums so far, of this process.
    """

    settings: BudgetSettings = field(default_factory=BudgetSettings)
    used: Usage = field(default_factory=Usage)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def check(self, tokens_in: int, tokens_out: int) -> None:
        """Refuse a call that might go beyond the limits.

        Raises:
            BudgetError: it might.
        """
        settings, used = self.settings, self.used
        with self._lock:
            tokens = used.tokens_in + used.tokens_out
            cost = used.cost + self.price(tokens_in, tokens_out)
        if settings.tokens is not None and tokens + tokens_in + tokens_out > settings.tokens:
            raise BudgetError(
                "budget of the language model",
                f"{tokens:,} of {settings.tokens:,} tokens are used, and the next call may take "
                f"{tokens_in + tokens_out:,}",
                "What was answered is kept: raise llm.budget.tokens and run again.",
            )
        if settings.cost is not None and cost > settings.cost:
            raise BudgetError(
                "budget of the language model",
                f"{used.cost:.4f} of {settings.cost:g} is spent and the next call may bring it to {cost:.4f}",
                "What was answered is kept: raise llm.budget.cost and run again.",
            )

    def price(self, tokens_in: int, tokens_out: int) -> float:
        """Return what a call costs."""
        return (tokens_in * self.settings.price_in + tokens_out * self.settings.price_out) / MILLION

    def charge(self, tokens_in: int, tokens_out: int, seconds: float = 0.0) -> None:
        """Count a call."""
        with self._lock:
            self.used.calls += 1
            self.used.tokens_in += tokens_in
            self.used.tokens_out += tokens_out
            self.used.seconds += seconds
            self.used.cost += self.price(tokens_in, tokens_out)

    def hit(self) -> None:
        """Count what the cache answered."""
        with self._lock:
            self.used.hits += 1
