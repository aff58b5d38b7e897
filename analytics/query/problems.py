"""Reading a JSON object whose every fault is to be reported, not only the first.

A `Reader` takes the parts of an object by name and type; what is wrong goes to one list as place, rule,
message and remedy, and reading goes on with a harmless value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from analytics.query.errors import Problem, ProgramRejected, nearest
from analytics.query.language import parse_predicate, parse_test
from analytics.query.tree import Name, Predicate, as_number


@dataclass(frozen=True)
class Reader:
    """One object of a codebook at `where`; `problems` is shared by every reader of the codebook."""

    obj: Mapping[str, Any]
    where: str
    problems: list[Problem] = field(repr=False)

    @classmethod
    def of(cls, value: Any, where: str, problems: list[Problem]) -> Reader:
        """A reader of `value`, or of nothing (and a problem) if it is no object."""
        if isinstance(value, dict):
            return cls(value, where, problems)
        reader = cls({}, where, problems)
        reader.report("", "not_an_object", "an object is needed here", "write { ... }")
        return reader

    def report(self, key: str, rule: str, message: str, remedy: str) -> None:
        self.problems.append(
            {
                "where": ".".join(part for part in (self.where, key) if part) or "codebook",
                "rule": rule,
                "message": message,
                "remedy": remedy,
            }
        )

    def only(self, known: Sequence[str], hints: Mapping[str, str] | None = None) -> None:
        """Report every key that is not known."""
        for key in self.obj:
            if key in known:
                continue
            near = nearest(str(key), known)
            remedy = f"write {near[0]}" if near else f"remove it; known here: {', '.join(known)}"
            self.report(
                str(key)[:100], "unknown_key", "this key has no meaning here", (hints or {}).get(key, remedy)
            )

    def at(self, key: str) -> Reader:
        """A reader of the object under `key`; an empty one if it is absent."""
        where = f"{self.where}.{key}" if self.where else key
        return Reader.of(self.obj.get(key, {}), where, self.problems)

    def text(self, key: str, default: str = "", *, needed: bool = False) -> str:
        """A text of 1 to 256 printable characters."""
        value = self.obj.get(key)
        if value is None:
            if needed:
                self.report(key, "required", f"{key} is required", f'write "{key}": "..."')
            return default
        if not isinstance(value, str):
            self.report(key, "not_text", f"{key} is text", 'put it in quotes: "..."')
            return default
        return value if self.name(key, value) else default

    def name(self, key: str, value: str) -> bool:
        """Whether a text may serve as a name, reported otherwise."""
        try:
            Name(value)
        except ProgramRejected as wrong:
            self.report(key, "bad_text", wrong.message, "shorten it, or remove what does not print")
            return False
        if value.strip() != value:
            self.report(key, "bad_text", "the text begins or ends with a space", "remove it")
            return False
        return True

    def choice(self, key: str, among: Sequence[str], default: str | None) -> str | None:
        value = self.obj.get(key)
        if value is None:
            return default
        if value not in among:
            self.report(key, "unknown_choice", f"{key} is one of {', '.join(among)}", f'write "{among[0]}"')
            return default
        return str(value)

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        value = self.obj.get(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.report(key, "not_whole", f"{key} is a whole number from {low} to {high}", f"write {default}")
            return default
        return value

    def decimal(self, key: str) -> Decimal | None:
        """An exact decimal from a JSON number or its text; None if absent or (reported) wrong."""
        value = self.obj.get(key)
        if value is None:
            return None
        number = exact(value)
        if number is None:
            self.report(
                key,
                "not_a_number",
                f"{key} is a number",
                "write plain digits, at most 20 on either side of the point",
            )
        return number

    def listed(self, key: str, most: int) -> list[Any] | None:
        """A list of 1 to `most` entries; None if absent or (reported) wrong."""
        value = self.obj.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not 0 < len(value) <= most:
            self.report(key, "not_a_list", f"{key} is a list of 1 to {most}", "write [ ... ]")
            return None
        return value

    def predicate(self, key: str, *, subject: str | None = None) -> Predicate | None:
        """A condition in the query language; with a subject it may begin with the comparison."""
        value = self.obj.get(key)
        if value is None:
            return None
        try:
            if not isinstance(value, str):
                raise ProgramRejected("syntax", "a condition is text")
            return parse_predicate(value) if subject is None else parse_test(value, subject)
        except ProgramRejected as wrong:
            near = f"; did you mean {wrong.suggestions[0]}" if wrong.suggestions else ""
            self.report(
                key,
                "bad_condition",
                str(wrong),
                f'write a condition such as "visit == 1 and grade >= 3"{near}',
            )
            return None


def exact(value: Any) -> Decimal | None:
    """The decimal of a JSON integer or of a text; None if it is neither."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return as_number(str(value)) if isinstance(value, str) or abs(value) < 10**20 else None
