"""Who sends what to whom in a half gate.

In the half gate (i, j) the parties other than i and j know a value v; component i takes r = PRF(k_i), component j
takes v - r. All holders of component j but i can compute it: s = sigma_i(j) sends it to i, and q = sigma_i(s)
vouches for it. sigma_i is the cyclic order of the other three, increasing for even i, decreasing for odd i, so that
every directed link carries the same load, and everything on link s -> i is vouched by sigma_i(s).
With three parties there is one other party, and nobody to vouch. Dalskov, Escudero, Keller, USENIX Security 2021.
"""

from __future__ import annotations

from functools import cache

Pair = tuple[int, int]

FORWARD: dict[int, tuple[Pair, ...]] = {
    4: ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3)),
    3: ((0, 1), (1, 2), (2, 0)),
}


def remaining(missing: int) -> tuple[int, int, int]:
    """Who of four parties is left without `missing`, ascending: number k of the three is remaining(missing)[k]."""
    a, b, c = (p for p in range(4) if p != missing)
    return a, b, c


@cache
def sigma(n: int, i: int) -> tuple[int, ...]:
    """The other parties in i's cyclic order."""
    others = [(i + step) % n for step in range(1, n)]
    others.sort()
    return tuple(others if i % 2 == 0 else reversed(others))


@cache
def after(n: int, i: int, p: int) -> int:
    """sigma_i(p): the party that follows p in i's order."""
    order = sigma(n, i)
    return order[(order.index(p) + 1) % len(order)]


@cache
def sender(n: int, i: int, j: int) -> int:
    """Who sends component j to i in half gate (i, j)."""
    return after(n, i, j)


@cache
def voucher(n: int, s: int, i: int) -> int | None:
    """Who vouches for everything on link s -> i; nobody with three parties."""
    return after(n, i, s) if n == 4 else None


@cache
def vouched_by(n: int, q: int, i: int) -> int | None:
    """The party whose link to i the party q vouches for."""
    if n != 4:
        return None
    return next(s for s in sigma(n, i) if after(n, i, s) == q)


@cache
def halves(n: int) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """The two half tables: first half of a gate's words, second half. One table with three parties."""
    forward = FORWARD[n]
    return (forward, tuple((j, i) for i, j in forward)) if n == 4 else (forward, forward)
