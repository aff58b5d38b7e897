"""The multiplication gate over bits and over Z_2^64: one code path, one round.

    z_c += x_c y_c                         at the holders of c
    r = PRF(k_i, (i, j)); z_i += r         at all but i
    w = x_i y_j + x_j y_i - r; z_j += w    at all but j; i receives w from s = sigma_i(j), vouched by sigma_i(s)

Dalskov, Escudero, Keller, USENIX Security 2021 (eprint 2020/1330) for four parties; Araki et al., CCS 2016 for three.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from mpcnode import roles
from mpcnode.ring import XOR, Algebra, Words
from mpcnode.session import SMALL_WORDS, Op, Session
from mpcnode.sharing import Share

CHUNK = 8192  # words; temporaries of one chunk stay in cache


class HalfGates(Op):
    """Half gates over a flat array of `size` words: the pattern that product, inner product, deal and fold share.

    `z` is (n - 1, size) and already holds what needs no message; a subclass's `value` says what v_ij is.
    """

    def __init__(
        self,
        session: Session,
        algebra: Algebra,
        z: Words,
        keep: Callable[[roles.Pair], bool] = lambda pair: True,
    ) -> None:
        self.session = session
        self.algebra = algebra
        self.z = z
        self.size = z.shape[1]
        self.segments = [
            (start, stop, tuple(pair for pair in table if keep(pair)))
            for start, stop, table in session.half_tables(self.size)
        ]
        self.loads: dict[tuple[int, int], int] = {}  # words on each link
        for start, stop, table in self.segments:
            for i, j in table:
                link = roles.sender(session.n, i, j), i
                self.loads[link] = self.loads.get(link, 0) + stop - start

    def prepare(self, lo: int, hi: int) -> None:
        """Called before the values of words lo to hi: `z` still holds there what it held at the start."""

    @abstractmethod
    def value(self, i: int, j: int, lo: int, hi: int, out: Words) -> None:
        """Write v_ij of words lo to hi into `out`; called only where this party knows it."""

    def words(self, s: int, i: int) -> int:
        return self.loads.get((s, i), 0)

    def begin(self, outgoing: Mapping[int, Words], vouched: Mapping[int, Words]) -> None:
        session, me, n = self.session, self.session.party, self.session.n
        add, sub = self.algebra.add, self.algebra.sub
        scratch = np.empty(CHUNK, dtype=np.uint64)
        filled = {id(buffer): 0 for buffer in (*outgoing.values(), *vouched.values())}
        for start, stop, table in self.segments:
            targets: dict[roles.Pair, Words] = {}
            for i, j in table:
                if me not in (i, j):
                    buffer = outgoing[i] if roles.sender(n, i, j) == me else vouched[i]
                    at = filled[id(buffer)]
                    targets[i, j] = buffer[at : at + stop - start]
                    filled[id(buffer)] = at + stop - start
            for lo in range(start, stop, CHUNK):
                hi = min(lo + CHUNK, stop)
                self.prepare(lo, hi)
                r = scratch[: hi - lo]
                for i, j in table:
                    if me == i:
                        continue
                    session.half_gate_stream(i, j).fill(r)
                    zi = self._slot(i)[lo:hi]
                    add(zi, r, out=zi)
                    if me == j:
                        continue
                    w = targets[i, j][lo - start : hi - start]
                    self.value(i, j, lo, hi, w)
                    sub(w, r, out=w)
                    zj = self._slot(j)[lo:hi]
                    add(zj, w, out=zj)

    def finish(self, received: Mapping[int, Words]) -> Any:
        me, n = self.session.party, self.session.n
        taken = dict.fromkeys(received, 0)
        for start, stop, table in self.segments:
            for i, j in table:
                if me == i:
                    s = roles.sender(n, i, j)
                    zj = self._slot(j)[start:stop]
                    self.algebra.add(zj, received[s][taken[s] : taken[s] + stop - start], out=zj)
                    taken[s] += stop - start
        return self.z

    def _slot(self, c: int) -> Words:
        component: Words = self.z[c if c < self.session.party else c - 1]
        return component


class Product(HalfGates):
    """[x * y] over pieces: a broadcast operand is given piece by piece, so that no copy of it is made."""

    def __init__(
        self,
        session: Session,
        pieces: Sequence[tuple[Words, Words]],
        shape: tuple[int, ...],
        algebra: Algebra,
    ) -> None:
        self.pieces = pieces
        self.shape = shape
        self.starts = [0, *accumulate(x.shape[1] for x, _ in pieces)]
        self.spare = np.empty(CHUNK, dtype=np.uint64)
        z = np.empty((session.n - 1, self.starts[-1]), dtype=np.uint64)
        super().__init__(session, algebra, z)

    def begin(self, outgoing: Mapping[int, Words], vouched: Mapping[int, Words]) -> None:
        for (x, y), start in zip(self.pieces, self.starts, strict=False):
            self.algebra.mul(x, y, out=self.z[:, start : start + x.shape[1]])
        super().begin(outgoing, vouched)

    def value(self, i: int, j: int, lo: int, hi: int, out: Words) -> None:
        mul, add, me = self.algebra.mul, self.algebra.add, self.session.party
        i, j = (i if i < me else i - 1), (j if j < me else j - 1)
        first = bisect_right(self.starts, lo) - 1
        for k in range(first, len(self.pieces)):
            start, stop = self.starts[k], self.starts[k + 1]
            if start >= hi:
                break
            a, b = max(lo, start), min(hi, stop)
            x, y = self.pieces[k]
            w = out[a - lo : b - lo]
            spare = self.spare[: b - a]
            mul(x[i, a - start : b - start], y[j, a - start : b - start], out=w)
            mul(x[j, a - start : b - start], y[i, a - start : b - start], out=spare)
            add(w, spare, out=w)

    def finish(self, received: Mapping[int, Words]) -> Any:
        z = super().finish(received)
        return Share(self.session.party, self.session.n, self.algebra, z.reshape(-1, *self.shape))


def product(session: Session, x: Share, y: Share) -> Product:
    """[x * y], elementwise; to be awaited. The gate of either algebra.

    Shapes  x, y: broadcast together (leading axes); packed uint64 planes, or ring elements.
    Cost    one round, 1.5 words per word and party with four parties, 1 with three.
    Leaks   nothing to one party; a changed message is caught in the same round by its tag.
    Raises  ProtocolAbort, before this party sends anything more.
    """
    if x.algebra is not y.algebra:
        raise TypeError(f"a gate of {x.algebra.name} and {y.algebra.name} shares")
    shape = np.broadcast_shapes(x.shape, y.shape)
    return Product(session, _pieces(x, y, shape), shape, x.algebra)


def _pieces(x: Share, y: Share, shape: tuple[int, ...]) -> list[tuple[Words, Words]]:
    lead = len(x.components)
    if x.shape == y.shape:
        return [(x.components.reshape(lead, -1), y.components.reshape(lead, -1))]
    if shape[-1] < SMALL_WORDS or len(shape) == 1:
        return [
            (
                np.broadcast_to(_aligned(x, shape), (lead, *shape)).reshape(lead, -1),
                np.broadcast_to(_aligned(y, shape), (lead, *shape)).reshape(lead, -1),
            )
        ]
    wide_x = np.broadcast_to(_aligned(x, shape), (lead, *shape))
    wide_y = np.broadcast_to(_aligned(y, shape), (lead, *shape))
    return [(wide_x[(slice(None), *k)], wide_y[(slice(None), *k)]) for k in np.ndindex(*shape[:-1])]


def _aligned(x: Share, shape: tuple[int, ...]) -> Words:
    return x.components.reshape(len(x.components), *(1,) * (len(shape) - len(x.shape)), *x.shape)


def merge_small(session: Session, ops: Sequence[Op]) -> tuple[list[Op], Callable[[list[Any]], list[Any]]]:
    """Join all small bit gates of a round into one; large ones and others first, in the order of their awaits.

    Returns the ops to exchange and a function that deals their results to the original ops.
    """
    small = [
        k
        for k, op in enumerate(ops)
        if isinstance(op, Product) and op.algebra is XOR and op.size < SMALL_WORDS
    ]
    if len(small) < 2:
        return list(ops), lambda results: results
    chosen = set(small)
    others = [k for k in range(len(ops)) if k not in chosen]
    parts = [ops[k] for k in small]
    joined = [
        np.concatenate([piece[side] for part in parts for piece in part.pieces], axis=1)  # type: ignore[attr-defined]
        for side in (0, 1)
    ]
    merged = Product(session, [(joined[0], joined[1])], (joined[0].shape[1],), XOR)

    def deliver(results: list[Any]) -> list[Any]:
        dealt: list[Any] = [None] * len(ops)
        for k, result in zip(others, results, strict=False):
            dealt[k] = result
        whole: Share = results[-1]
        start = 0
        for k in small:
            part: Product = ops[k]  # type: ignore[assignment]
            dealt[k] = whole[start : start + part.size].reshape(*part.shape)
            start += part.size
        return dealt

    return [*(ops[k] for k in others), merged], deliver
