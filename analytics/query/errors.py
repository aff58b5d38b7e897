"""What can be wrong with a codebook, a program or a request: always place, rule and remedy.

QueryError
+-- ProgramRejected    the text is no question to these codebooks
+-- CodebookRejected   the codebook breaks rules; every one is listed
+-- PolicyRefused      the question is well formed, the provider's signed policy does not allow it

Messages hold names of the codebook and text of the analyst, never a patient's value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any, TypeAlias

Problem: TypeAlias = dict[str, str]  # where, rule, message, remedy

MOST_CANDIDATES = 2000
LONGEST = 60  # characters of a text that is not understood


class QueryError(Exception):
    """A question or its codebook cannot be used."""

    code = "query_error"


class ProgramRejected(QueryError):
    """The program is refused before anything is planned or charged.

    `line` and `column` count from 1 and are None where the program came as JSON; `suggestions` are texts
    that would be understood in place of the one that was not.
    """

    code = "program_rejected"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        at: tuple[int, int] | None = None,
        suggestions: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.line: int | None = at[0] if at else None
        self.column: int | None = at[1] if at else None
        self.suggestions = list(suggestions)

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}, column {self.column}: "
        hint = f" (did you mean {' or '.join(self.suggestions)}?)" if self.suggestions else ""
        return f"{where}{self.message}{hint}"

    def public(self) -> dict[str, Any]:
        """As in an error body: code, detail, where, suggestions."""
        return {
            "code": self.code,
            "detail": self.message,
            "where": {"line": self.line, "column": self.column},
            "suggestions": self.suggestions,
        }


class CodebookRejected(QueryError):
    """The codebook breaks rules; `problems` lists every one as {where, rule, message, remedy}."""

    code = "codebook_rejected"

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{first['where']}: {first['message']}: {first['remedy']}{more}")
        self.problems = list(problems)


class PolicyRefused(QueryError):
    """A provider's policy does not allow this question."""

    code = "policy_refused"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def nearest(text: str, candidates: Iterable[str], normal: Callable[[str], str] = str.casefold) -> list[str]:
    """Up to three candidates that look like `text`, compared in normal form.

    Looks at the first MOST_CANDIDATES only: a suggestion is a courtesy and must not cost seconds.
    """
    by_form: dict[str, str] = {}
    for candidate in islice(candidates, MOST_CANDIDATES):
        by_form.setdefault(normal(candidate), candidate)
    return [by_form[form] for form in get_close_matches(normal(text[:LONGEST]), by_form, n=3, cutoff=0.6)]
