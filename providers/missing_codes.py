"""Texts that stand for no value: "NA" and its kin by what they say, 99 and its kin by standing apart.

A guess for a person to confirm. A code counts only where it is the largest or smallest value of its column and
lies far from all others, or far more often at its place than its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from string import ascii_lowercase

SENTINELS = frozenset(Decimal(sign * number) for sign in (1, -1) for number in (9, 99, 999, 9999, 99999))
NOTHING = frozenset(["", ".", "na", "n/a", "n.a.", "#n/a", "nan", "null", "<na>", "._", *(f".{x}" for x in ascii_lowercase)])  # fmt: skip
UNSAID = NOTHING | frozenset(["none", "nil", "-", "--", "---", "?", "unknown", "unk", "missing", "not known", "not done",
                              "not available", "nd", "n.d.", "nr"])  # fmt: skip
NEAREST = 10


def says_nothing(texts: Iterable[str], *, number: bool) -> set[str]:
    """The texts that say in words that there is no value; among numbers more words do than among levels."""
    known = UNSAID if number else NOTHING
    return {text for text in texts if text.casefold() in known}


def standing_apart(counts: Mapping[Decimal, int]) -> list[Decimal]:
    """Values like 99 and -9 that stand apart from the others; `counts` is how many rows hold each value."""
    left, found = sorted(counts), []
    while len(left) > 2:
        ends = ((left[-1], left[-2::-1]), (left[0], left[1:]))
        apart = [value for value, rest in ends if value in SENTINELS and _apart(value, rest, counts)]
        if not apart:
            break
        found.append(apart[0])
        left.remove(apart[0])
    return sorted(found)


def _apart(value: Decimal, rest: list[Decimal], counts: Mapping[Decimal, int]) -> bool:
    """Whether an extreme value stands apart from `rest`, which is sorted from the nearest on."""
    gap, spread = abs(value - rest[0]), abs(rest[-1] - rest[0])
    if value < 0 <= rest[0] or gap > max(spread, Decimal(1)):
        return True
    listed = spread == len(rest) - 1 and len(rest) <= 12  # 1, 2, 3, 4 and then 9
    if listed and gap >= 2:
        return True
    usual = max(counts[other] for other in rest[:NEAREST])
    return len(rest) > 4 and gap * (len(rest) - 1) > 2 * spread and counts[value] >= 3 * usual
