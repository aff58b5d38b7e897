"""An answer as a person reads it in a terminal: one table a statement, intervals beside the values.

What goes with a figure is printed by its shape, whatever the statistic: counts of rows and columns as a table, a list
of objects as a table of theirs, single figures on one line. Rows that have a `format`, such as "{mean} ({sd})", are
told in it, with the groups of the statement side by side.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from analytics.statistics import multiplicity

SPELLED = {"chi2": "chi-square", "p_holm": "Holm", "p_bh": "Benjamini-Hochberg", "low": "95 % interval"}
GROUP = ("by", "value", "low", "high", "level", "n", "noise_scale", "suppressed", "reason")


def answer(result: dict[str, Any]) -> str:
    """The statements of a Result, each as a small table."""
    noised = result.get("mode") != "exact"
    how = (
        []
        if result.get("missing") is None
        else [f"{result.get('security')}: party {result['missing']} was missing"]
    )
    if result.get("delta", "0") != "0":
        how.append(
            f"epsilon {_epsilon(result['epsilon'])}, delta {result['delta']}: {result.get('means', '')}"
        )
    statements = ("\n".join(_statement(s, noised)) for s in result.get("statements", []))
    return "\n\n".join([*how, *statements, *_tests(result)])


def plan(value: Any, indent: int = 0) -> str:
    """Any JSON value as indented lines: what preview tells."""
    return "\n".join(_lines(value, "  " * indent))


def _statement(statement: dict[str, Any], noised: bool) -> Iterable[str]:
    told = f"epsilon {_epsilon(statement.get('epsilon'))}" if noised else "exact"
    if statement.get("label") == "exploratory":
        told += ", exploratory"
    yield f"{statement.get('text', '')}   [{told}]"
    unit = f" {statement['unit']}" if statement.get("unit") else ""
    n = "n (noised)" if noised else "n"
    groups = statement.get("groups", [])
    beside = next((key for group in groups for key in group if _has_formats(group[key])), None)
    if beside is not None:
        yield from _side_by_side(groups, beside, n)
        yield from _resolutions(statement)
        return
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
        yield from _extras(group)
    yield from _resolutions(statement)


def _resolutions(statement: dict[str, Any]) -> Iterable[str]:
    for column, resolution in (statement.get("resolution") or {}).items():
        yield f"  {column} at a resolution of {number(resolution)}"
    for warning in statement.get("warnings", []):
        yield f"  warning: {warning}"


def _extras(group: dict[str, Any]) -> Iterable[str]:
    """What goes with a figure beyond what every figure has, unless there is nothing in it."""
    extras = {key: value for key, value in group.items() if key not in GROUP}
    for value in extras.values():
        if isinstance(value, dict) and {"rows", "columns", "counts"} <= value.keys():
            yield from _crossed(value, value["counts"], extras.get("margins"))
            for layer in extras.get("layers") or ():
                yield f"    {layer['level']}"
                yield from _crossed(value, layer["counts"], layer.get("margins"))
        elif _is_table(value) and any(_is_number(x) for row in value for x in row.values()):
            yield from _listed(value)
    single = {key: value for key, value in extras.items() if not isinstance(value, (dict, list))}
    if any(value is not None for value in single.values()):
        yield "    " + ", ".join(f"{_spelled(key)} {_cell(value)}" for key, value in single.items())


def _crossed(
    table: dict[str, Any], counts: Sequence[Sequence[Any]], margins: dict[str, Any] | None
) -> Iterable[str]:
    """Counts under their labels, with the sums of rows and columns where they are told."""
    lines = [["", *map(str, table["columns"])]]
    lines += [[str(label), *map(number, row)] for label, row in zip(table["rows"], counts, strict=True)]
    if margins is not None:
        sums = ["all", *map(number, margins["row_sums"])]
        lines = [[*line, last] for line, last in zip(lines, sums, strict=True)]
        lines.append(["all", *map(number, margins["column_sums"]), number(margins["all"])])
    yield from _aligned(lines)


def _listed(rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    """A list of objects with the same keys: one line each, an interval in one column, a reason at the end."""
    left_out = {
        key
        for row in rows
        for key, value in row.items()
        if _is_table(value)
        or (isinstance(value, dict) and not all(isinstance(v, str) for v in value.values()))
    }
    left_out |= {"reason", "suppressed", "high"} if "low" in rows[0] else {"reason", "suppressed"}
    keys = [key for key in rows[0] if key not in left_out]
    lines = [[_spelled(key) for key in keys], *([_told(row, key) for key in keys] for row in rows)]
    for line, row in zip(_aligned(lines), [{}, *rows], strict=True):
        yield line + (f"   {row['reason']}" if row.get("reason") else "")


def _spelled(key: str) -> str:
    return SPELLED.get(key, key.replace("_", " "))


def _told(row: dict[str, Any], key: str) -> str:
    return _interval(row) if key == "low" and "high" in row else _cell(row.get(key))


def _side_by_side(groups: Sequence[dict[str, Any]], key: str, n: str) -> Iterable[str]:
    """Rows as the groups have them in common, and one column for each group."""
    first = groups[0][key]
    labels = [
        name
        for name in first[0]
        if name not in ("format", "reason") and any(isinstance(row[name], str) for row in first)
    ]
    head = [*labels, *(" and ".join(map(str, group.get("by", {}).values())) or "all" for group in groups)]
    counts = [*([""] * (len(labels) - 1)), n, *(number(group.get("n")) for group in groups)]
    lines = [head, counts]
    for k, row in enumerate(first):
        told = [formatted(group[key][k]) for group in groups]
        lines.append([*(str(row[name] or "") for name in labels), *told])
    yield from _aligned(lines, "  ")
    for group, name in zip(groups, head[len(labels) :], strict=True):
        if group.get("reason"):
            yield f"  {name}: {group['reason']}"


def formatted(row: dict[str, Any]) -> str:
    """The row's `format` with its numbers in it; nothing but names of its own keys has a meaning there."""
    names = re.findall(r"\{(\w+)\}", row["format"])
    if all(row.get(name) is None for name in names):
        return "-"
    return re.sub(r"\{(\w+)\}", lambda found: _short(row.get(found[1])), row["format"])


def _aligned(lines: Sequence[Sequence[str]], indent: str = "    ") -> Iterable[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        yield indent + _row(line, widths)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) and row for row in value)


def _has_formats(value: Any) -> bool:
    return _is_table(value) and all(isinstance(row.get("format"), str) for row in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None or _is_number(value):
        return number(value)
    if isinstance(value, dict):  # what a stratum is called
        return " and ".join(map(str, value.values()))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _short(value: Any) -> str:
    """A number with four digits, none after the point from 1,000 on."""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return number(value)


def _tests(result: dict[str, Any]) -> Iterable[str]:
    """How many tests came before, if this answer holds one: the adjustment knows only its own program."""
    so_far = result.get("tests_so_far")
    own = multiplicity.counted(result.get("statements", []))
    if so_far and own:
        yield (
            f"p-values are adjusted for the {own} of this answer; tests so far on these data:"
            f" {so_far['analyst']} by you, {so_far['dataset']} by everybody"
        )


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
