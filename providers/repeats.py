"""Many rows of one patient: which column tells them apart, and what to make of each of the others.

A file may hold one row for each of a few things (a laboratory parameter, an endpoint's definition): each
becomes a field of its own, read where that column says so. Else every column comes down to one value as its
kind suggests, and a person chooses another way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analytics.query.tree import Name, as_number, normal_form
from providers.headers import ORDER, words
from providers.proposal import Proposal, Rows, is_name
from providers.reduction import order_ranks
from providers.study import Joined

MOST_THINGS = 30
MOST_FIELDS = 90  # made of one file's things and columns
OFTEN = 0.5  # of the patients have a row of each thing
SLIP = 0.05  # of the patients: so few with several rows are in the table twice by mistake
CHOICES = (
    '"only" (one row is left by "where"), "first" (with "orderBy"), "min", "max", "any" and "all" (with "test"), '
    '"count"'
)


@dataclass(frozen=True)
class Repeats:
    """How a file repeats patients. `thing` tells a patient's rows apart, `things` are its texts; `order` sorts
    what is left; `constant` columns say the same in all rows of a patient; `told` follow from `thing`."""

    slip: bool
    thing: str | None = None
    things: tuple[str, ...] = ()
    order: str | None = None
    constant: frozenset[str] = frozenset()
    told: frozenset[str] = field(default=frozenset())


def repeats_of(file: Joined, key: str) -> Repeats | None:
    """How the file repeats patients; None if it does not."""
    if not len(file.several):
        return None
    patients = len(np.unique(file.patient))
    others = [name for name in file.table.headers if name != key]
    constant = frozenset(name for name in others if _pairs(file.patient, file.texts(name).index) == patients)
    if len(np.unique(file.patient[file.several])) <= SLIP * patients:
        return Repeats(slip=True, constant=constant)
    varying = [name for name in others if name not in constant]
    order = next((name for name in varying if words(name) & ORDER and _orders(file, name)), None)
    for name in sorted(varying, key=lambda name: name == order):
        if not _tells_things(file, name):
            continue
        index = file.texts(name).index
        apart = _pairs(file.patient, index) == file.table.rows
        if _pairs(file.patient, index) < OFTEN * patients * len(file.texts(name).distinct):
            continue
        sorted_out = order is not None and name != order and _triples(file, name, order) == file.table.rows
        if not apart and not (
            sorted_out and _pairs(file.patient, file.texts(str(order)).index) < file.table.rows
        ):
            continue
        told = frozenset(
            other
            for other in varying
            if other != name and _pairs(index, file.texts(other).index) == len(file.texts(name).distinct)
        )
        things = tuple(file.texts(name).distinct)
        return Repeats(False, name, things, None if apart else order, constant, told)
    return Repeats(False, order=order, constant=constant)


def of_thing(repeats: Repeats, thing: str) -> dict[str, Any]:
    """The `reduce` of a field that reads the rows of one thing."""
    where = f"{Name(str(repeats.thing))} == {Name(thing)}"
    if repeats.order is None:
        return {"how": "only", "where": where}
    return {"how": "first", "where": where, "orderBy": repeats.order}


def to_one(made: Proposal, header: str, repeats: Repeats, counts: dict[str, int]) -> None:
    """Give a column's proposal its `reduce`, and say what else there is.

    `counts` is how many rows hold each text.
    """
    setting = made.setting
    made.local.append("reduce")
    if repeats.slip or header in repeats.constant:
        setting["reduce"] = {"how": "first"}
        if not repeats.slip:
            made.note("all rows of a patient say the same: the first is read")
        return
    if made.kind == "category":
        _answer(made, counts)
    elif repeats.order is not None and header != repeats.order:
        setting["reduce"] = {"how": "first", "orderBy": repeats.order}
        made.note(f"the first value by {repeats.order} is read")
    elif made.kind == "days":
        setting["reduce"] = {"how": "min"}
        made.note("the earliest day is read")
    else:
        setting["reduce"] = {"how": "max"}
        made.note("the largest value is read")


def _answer(made: Proposal, counts: dict[str, int]) -> None:
    """Whether any row of the patient holds one level: the last of a scale, yes of a flag, else the most frequent."""
    levels = made.setting.pop("categories")
    values = [level["value"] for level in levels]
    yes = next(
        (level["value"] for level in levels if "yes" in (level["value"].casefold(), level.get("label"))), None
    )
    scale = all(as_number(value) is not None for value in values) and len(values) > 2
    made.local = [key for key in made.local if key not in ("categories", "recodes")]
    recodes = made.setting.pop("recodes", {})  # a test knows no case: other spellings pass it too
    rows = {value: sum(counts[t] for t in counts if recodes.get(t, t) == value) for value in values}
    if yes is not None:
        test = f"== {Name(yes)}"
        made.note("yes if any row of the patient says yes")
    elif scale:
        middle = values[len(values) // 2]
        test = f">= {Name(middle)}"
        made.note(
            f"levels look like a scale: yes if any row of the patient reaches {middle}; choose the limit"
        )
    else:
        most = max(values, key=lambda value: rows[value])
        test = f"== {Name(most)}"
        made.note(
            "yes if any row of the patient holds the most frequent level; a field each for others that matter"
        )
    made.setting["reduce"] = {"how": "any", "test": test}


def most_rows(file: Joined) -> int:
    """The most rows of any patient."""
    return int(np.bincount(file.patient).max())


def _tells_things(file: Joined, name: str) -> bool:
    texts = file.texts(name).distinct
    if not 2 <= len(texts) <= MOST_THINGS or not all(is_name(text) for text in texts) or not is_name(name):
        return False
    forms = {("", str(n)) if (n := as_number(t)) is not None else ("t", normal_form(t)) for t in texts}
    return len(forms) == len(texts)


def _orders(file: Joined, name: str) -> bool:
    rows = np.arange(file.table.rows)
    ranks = order_ranks(file, name, rows, lambda text: text == "", file.table.decimal)
    return ranks is not None and is_name(name)


def _pairs(first: Rows, second: Rows) -> int:
    return len(pd.unique(first * (int(second.max(initial=0)) + 1) + second))


def _triples(file: Joined, first: str, second: str) -> int:
    one, other = file.texts(first), file.texts(second)
    return _pairs(file.patient * len(one.distinct) + one.index, other.index)
