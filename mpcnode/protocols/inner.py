"""Inner products of ring columns: one element of traffic for a sum over any number of rows.

The cross terms of a pair are summed before they are masked, so a message is as long as the result. The pair of
cyclic neighbours (a, a + 1) carries the diagonal, v = (x_a + x_{a+1}) y_a + x_a y_{a+1}: six local products a party
instead of nine (the trick of MP-SPDZ's Rep4).
"""

from __future__ import annotations

import numpy as np

from mpcnode.protocols.gates import HalfGates
from mpcnode.ring import RING, Words
from mpcnode.session import Session
from mpcnode.sharing import Share

CHUNK_ROWS = 16384


class Inner(HalfGates):
    """[x @ y.T] of ring shares x (a, rows) and y (b, rows)."""

    def __init__(self, session: Session, x: Share, y: Share) -> None:
        if x.algebra is not RING or y.algebra is not RING or x.shape[1:] != y.shape[1:]:
            raise TypeError("an inner product takes ring shares with as many rows")
        self.x, self.y = x, y
        self.shape = (x.shape[0], y.shape[0])
        self.known: dict[frozenset[int], Words] = {}
        z = np.zeros((session.n - 1, self.shape[0] * self.shape[1]), dtype=np.uint64)
        super().__init__(session, RING, z)

    def value(self, i: int, j: int, lo: int, hi: int, out: Words) -> None:
        pair = frozenset((i, j))
        if pair not in self.known:
            self.known[pair] = self._pair_value(i, j).reshape(-1)
        out[:] = self.known[pair][lo:hi]

    def _pair_value(self, i: int, j: int) -> Words:
        n = self.session.n
        if (j + 1) % n == i:
            i, j = j, i
        diagonal = (i + 1) % n == j
        total = np.zeros(self.shape, dtype=np.uint64)
        rows = self.x.shape[1]
        xi, xj = self.x.component(i), self.x.component(j)
        yi, yj = self.y.component(i), self.y.component(j)
        for lo in range(0, rows, CHUNK_ROWS):
            part = slice(lo, lo + CHUNK_ROWS)
            left = xi[:, part] + xj[:, part] if diagonal else xj[:, part]
            for b in range(self.shape[1]):
                total[:, b] += np.einsum("ar,r->a", left, yi[b, part])
                total[:, b] += np.einsum("ar,r->a", xi[:, part], yj[b, part])
        return total

    def finish(self, received: object) -> Share:
        z = super().finish(received)  # type: ignore[arg-type]
        return Share(self.session.party, self.session.n, RING, z.reshape(-1, *self.shape))


def inner(session: Session, x: Share, y: Share) -> Inner:
    """[sum over rows of x_a y_b]; to be awaited.

    Shapes  x (a, rows), y (b, rows) ring shares; result (a, b).
    Cost    one round, 1.5 words per result and party with four parties, 1 with three, whatever the rows.
    Leaks   nothing to one party; a changed message is caught in the same round by its tag.
    Raises  ProtocolAbort, before this party sends anything more.
    """
    return Inner(session, x, y)
