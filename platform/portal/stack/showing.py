"""What a demonstration prints of an answer, and what it calls nonsense.

The truth in clear stands beside each answer: only a demonstration can do that, since it made the patients up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Half-widths between answer and truth that chance does not bring about in a demonstration's life.
FARTHEST = 6.0


def lines(asked: str, statement: Mapping[str, Any], truth: Mapping[str, Any]) -> Iterator[str]:
    """One line of the program with its answer, its interval and the truth."""
    group = statement["groups"][0]
    yield f"  {asked}"
    if group["value"] is None:
        yield f"      no answer: {group['reason']}"
        return
    yield (
        f"      answer {shown(group['value']):>9}   {100 * group['level']:.0f} % interval "
        f"{shown(group['low'])} to {shown(group['high'])}   n about {shown(group['n'])}"
    )
    yield f"      truth  {shown(truth['value']):>9}   (in clear, n {truth['n']})"
    if group.get("chi2") is not None:
        p = group.get("p")
        said = f"      Cramer's V; chi2 {shown(group['chi2'])}, df {group['df']}"
        said += f", p {p:.2g}" if isinstance(p, float | int) else ""
        yield f"{said}   truth: chi2 {shown(truth['chi2'])}"


def shown(number: float | None) -> str:
    if number is None:
        return "-"
    return str(number) if isinstance(number, int) else f"{number:.4g}"


def nonsense(
    statements: Sequence[Mapping[str, Any]], truths: Sequence[Mapping[str, Any]], mode: str
) -> list[str]:
    """What is wrong with the answers: no list at all means that a person may believe them."""
    if len(statements) != len(truths):
        return [f"{len(statements)} statements were answered, not {len(truths)}"]
    pairs = zip(statements, truths, strict=True)
    return [f"{s['text']}: {what}" for s, truth in pairs if (what := wrong(s["groups"][0], truth, mode))]


def wrong(group: Mapping[str, Any], truth: Mapping[str, Any], mode: str) -> str:
    value, low, high = group["value"], group["low"], group["high"]
    if not all(isinstance(number, float | int) and math.isfinite(number) for number in (value, low, high)):
        return f"value or interval is missing ({group.get('reason')})"
    if not low <= value <= high:
        return f"{value} is outside its own interval, {low} to {high}"
    off = abs(value - truth["value"])
    if mode == "exact":
        if off > 1e-9 * max(1.0, abs(truth["value"])) or group["n"] != truth["n"]:
            return f"exact, but {value} (n {group['n']}) instead of {truth['value']} (n {truth['n']})"
        return ""
    if high == low:
        return "an interval without width cannot cover the noise"
    if off > FARTHEST * (high - low) / 2:
        return f"{value} is {off:g} from the truth, with an interval from {low} to {high}"
    return ""
