"""Columns of one table that cannot both be right: counted by patient, never shown.

A death flag that says no beside a date of death, a flag named like a level that another column denies, two
columns that agree but for a few patients, a time to an event beyond the time of follow-up, patients who are
alike in everything but the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analytics.query.schema import Field
from analytics.query.tree import normal_form
from providers.headers import FOLLOW_UP, TIME, of_death, words
from providers.ranging import Column

Mask = NDArray[np.bool_]
Suspicion = tuple[str, str, str, str]  # rule, message, remedy, column

MOST_COMPARED = 64  # categories: their pairs are few thousand
ALIKE = 0.9  # Cohen's kappa from which on two columns are meant to say the same
FEW = 0.5  # of the patients: more is no slip but another meaning
TWIN_FIELDS, TWINS, MANY_VALUES = 6, 0.05, 30


def contradictions(
    fields: Sequence[Field], columns: Mapping[str, Column], numbers: Mapping[str, NDArray[np.float64]]
) -> Iterator[Suspicion]:
    """Every pair of columns that contradict each other, and patients who seem to be in the table twice.

    Shapes  numbers[name]: (patients,), NaN where missing.
    """
    read = [item for item in fields if item.name in columns]
    yield from _deaths(read, columns)
    yield from _denied(read, columns)
    yield from _nearly_alike(read, columns)
    yield from _beyond_follow_up(read, numbers)
    yield from _twins(read, columns)


def yes_level(item: Field) -> int | None:
    """The code that says yes of a flag; None of anything else."""
    if item.kind != "category" or len(item.levels) != 2:
        return None
    values = [level.value for level in item.levels]
    if item.yes is not None:
        return values.index(item.yes)
    return values.index("1") if set(values) == {"0", "1"} else None


def _named(item: Field) -> frozenset[str]:
    return words(item.name) | words(item.source)


def _deaths(read: Sequence[Field], columns: Mapping[str, Column]) -> Iterator[Suspicion]:
    for flag in read:
        yes = yes_level(flag)
        if yes is None or not of_death(_named(flag)):
            continue
        told = columns[flag.name]
        alive = told.present & (told.codes != yes)
        for other in read:
            flagged = yes_level(other) is not None
            if other is flag or not of_death(_named(other)) or flagged:
                continue
            if other.kind == "number" and other.since is None:
                continue  # a time to death or censoring is there for the living too
            found = int((alive & columns[other.name].present).sum())
            if found:
                yield (
                    "death_contradicted",
                    f"{found} patients have {other.name} though {flag.name} says that they did not die",
                    "correct the flag, or the date or cause of death",
                    flag.source,
                )


def _denied(read: Sequence[Field], columns: Mapping[str, Column]) -> Iterator[Suspicion]:
    """A flag WEST beside a region with a level West."""
    flags = {normal_form(item.name): item for item in read if yes_level(item) is not None}
    for item in read:
        if item.kind != "category":
            continue
        for code, level in enumerate(item.levels):
            for form in {normal_form(level.value), normal_form(level.label)}:
                flag = flags.get(form)
                if flag is None or flag is item:
                    continue
                one, other = columns[flag.name], columns[item.name]
                both = one.present & other.present
                found = int((both & ((one.codes == yes_level(flag)) != (other.codes == code))).sum())
                if found:
                    yield (
                        "flag_contradicted",
                        f"{flag.name} and {item.name} contradict each other for {found} patients",
                        "find out which is right, and leave the other out",
                        flag.source,
                    )


def _nearly_alike(read: Sequence[Field], columns: Mapping[str, Column]) -> Iterator[Suspicion]:
    compared = [item for item in read if item.kind == "category" and len(item.levels) > 1][:MOST_COMPARED]
    for first, second in combinations(compared, 2):
        values = [level.value for level in first.levels]
        match = [values.index(level.value) if level.value in values else -1 for level in second.levels]
        flags = yes_level(first) is not None and yes_level(second) is not None
        if first.source == second.source or (not flags and len(set(match) - {-1}) < 2):
            continue  # one column read twice, as for two visits, is meant to be much alike
        one, other = columns[first.name], columns[second.name]
        both = one.present & other.present
        count = int(both.sum())
        if not count:
            continue
        width = len(second.levels)
        pairs = np.bincount(one.codes[both] * width + other.codes[both], minlength=len(values) * width)
        table = pairs.reshape(len(values), width)
        if flags:
            same = table if yes_level(first) == yes_level(second) else table[:, ::-1]
            differing = min(_differing(same), _differing(same[:, ::-1]), key=lambda found: found[0])
        else:
            square = np.zeros((len(values) + 1, len(values) + 1), dtype=np.int64)
            for column, row in enumerate(match):
                square[:-1, row] += table[:, column]
            differing = _differing(square)
        found, expected = differing
        if 0 < found < (1 - ALIKE) * expected:
            yield (
                "nearly_alike",
                f"{first.name} and {second.name} say the same of all but {found} of {count} patients",
                "find out which is right, or leave one out",
                first.source,
            )


def _differing(square: NDArray[np.int64]) -> tuple[int, float]:
    """How many patients lie off the diagonal, and how many would by chance: 1 - kappa is their ratio."""
    total = square.sum()
    off = int(total - np.trace(square))
    return off, float(total - (square.sum(axis=0) * square.sum(axis=1)).sum() / total)


def _beyond_follow_up(
    read: Sequence[Field], numbers: Mapping[str, NDArray[np.float64]]
) -> Iterator[Suspicion]:
    times = [item for item in read if item.kind == "number" and item.since is None and item.name in numbers]
    whole = [item for item in times if _named(item) & FOLLOW_UP]
    for end in whole:
        for item in times:
            if item in whole or item.unit != end.unit or not (item.role == "time" or _named(item) & TIME):
                continue
            both = ~np.isnan(numbers[item.name]) & ~np.isnan(numbers[end.name])
            found = int((numbers[item.name][both] > numbers[end.name][both]).sum())
            if 0 < found <= FEW * both.sum():
                yield (
                    "beyond_follow_up",
                    f"{item.name} is beyond {end.name} for {found} patients",
                    "check that both have one unit and one start, and correct what is beyond",
                    item.source,
                )


def _twins(read: Sequence[Field], columns: Mapping[str, Column]) -> Iterator[Suspicion]:
    """Patients with equal codes in every field; only where many fields make chance unlikely."""
    telling = [item for item in read if len(np.unique(columns[item.name].codes)) >= MANY_VALUES]
    if len(read) < TWIN_FIELDS or len(telling) < 2:
        return
    known = np.zeros(len(columns[read[0].name].codes), dtype=np.int64)
    for item in telling:
        known += columns[item.name].present
    frame = pd.DataFrame(
        {str(n): np.where(columns[x.name].present, columns[x.name].codes, -1) for n, x in enumerate(read)}
    )
    hashed = pd.util.hash_pandas_object(frame, index=False)
    found = int((hashed.duplicated(keep=False).to_numpy() & (known >= 2)).sum())
    if 0 < found <= TWINS * len(frame):
        yield (
            "alike_patients",
            f"{found} patients are alike in every field: some may be in the table twice under two keys",
            "look for one patient with two keys",
            "",
        )
