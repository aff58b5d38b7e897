"""Does one more plan still fit a chain's budget? Two accountings, each valid for plans chosen after earlier answers.

    sum     epsilons and deltas add up, of a plan without delta the epsilon alone (basic composition, a filter for
            adaptively chosen epsilons and deltas: Rogers, Roth, Ullman, Vadhan, NeurIPS 2016)
    zCDP    rho = sum of epsilon_i^2 / 2 over all tables (discrete Laplace noise of pure epsilon_i is epsilon_i^2 / 2
            zCDP: Bun, Steinke, TCC 2016), kept below what an (epsilon, delta) allows (filter: Feldman, Zrnic, NeurIPS
            2021; Whitehouse, Ramdas, Rogers, Wu, ICML 2023)

A budget of epsilon alone knows the sum only. One with delta gives a half of it to each accounting, and a plan fits if
either lets it: whatever answers were given in all, they pass the first filter with delta / 2 or the second, so their
delta at the budget's epsilon is at most the sum of both halves. Whole numbers throughout; `squares` is twice rho in
square micro-epsilon. The cap of rho is computed with floats, once for a budget, and rounded down beyond their error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import isqrt

from analytics.privacy.accountant import ATTO
from analytics.privacy.composition import zcdp_cap


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What is charged for plans: micro-epsilon, units of 10^-18 of delta, and the squares of their tables' epsilons."""

    micro_epsilon: int = 0
    atto_delta: int = 0
    squares: int = 0

    def __add__(self, other: Loss) -> Loss:
        return Loss(
            micro_epsilon=self.micro_epsilon + other.micro_epsilon,
            atto_delta=self.atto_delta + other.atto_delta,
            squares=self.squares + other.squares,
        )

    def times(self, attempts: int) -> Loss:
        return Loss(**{name: attempts * one for name, one in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a chain's signed policy lets all plans lose together; `squares` is 0 without delta."""

    micro_epsilon: int
    atto_delta: int = 0
    squares: int = 0

    @classmethod
    def of(cls, micro_epsilon: int, atto_delta: int) -> Allowance:
        """Of a policy's epsilon and delta; the filter's part follows from them."""
        return cls(
            micro_epsilon=micro_epsilon, atto_delta=atto_delta, squares=_squares(micro_epsilon, atto_delta)
        )

    def by_sum(self, loss: Loss) -> bool:
        """Whether the sums of epsilons and of deltas are within."""
        return loss.micro_epsilon <= self.micro_epsilon and 2 * loss.atto_delta <= self.atto_delta

    def by_zcdp(self, loss: Loss) -> bool:
        """Whether rho is within; never without delta."""
        return self.atto_delta > 0 and loss.squares <= self.squares

    def covers(self, loss: Loss) -> bool:
        return self.by_sum(loss) or self.by_zcdp(loss)

    def left(self, held: Loss) -> int:
        """The most micro-epsilon that one further table without delta may have, beside what is held."""
        by_sum = self.micro_epsilon - held.micro_epsilon if 2 * held.atto_delta <= self.atto_delta else 0
        by_zcdp = isqrt(max(0, self.squares - held.squares)) if self.atto_delta else 0
        return max(0, by_sum, by_zcdp)


def squares(charges: Iterable[int]) -> int:
    """Twice rho of tables with these charges (micro-epsilon), in square micro-epsilon."""
    return sum(charge * charge for charge in charges)


@lru_cache(maxsize=1024)
def _squares(micro_epsilon: int, atto_delta: int) -> int:
    return zcdp_cap(micro_epsilon, Fraction(atto_delta, 2 * ATTO)) if micro_epsilon and atto_delta else 0
