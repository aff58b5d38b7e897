"""Raw texts to one code per patient and field, as the codebook says, or a report of why not.

The order is fixed: text, missingValues, recodes, where, reduce, derive, cut or rounding, range. Every distinct
text is interpreted once and exactly; every complaint names file, line and column, the rule and a remedy, never the
text. Public: the codebook. Hidden: everything that comes out of here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

from analytics.query.schema import Field, Schema
from providers.derivation import derived, operands
from providers.predicate import Where
from providers.ranging import Codes, Column, Exact, Mask, code_in, ranged
from providers.reduction import NO_ROW, choose, order_ranks, repeated, tally
from providers.report import Report
from providers.study import Joined, Study, join
from providers.table import Table
from providers.trace import Trace
from providers.values import A_DATE, NOT_AN_INTEGER, Unreadable, is_whole, read_days, read_number, with_point

WHOLE = re.compile(r"^(-?(?:0|[1-9][0-9]*))\.0+$")
UNKNOWN_LEVEL = Unreadable(
    "unknown_level",
    "the text is no level of this field",
    'correct it, or add it to "categories", "recodes" or "missingValues"',
)
UNKNOWN_MISSING = Unreadable(
    "unknown_level_missing",
    "the text is no level of this field and counts as missing",
    'check that it is none; list it in "missingValues" to silence this',
)


@dataclass(frozen=True)
class Encoded:
    """A study as codes, one row per patient."""

    patients: int
    columns: dict[str, Column] = field(repr=False)


def encode(
    schema: Schema, tables: Sequence[Table], report: Report, traces: dict[str, Trace] | None = None
) -> Encoded:
    """Codes of every field that could be read; the report holds everything that was wrong.

    What is returned is fit to be shared only if the report has no error. `traces` is filled with what became
    of each field's rows.
    """
    study = join(schema, tables, report)
    columns: dict[str, Column] = {}
    needed = operands(schema)
    for item in schema.fields:
        trace = Trace()
        if traces is not None:
            traces[item.name] = trace
        keep = item.name in needed and item.kind == "number"
        if item.derive is not None:
            column = derived(item, schema, columns, report, keep=keep, trace=trace)
        elif item.name in study.place:
            column = Reading(schema, item, study.place[item.name], study, report, keep, trace).column()
        else:
            column = None
        if column is not None:
            columns[item.name] = column
    return Encoded(study.patients, columns)


@dataclass(frozen=True)
class Reading:
    """One field being read from its file."""

    schema: Schema
    item: Field
    joined: Joined
    study: Study
    report: Report
    keep: bool  # the exact values too: other fields are derived from this one
    trace: Trace = field(default_factory=Trace, repr=False)

    @property
    def decimal(self) -> str:
        return self.item.decimal_char or self.joined.table.decimal

    def column(self) -> Column | None:
        """The field's codes, or None where the report says why there are none."""
        self.trace.joined = self.joined
        alive = self._alive()
        if alive is None:
            return None
        self.trace.rows = np.flatnonzero(alive)
        how = None if self.item.reduce is None else self.item.reduce.how
        if how in ("any", "all", "count"):
            return self._made(self.trace.rows, how)
        return self._chosen(self.trace.rows, how)

    def _alive(self) -> Mask | None:
        """The rows that take part: of a known patient, and not left out by a `where`."""
        item, patient = self.item, self.joined.patient
        if item.reduce is None and len(self.joined.several):
            self._several(
                self.joined.several,
                "several rows of one patient, and the field does not say which counts",
                'remove duplicate rows, or add "reduce": {"how": "only"} with a "where" that leaves one, or '
                '"first" with "orderBy", "min", "max", "any", "all" or "count"',
            )
            self._every_value(np.flatnonzero(patient >= 0))
            return None
        alive: Mask | None = patient >= 0
        for setting, predicate in (
            ("where", item.where),
            ("reduce.where", item.reduce.where if item.reduce else None),
        ):
            if predicate is not None:
                rows = self._where(self._raw_meaning, setting).rows(predicate)
                before = alive
                alive = None if rows is None or alive is None else alive & rows
                if before is not None and alive is not None:
                    self.trace.kept.append((setting, int(before.sum()), int(alive.sum())))
        return alive

    def _several(self, rows: Codes, message: str, remedy: str) -> None:
        patients = len(np.unique(self.joined.patient[rows]))
        place = {
            "file": self.joined.table.file,
            "line": self.joined.line(rows[0]),
            "column": self.item.source,
        }
        counted = f"{message} ({len(rows)} rows too many, of {patients} patients; the first is named)"
        self.report.error("several_rows", counted, remedy, **place)

    def _where(self, meaning: Callable[[str, str], str | None], setting: str) -> Where:
        return Where(self.joined, meaning, self.report, f"{setting} of {self.item.name}")

    @cached_property
    def _missing_in(self) -> dict[str, set[str]]:
        """By column of the file, the texts that mean no value to any field that reads it."""
        tokens = {header: {"", *self.item.missing_values} for header in self.joined.table.headers}
        for other in self.schema.fields:
            if other.source in tokens and self.study.place.get(other.name) is self.joined:
                tokens[other.source] |= set(other.missing_values)
        return tokens

    def _raw_meaning(self, header: str, text: str) -> str | None:
        """What a `where` reads: the raw text, or nothing."""
        return None if text in self._missing_in[header] else with_point(text, self.decimal)

    def _tested_meaning(self, header: str, text: str) -> str | None:
        """What a `test` reads: of the field's own column the recoded text, of any other the raw one."""
        if header != self.item.source or text not in self.item.recodes:
            return self._raw_meaning(header, text)
        return self._meaning(text)

    # -- the value of each distinct text -----------------------------------------------------------------

    def _meaning(self, text: str) -> str | None:
        """A text after missingValues and recodes; None is missing."""
        if text in self.item.missing_values:
            return None
        return self.item.recodes.get(text, text)

    def _value(self, text: str) -> Decimal | Unreadable | None:
        """A text as a number: the number itself, or the position of its level; None is missing."""
        item, meaning = self.item, self._meaning(text)
        if meaning is None:
            return None
        if not item.reads_number:
            return level_of(item, meaning)
        # What the codebook writes has a point, whatever the file's own numbers have.
        number = read_number(meaning, "." if text in item.recodes else self.decimal)
        if number is A_DATE and item.since is not None:
            return read_days(meaning, item.since)
        if item.type == "integer" and isinstance(number, Decimal) and not is_whole(number):
            return NOT_AN_INTEGER
        return number

    def _complain(self, rows: Codes, wrong: Unreadable, severity: str = "error") -> None:
        self.report.lines(
            wrong.rule,
            f"{self.item.name}: {wrong.message}",
            wrong.remedy,
            lines=self.joined.table.lines[rows],
            severity=severity,
            file=self.joined.table.file,
            column=self.item.source,
        )

    # -- reduce: a row is chosen ---------------------------------------------------------------------------

    def _chosen(self, rows: Codes, how: str | None) -> Column | None:
        item, joined = self.item, self.joined
        if how == "only" and len(extra := repeated(rows, joined.patient)):
            self._several(
                extra,
                '"reduce" is "only", and several rows of one patient remain',
                'narrow "where" or reduce.where, or choose another "how"',
            )
            self._every_value(rows)
            return None
        texts = joined.texts(item.source)
        rowless = self._rowless(rows)
        values, wrong = self._read(rows)
        has = np.zeros(len(texts.distinct), dtype=bool)
        has[list(values)] = True
        rows = rows[has[texts.index[rows]]]
        ranks = []
        if how in ("min", "max"):
            sign = 1 if how == "min" else -1
            position = {value: rank for rank, value in enumerate(sorted(set(values.values())))}
            rank_of = np.zeros(len(texts.distinct), dtype=np.int64)
            for u, value in values.items():
                rank_of[u] = sign * position[value]
            ranks.append(rank_of[texts.index[rows]])
        elif item.reduce is not None and item.reduce.order_by is not None:
            ordered = self._order(rows, item.reduce.order_by)
            if ordered is None:
                return None
            ranks.append(ordered)
        chosen = choose(rows, joined.patient, self.study.patients, *ranks)
        self.trace.chosen, self.trace.values = chosen, values
        present = chosen != NO_ROW
        codes = np.zeros(self.study.patients, dtype=np.int64)
        codes[present] = self._coded(values)[texts.index[chosen[present]]]
        exact: Exact | None = None
        if self.keep:
            exact = [values[texts.index[row]] if row != NO_ROW else None for row in chosen]
        if rowless.any():
            assert item.reduce is not None and item.reduce.default is not None
            codes[rowless], present = code_in(item, item.reduce.default), present | rowless
            if exact is not None:
                for patient in np.flatnonzero(rowless):
                    exact[patient] = item.reduce.default
        column = self._ranged(codes, present, chosen, exact)
        return None if wrong else column

    def _rowless(self, rows: Codes) -> Mask:
        """The patients of whom no row takes part, where the field says what they have; no value is a row too."""
        if self.item.reduce is None or self.item.reduce.default is None:
            return np.zeros(self.study.patients, dtype=bool)
        without: Mask = tally(rows, self.joined.patient, self.study.patients) == 0
        return without

    def _every_value(self, rows: Codes) -> None:
        """Complain of every row's value where it is unclear which row counts: all problems in one report."""
        texts = self.joined.texts(self.item.source)
        values, _ = self._read(rows)
        rows = rows[np.isin(texts.index[rows], list(values))]
        self._ranged(self._coded(values)[texts.index[rows]], np.ones(len(rows), dtype=bool), rows, None)

    def _coded(self, values: dict[int, Decimal]) -> Codes:
        """The code of each distinct text of the column that has a value."""
        coded = np.zeros(len(self.joined.texts(self.item.source).distinct), dtype=np.int64)
        for u, value in values.items():
            coded[u] = code_in(self.item, value)
        return coded

    def _read(self, rows: Codes) -> tuple[dict[int, Decimal], bool]:
        """The value of each distinct text at `rows`, and whether any was wrong: those are in the report."""
        item, texts = self.item, self.joined.texts(self.item.source)
        values: dict[int, Decimal] = {}
        wrong: dict[Unreadable, list[int]] = {}
        for u in np.unique(texts.index[rows]):
            value = self._value(texts.distinct[u])
            if isinstance(value, Unreadable):
                wrong.setdefault(value, []).append(u)
            elif value is not None:
                values[u] = value
        if item.out_of_range == "missing" and UNKNOWN_LEVEL in wrong:
            bad = wrong.pop(UNKNOWN_LEVEL)
            self._complain(rows[np.isin(texts.index[rows], bad)], UNKNOWN_MISSING, "warning")
        for reason, bad in wrong.items():
            self._complain(rows[np.isin(texts.index[rows], bad)], reason)
        self._say_comma(texts.distinct[u] for u in values)
        return values, bool(wrong)

    def _say_comma(self, texts: Iterable[str]) -> None:
        item = self.item
        undeclared = item.reads_number and item.decimal_char is None and self.joined.table.decimal == ","
        if undeclared and any("," in text for text in texts):
            self.report.warning(
                "decimal_comma_read",
                f"{item.name}: the file is separated by semicolons, and its commas are read as decimal points",
                'declare "decimalChar": "," in the field to confirm it',
                file=self.joined.table.file,
                column=item.source,
            )

    def _order(self, rows: Codes, header: str) -> Codes | None:
        file = self.joined.table.file
        if header not in self.joined.table.columns:
            self.report.error(
                "order_column_missing",
                f"orderBy of {self.item.name} names a column that this file does not have",
                "correct the name; orderBy reads a raw column of the field's own file",
                file=file,
                line=1,
                column=header,
            )
            return None
        ranks = order_ranks(
            self.joined, header, rows, lambda text: self._raw_meaning(header, text) is None, self.decimal
        )
        if ranks is None:
            self.report.error(
                "order_unclear",
                f"orderBy of {self.item.name}: the texts are neither all numbers nor all dates YYYY-MM-DD",
                'order by a visit number or an ISO date, or list codes for missing in "missingValues"',
                file=file,
                column=header,
            )
        return ranks

    # -- reduce: a value is made ---------------------------------------------------------------------------

    def _made(self, rows: Codes, how: str) -> Column | None:
        item, joined, patients = self.item, self.joined, self.study.patients
        rowless = self._rowless(rows)
        if item.source in joined.table.columns:
            rows = self._with_value(rows)
        having = tally(rows, joined.patient, patients)
        if how == "count":
            codes = np.zeros(patients, dtype=np.int64)
            for number in np.unique(having):
                codes[having == number] = code_in(item, Decimal(int(number)))
            exact: Exact | None = [Decimal(int(number)) for number in having] if self.keep else None
            return self._ranged(codes, np.ones(patients, dtype=bool), None, exact)
        assert item.reduce is not None and item.reduce.test is not None
        test = self._where(self._tested_meaning, "reduce.test").rows(item.reduce.test)
        if test is None:
            return None
        self.trace.passing = int(test[rows].sum())
        passing = tally(rows[test[rows]], joined.patient, patients)
        values = [level.value for level in item.levels]
        yes, no = values.index("yes"), values.index("no")
        truth = passing > 0 if how == "any" else passing == having
        codes = np.where(having > 0, np.where(truth, yes, no), 0).astype(np.int64)
        if rowless.any():
            assert item.reduce.default is not None
            codes[rowless] = code_in(item, item.reduce.default)
        return Column(codes, (having > 0) | rowless)

    def _with_value(self, rows: Codes) -> Codes:
        texts = self.joined.texts(self.item.source)
        has = np.array([self._meaning(text) is not None for text in texts.distinct], dtype=bool)
        having: Codes = rows[has[texts.index[rows]]]
        return having

    # -- rounding and range --------------------------------------------------------------------------------

    def _ranged(
        self, codes: Codes, present: Mask, chosen: Codes | None, exact: Exact | None
    ) -> Column | None:
        place: dict[str, Any] = {"file": self.joined.table.file, "column": self.item.source}
        if chosen is None:
            return ranged(
                self.item,
                codes,
                present,
                exact,
                self.report,
                place=lambda outside: place,
                complain=None,
                trace=self.trace,
            )
        return ranged(
            self.item,
            codes,
            present,
            exact,
            self.report,
            place=lambda outside: place | {"line": self.joined.line(chosen[outside].min())},
            complain=lambda outside, reason: self._complain(chosen[outside], reason),
            trace=self.trace,
        )


def level_of(item: Field, text: str) -> Decimal | Unreadable:
    """The position of the level that a text writes; 2.0, as some programs write whole numbers, is level 2."""
    values = [level.value for level in item.levels]
    for written in (text, WHOLE.sub(r"\1", text)):
        if written in values:
            return Decimal(values.index(written))
    return UNKNOWN_LEVEL
