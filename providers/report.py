"""What is wrong with a table: place, rule, remedy, and never a patient's value.

A report lists the first places of each problem and counts the rest, so that a column of 10^5 wrong dates
is a screenful. Errors stop an upload; warnings are for a person to read.

ProviderError
+-- TableRejected     the files do not fit the codebook; carries the report
+-- KeysRefused       the keys of parties or portal are missing, malformed or have changed
+-- UploadRefused     the portal or a party said no, or a receipt does not hold
+-- UploadInterrupted the connection was lost, or the receipts did not come in time
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

PLACES_SHOWN = 20


class ProviderError(Exception):
    """Something on the provider's side cannot go on."""

    code = "provider_error"


class TableRejected(ProviderError):
    """The files do not fit the codebook."""

    code = "table_rejected"

    def __init__(self, report: Report) -> None:
        errors = len(report.errors)
        super().__init__(f"{errors} problem{'s' * (errors != 1)} in the table: nothing was sent")
        self.report = report


class KeysRefused(ProviderError):
    """The public keys of the parties or the portal cannot be relied on."""

    code = "keys_refused"


class UploadRefused(ProviderError):
    """The portal or a party refused the dataset."""

    code = "upload_refused"


class UploadInterrupted(ProviderError):
    """The upload is not complete; the same command takes it up again."""

    code = "upload_interrupted"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One place where a rule does not hold. `line` counts from 1 in the file; None where no line applies."""

    rule: str
    message: str
    remedy: str
    file: str | None = None
    line: int | None = None
    column: str | None = None
    severity: str = "error"

    def public(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "rule": self.rule,
            "message": self.message,
            "remedy": self.remedy,
            "severity": self.severity,
        }

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = f"{place + ': ' if place else ''}{self.severity}: {self.message} [{self.rule}]. {self.remedy}."
        # A header or a file's name may hold commands to a terminal; a person should see them, not obey them.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass
class Report:
    """Problems in the order in which they were found."""

    problems: list[Problem] = field(default_factory=list)

    def error(self, rule: str, message: str, remedy: str, **place: Any) -> None:
        self.problems.append(Problem(rule=rule, message=message, remedy=remedy, **place))

    def warning(self, rule: str, message: str, remedy: str, **place: Any) -> None:
        self.problems.append(Problem(rule=rule, message=message, remedy=remedy, severity="warning", **place))

    def lines(
        self,
        rule: str,
        message: str,
        remedy: str,
        *,
        lines: Iterable[int],
        severity: str = "error",
        **place: Any,
    ) -> None:
        """One problem a line for the first places; the rest as a count in a last problem."""
        found: Sequence[int] = sorted(int(line) for line in lines)
        for line in found[:PLACES_SHOWN]:
            problem = Problem(
                rule=rule, message=message, remedy=remedy, severity=severity, line=line, **place
            )
            self.problems.append(problem)
        further = len(found) - PLACES_SHOWN
        if further > 0:
            counted = f"{message}; {further} further line{'s' * (further != 1)} like this"
            last = Problem(
                rule=rule,
                message=counted,
                remedy=remedy,
                severity=severity,
                line=found[PLACES_SHOWN],
                **place,
            )
            self.problems.append(last)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "warning"]

    def refuse(self) -> None:
        """Raise TableRejected if there is an error."""
        if self.errors:
            raise TableRejected(self)
