"""One column, as it is, to one field of a codebook: its kind, levels, bounds, and texts without a value.

What was read from values is named in the field's `local`, which every reader of codebooks refuses: a person
compares it with the protocol first. Nothing here knows of patients; many rows of one are `repeats`' matter.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.query.errors import ProgramRejected
from analytics.query.tree import Name
from providers.headers import BIRTH, IDENTIFIER, MEASURE, PATIENT, PERSONAL, words
from providers.missing_codes import says_nothing, standing_apart
from providers.plausible import never_zero
from providers.round_bounds import Bounds, places_of, round_bounds
from providers.study import Texts
from providers.values import A_DATE, COMMA, Unreadable, is_whole, read_days, read_number

Rows = NDArray[np.int64]

MOST_LEVELS = 64  # more are free text, or should be grouped first
LISTED = 12  # whole numbers with this few values, none beyond LARGEST_LISTED, are codes of a list
LARGEST_LISTED = 20
LONGEST_LEVEL = 100
STRAY = 0.1  # so many of a column's rows may hold texts among numbers
MOST_STRAYS = 90
FAR = 8  # widths of the middle half
MANY = 200
TELLING = 20  # rows from which on it means something that no text comes twice
HELD_BY_FEW = 5
DAY_ZERO = date(1, 1, 1)
PADDED = re.compile(r"[+-]?0[0-9]+")
WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
YES_NO = {"0": "no", "1": "yes", "n": "no", "y": "yes", "no": "no", "yes": "yes", "false": "no", "true": "yes",
          "nein": "no", "ja": "yes", "non": "no", "oui": "yes"}  # fmt: skip
ANSWERS = [{"0", "1"}, {"n", "y"}, {"no", "yes"}, {"false", "true"}, {"nein", "ja"}, {"non", "oui"}]


@dataclass
class Proposal:
    """A field as far as one column tells; `setting` is {} where the column is left out, which `notes` explain.

    `kind` is number, category, days, or left out. `low` and `high` of days count from 0001-01-01.
    """

    kind: str
    setting: dict[str, Any] = field(default_factory=dict)
    local: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    low: int = 0
    high: int = 0
    distinct: int = 0

    def note(self, text: str) -> None:
        self.notes.append(text)


def propose(header: str, texts: Texts, rows: Rows, decimal: str) -> Proposal:
    """What the column proposes on those rows; `decimal` is the decimal point of its file."""
    return _Column(header, texts, rows, decimal).proposal()


class _Column:
    def __init__(self, header: str, texts: Texts, rows: Rows, decimal: str) -> None:
        counts = np.bincount(texts.index[rows], minlength=len(texts.distinct))
        self.header, self.decimal = header, decimal
        self.words = words(header)
        self.counts = {texts.distinct[u]: int(counts[u]) for u in np.flatnonzero(counts)}

    def proposal(self) -> Proposal:
        nothing = says_nothing(self.counts, number=False)
        given = {text: count for text, count in self.counts.items() if text not in nothing}
        if not given:
            return _left_out("no row has a value")
        if self.words & PERSONAL:
            return _left_out("the header names something personal: it is never shared")
        days = self._days(given, nothing)
        if days is not None:
            return days
        number = self._numbers(given, nothing)
        return number if number is not None else self._category(given, nothing)

    # -- dates -------------------------------------------------------------------------------------------

    def _days(self, given: dict[str, int], nothing: set[str]) -> Proposal | None:
        """Days of a calendar; None if most texts are no dates."""
        found: dict[str, Decimal] = {}
        strays, foreign = [], 0
        for text, count in given.items():
            if read_number(text, self.decimal) is not A_DATE:
                strays.append(text)
                continue
            day = read_days(text, DAY_ZERO)
            if isinstance(day, Unreadable) or text.startswith("9999"):
                strays.append(text)
                foreign += count if isinstance(day, Unreadable) else 0
            else:
                found[text] = day
        total = sum(given.values())
        if foreign > STRAY * total and not found:
            return _left_out("dates in a form not read here: write them as YYYY-MM-DD to use them")
        if not found or not self._few(strays, given, total):
            return None
        made = Proposal("days", {"type": "integer"}, ["unit", "constraints"], distinct=len(found))
        made.low, made.high = int(min(found.values())), int(max(found.values()))
        self._missing(made, nothing | set(strays), strays)
        made.note('a calendar date: a duration from another date (another field\'s "derive": '
                  '{"difference": [later, earlier]}) is what most questions need')  # fmt: skip
        if self.words & BIRTH:
            made.note("a date of birth identifies: share the age instead")
        return made

    def _few(self, strays: list[str], given: dict[str, int], total: int) -> bool:
        return len(strays) <= MOST_STRAYS and sum(given[text] for text in strays) <= STRAY * total

    # -- numbers -----------------------------------------------------------------------------------------

    def _numbers(self, given: dict[str, int], nothing: set[str]) -> Proposal | None:
        """A number, or None where the texts are levels."""
        if any(PADDED.fullmatch(text) for text in given):
            return None  # 007 is a code, not seven
        words_ = says_nothing(given, number=True)
        given = {text: count for text, count in given.items() if text not in words_}
        decimal, read = self._read(given)
        values = {text: value for text, value in read.items() if isinstance(value, Decimal)}
        strays = [text for text in given if text not in values]
        if not values:
            return None
        if strays and (
            len(set(values.values())) <= LISTED or not self._few(strays, given, sum(given.values()))
        ):
            return None
        counts: Counter[Decimal] = Counter()
        for text, value in values.items():
            counts[value] += given[text]
        codes = set(standing_apart(counts))
        zero = Decimal(0) in counts and len(counts) > 1 and min(v for v in counts if v not in codes) == 0
        if zero and never_zero(self.words):
            codes.add(Decimal(0))
        kept = [value for value in counts if value not in codes]
        if not kept or self._listed(kept) or self._runs(kept, counts):
            return self._identifier() if kept and self._runs(kept, counts) else None
        made = Proposal("number", distinct=len(kept))
        for value in sorted(codes):
            why = "cannot be measured" if value == 0 else "stands apart and looks like a code"
            made.note(
                f"{value} ({_rows(counts[value])}) {why}: proposed as missing; if it means something, recode it"
            )
        coded = {text for text, value in values.items() if value in codes}
        self._missing(made, nothing | words_ | coded | set(strays), strays)
        self._bounded(made, kept)
        if made.kind == "number" and (decimal != self.decimal or any("," in text for text in values)):
            made.setting["decimalChar"] = decimal
            made.local.append("decimalChar")
            if decimal == ",":
                made.note("commas are read as decimal points, not as thousands separators")
        return made

    def _read(self, given: dict[str, int]) -> tuple[str, dict[str, Decimal | Unreadable]]:
        read = {text: read_number(text, self.decimal) for text in given}
        other = "," if self.decimal == "." else "."
        if COMMA in read.values() or any(isinstance(value, Unreadable) for value in read.values()):
            again = {text: read_number(text, other) for text in given}
            if _unread(again, given) < _unread(read, given):
                return other, again
        return self.decimal, read

    def _listed(self, kept: list[Decimal]) -> bool:
        """Whether whole numbers are codes of a list, as 1, 2, 3 for an arm."""
        few = len(kept) <= LISTED and all(is_whole(v) and abs(v) <= LARGEST_LISTED for v in kept)
        return few and (len(kept) <= 2 or not self.words & MEASURE)

    def _runs(self, kept: list[Decimal], counts: Counter[Decimal]) -> bool:
        """Whether the numbers only number the rows."""
        if len(kept) < TELLING or self.words & MEASURE or any(counts[v] > 1 or not is_whole(v) for v in kept):
            return False
        gapless = max(kept) - min(kept) + 1 == len(kept)
        return bool(self.words & (IDENTIFIER | PATIENT)) or (
            gapless and (min(kept) <= 1 or len(kept) >= MANY)
        )

    def _identifier(self) -> Proposal:
        return _left_out("no value comes twice: it numbers the rows, or is another identifier")

    def _bounded(self, made: Proposal, kept: list[Decimal]) -> None:
        whole = all(is_whole(value) for value in kept)
        places = 0 if whole else places_of(kept)
        bounds = round_bounds(min(kept), max(kept), places)
        if bounds is None:
            made.kind, made.setting, made.local = "left out", {}, []
            made.note("numbers too large or too small for a codebook: give them in another unit")
            return
        made.setting |= numeric(bounds, whole)
        made.local += ["constraints", "resolution"]
        if bounds.resolution > Decimal(1).scaleb(-places):
            made.note("the resolution is coarser than the data: a finer one costs more noise")
        if _far(kept):
            made.note(
                "the largest or smallest value lies far from all others: an error of units, or a code for missing?"
            )
        if whole and len(kept) <= LARGEST_LISTED and not self.words & MEASURE:
            made.note('few whole numbers: if they are codes of a list, write "string" with "categories"')

    def _missing(self, made: Proposal, texts: set[str], strays: list[str]) -> None:
        others = sorted(texts - {""})
        if others:
            made.setting["missingValues"] = ["", *others]
            made.local.append("missingValues")
        if strays:
            rows = sum(self.counts[text] for text in strays)
            made.note(f'{len(strays)} other texts in {rows} rows are proposed as missing: "recodes" can give '
                      "them a value, as half the limit to one below a limit of detection")  # fmt: skip

    # -- categories --------------------------------------------------------------------------------------

    def _category(self, given: dict[str, int], nothing: set[str]) -> Proposal:
        codes = {value for value in standing_apart(self._whole_counts(given)) if len(given) > 2}
        coded = {text for text in given if codes and read_number(text) in codes}
        kept = {text: count for text, count in given.items() if text not in coded}
        total = sum(kept.values())
        spellings = _spellings(kept)
        levels = list(spellings)
        if any(len(text) > LONGEST_LEVEL or not is_name(text) for text in levels):
            return _left_out("free text is never shared: recode it to levels first")
        if total >= TELLING and len(levels) > total / 2:
            return _left_out(
                "hardly any text comes twice: free text or an identifier, which are never shared"
            )
        if len(levels) > MOST_LEVELS:
            return _left_out(
                f"{len(levels)} different texts: group them first, or name the levels that matter"
            )
        held = sum(sum(kept[t] for t in same) < HELD_BY_FEW for same in spellings.values())
        long = max(map(len, levels)) > 30
        if long and total and held > len(levels) / 2:
            return _left_out("long texts that few rows share: free text is never shared")
        made = Proposal("category", {"type": "string"}, ["categories"], distinct=len(levels))
        made.setting["categories"] = _categories(levels)
        recodes = {other: level for level, same in spellings.items() for other in same if other != level}
        if recodes:
            made.setting["recodes"] = dict(sorted(recodes.items()))
            made.local.append("recodes")
            made.note(f"other spellings of a level ({len(recodes)}) are recoded to the most frequent one")
        for value in sorted(codes):
            rows = sum(given[text] for text in coded if read_number(text) == value)
            made.note(f"{value} ({_rows(rows)}) stands apart and looks like a code: proposed as missing; "
                      "if it means something, list it as a level or recode it")  # fmt: skip
        self._missing(made, nothing | coded, [])
        if len(levels) == 1:
            made.note("one level only: leave the column out if it says nothing")
        return made

    def _whole_counts(self, given: dict[str, int]) -> Counter[Decimal]:
        """Rows of each number, if all texts but a few words are numbers; else nothing stands apart."""
        counts: Counter[Decimal] = Counter()
        for text, count in given.items():
            value = None if PADDED.fullmatch(text) else read_number(text)
            if not isinstance(value, Decimal):
                return Counter()
            counts[value] += count
        return counts


def numeric(bounds: Bounds, whole: bool) -> dict[str, Any]:
    """Type, constraints and resolution of a field, as JSON writes them."""
    return {
        "type": "integer" if whole else "number",
        "constraints": {"minimum": written(bounds.minimum), "maximum": written(bounds.maximum)},
        "resolution": written(bounds.resolution),
    }


def written(value: Decimal) -> int | float | str:
    """A JSON number where it is short and exact in any reader, else the decimal text."""
    plain = format(value, "f")
    if is_whole(value):
        return int(value) if abs(value) < 2**53 else str(int(value))
    plain = plain.rstrip("0")
    return float(plain) if repr(float(plain)) == plain else plain


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"


def _unread(read: dict[str, Decimal | Unreadable], given: dict[str, int]) -> int:
    return sum(given[text] for text, value in read.items() if isinstance(value, Unreadable))


def _far(kept: list[Decimal]) -> bool:
    """Whether an end of the values is much further out than the middle half of the distinct ones is wide."""
    ordered = sorted(kept)
    low, high = ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]
    reach = FAR * (high - low)
    return len(ordered) > LISTED and (ordered[-1] > high + reach or ordered[0] < low - reach)


def _left_out(why: str) -> Proposal:
    return Proposal("left out", notes=[why])


def is_name(text: str) -> bool:
    try:
        Name(text)
    except ProgramRejected:
        return False
    return True


def _spellings(counts: dict[str, int]) -> dict[str, list[str]]:
    """The most frequent spelling of each level, in order of appearance, with all its spellings.

    Texts that differ only in case and inner spaces are one level; so are 1 and 1.0. Hyphens count: -1 is not 1.
    """
    groups: dict[str, list[str]] = {}
    for text in counts:
        folded = WHOLE.fullmatch(text)
        groups.setdefault(folded[1] if folded else " ".join(text.casefold().split()), []).append(text)
    named = {max(sorted(same, key=len), key=counts.__getitem__): same for same in groups.values()}
    return dict(sorted(named.items(), key=lambda item: _natural(item[0])))


def _natural(text: str) -> tuple[int, Decimal, str]:
    value = read_number(text)
    return (1, Decimal(0), text) if isinstance(value, Unreadable) else (0, value, text)


def _categories(levels: list[str]) -> list[dict[str, str]]:
    folded = {level.casefold(): level for level in levels}
    if any(set(folded) == answers for answers in ANSWERS):
        return [
            {"value": level} if level == YES_NO[folded_] else {"value": level, "label": YES_NO[folded_]}
            for folded_, level in folded.items()
        ]
    return [{"value": level} for level in levels]
