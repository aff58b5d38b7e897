"""A codebook's `where` and `test`, decided on the raw texts of one file.

Same grammar and same rules as a question: a comparison with a missing value is false. A value that spells a
number is compared as a number; any other is compared as text in normal form. Each distinct text is looked at
once, however many rows hold it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.query.tree import Among, And, Compare, Leaf, Missing, Name, Not, Or, Predicate, normal_form
from providers.report import Report
from providers.study import Joined, find_column
from providers.values import Unreadable, read_number

Mask = NDArray[np.bool_]
OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Undecidable(Exception):
    """A text that an ordering comparison cannot place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


@dataclass(frozen=True)
class Where:
    """A predicate of one field on one file. `meaning(header, text)` is what a text says, None if nothing."""

    joined: Joined
    meaning: Callable[[str, str], str | None]
    report: Report
    setting: str

    def rows(self, predicate: Predicate) -> Mask | None:
        """Which rows satisfy the predicate; None if it cannot be decided, which is then reported."""
        if isinstance(predicate, Not):
            part = self.rows(predicate.part)
            return None if part is None else ~part
        if isinstance(predicate, (And, Or)):
            parts = [self.rows(part) for part in predicate.parts]
            decided = [part for part in parts if part is not None]
            if len(decided) < len(parts):
                return None
            join = np.logical_and if isinstance(predicate, And) else np.logical_or
            joined: Mask = join.reduce(decided)
            return joined
        return self._leaf(predicate)

    def _leaf(self, leaf: Leaf) -> Mask | None:
        file = self.joined.table.file
        header = find_column(leaf.name.text, self.joined.table.headers)
        if header is None:
            self.report.error(
                "where_column_missing",
                f"{self.setting} names a column that this file does not have",
                "correct the name; where and reduce read raw columns of the field's own file",
                file=file,
                line=1,
                column=leaf.name.text,
            )
            return None
        texts = self.joined.texts(header)
        truth = np.zeros(len(texts.distinct), dtype=bool)
        undecided = truth.copy()
        for u, text in enumerate(texts.distinct):
            try:
                truth[u] = holds(leaf, self.meaning(header, text))
            except Undecidable:
                undecided[u] = True
        if undecided.any():
            self.report.lines(
                "where_not_a_number",
                f"{self.setting} compares with a number, and the text is none",
                'correct it, or list it in the "missingValues" of a field that reads this column',
                lines=self.joined.table.lines[undecided[texts.index]],
                file=file,
                column=header,
            )
            return None
        return truth[texts.index]


def holds(leaf: Leaf, text: str | None) -> bool:
    """Whether a comparison is true of one text, None being missing.

    Raises  Undecidable if an ordering with a number meets a text that is none.
    """
    if isinstance(leaf, Missing):
        return (text is None) != leaf.negated
    if text is None:
        return False
    if isinstance(leaf, Among):
        return any(_equal(text, value) for value in leaf.values) != leaf.negated
    if leaf.operator in ("==", "!="):
        return _equal(text, leaf.value) == (leaf.operator == "==")
    return _ordered(leaf, text)


def _equal(text: str, value: Name) -> bool:
    if text == value.text:
        return True
    number = read_number(text)
    if value.number is not None:
        return number == value.number
    # "-1" and "1" have one normal form: a number is never equal to a text that is none.
    return isinstance(number, Unreadable) and normal_form(text) == value.form


def _ordered(leaf: Compare, text: str) -> bool:
    compare = OPERATORS[leaf.operator]
    if leaf.value.number is None:
        return bool(compare(text, leaf.value.text))
    number = read_number(text)
    if isinstance(number, Unreadable):
        raise Undecidable(text)
    return bool(compare(number, leaf.value.number))
