"""An answer as a person reads it in a terminal: one table a statement, intervals beside the values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def answer(result: dict[str, Any]) -> str:
    """The statements of a Result, each as a small table."""
    noised = result.get("mode") != "exact"
    how = (
        []
        if result.get("missing") is None
        else [f"{result.get('security')}: party {result['missing']} was missing"]
    )
    return "\n\n".join([*how, *("\n".join(_statement(s, noised)) for s in result.get("statements", []))])


def plan(value: Any, indent: int = 0) -> str:
    """Any JSON value as indented lines: what preview tells."""
    return "\n".join(_lines(value, "  " * indent))


def _statement(statement: dict[str, Any], noised: bool) -> Iterable[str]:
    told = f"epsilon {_epsilon(statement.get('epsilon'))}" if noised else "exact"
    yield f"{statement.get('text', '')}   [{told}]"
    unit = f" {statement['unit']}" if statement.get("unit") else ""
    n = "n (noised)" if noised else "n"
    groups = statement.get("groups", [])
    keys = list(groups[0].get("by", {})) if groups else []
    head = [*keys, str(statement.get("statistic", "")) + unit, "95 % interval", n]
    if noised:
        head.append("noise sd")
    rows = []
    for group in groups:
        row = [*(str(group["by"].get(key, "")) for key in keys), number(group.get("value"))]
        row += [_interval(group), number(group.get("n"))]
        if noised:
            row.append(number((group.get("noise_scale") or {}).get("value")))
        rows.append((row, group.get("reason")))
    widths = [max(len(head[i]), *(len(row[i]) for row, _ in rows)) for i in range(len(head))] if rows else []
    yield "  " + _row(head, widths)
    for (row, reason), group in zip(rows, groups, strict=True):
        yield "  " + _row(row, widths) + (f"   {reason}" if reason else "")
        if group.get("table"):
            yield from _table(group)
    for column, resolution in (statement.get("resolution") or {}).items():
        yield f"  {column} at a resolution of {number(resolution)}"


def _table(group: dict[str, Any]) -> Iterable[str]:
    yield from _lined(group["table"], group["table"]["counts"], group.get("margins"))
    for layer in group.get("layers", []):
        yield f"    {layer['level']}"
        yield from _lined(group["table"], layer["counts"], layer["margins"])
    if group.get("chi2") is not None:
        yield f"    chi-square {number(group['chi2'])}, df {group['df']}, p {number(group['p'])}"


def _lined(
    table: dict[str, Any], counts: Sequence[Sequence[Any]], margins: dict[str, Any] | None
) -> Iterable[str]:
    """Counts under their labels, with the sums of rows and columns where they are known."""
    lines = [["", *table["columns"]]]
    lines += [[label, *map(number, row)] for label, row in zip(table["rows"], counts, strict=True)]
    if margins is not None:
        head, *rest = lines
        lines = [
            [*head, "all"],
            *([*line, number(x)] for line, x in zip(rest, margins["row_sums"], strict=True)),
        ]
        lines.append(["all", *map(number, margins["column_sums"]), number(margins["all"])])
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        yield "    " + _row([str(cell) for cell in line], widths)


def number(value: Any) -> str:
    """A number with six digits, or a dash where there is none."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else format(float(value), ".6g")


def _interval(group: dict[str, Any]) -> str:
    if group.get("low") is None or group.get("high") is None:
        return "-"
    return f"{number(group['low'])} to {number(group['high'])}"


def _epsilon(text: Any) -> str:
    told = str(text)
    return told.rstrip("0").rstrip(".") if "." in told else told


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)).rstrip()


def _lines(value: Any, indent: str) -> Iterable[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                yield f"{indent}{key}:"
                yield from _lines(item, indent + "  ")
            else:
                yield f"{indent}{key}: {_scalar(item)}"
    elif isinstance(value, list):
        for i, item in enumerate(value):
            if isinstance(item, dict) and item:
                if i:
                    yield ""
                yield from _lines(item, indent)
            else:
                yield f"{indent}- {_scalar(item)}"
    else:
        yield indent + _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or value in ({}, []):
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
