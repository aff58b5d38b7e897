"""A statement of a Result as tables that a page, a printed report and a spreadsheet show: by its shape, as in a terminal.

What goes with a figure is found by its form (counts under labels, lists of objects, rows with a `format`), whatever the
statistic. A cell is text; what is withheld says so, with the reason beside it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics import render

WITHHELD = "withheld"
SPELLED = {"chi2": "chi-square", "p_holm": "p (Holm)", "p_bh": "p (Benjamini-Hochberg)", "df": "degrees of freedom",
           "at_risk": "at risk", "low": "95 % interval", "noise": "noise SD", "se": "standard error"}  # fmt: skip
OF_GROUP = ("by", "value", "low", "high", "level", "n", "noise_scale", "suppressed", "reason")


@dataclass(frozen=True, kw_only=True)
class Table:
    """`head` names the columns; the first `labels` cells of each row name the row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1

    @property
    def heads(self) -> tuple[Sequence[str], Sequence[str]]:
        return self.head[: self.labels], self.head[self.labels :]

    @property
    def split(self) -> list[tuple[Sequence[str], Sequence[str]]]:
        """(labels, figures) of each row."""
        return [(row[: self.labels], row[self.labels :]) for row in self.rows]


def tables(statement: Mapping[str, Any], mode: str) -> list[Table]:
    """The figures first, then what goes with them."""
    groups = statement.get("groups") or []
    if any(_formatted(group.get("characteristics")) for group in groups):
        return [_side_by_side(statement, groups, mode)]
    found = [_figures(statement, groups, mode)]
    for group in groups:
        where = ", ".join(map(str, group.get("by", {}).values()))
        found += list(_extras(group, f": {where}" if where else ""))
    return found


def csv_text(result: Mapping[str, Any]) -> str:
    """Every number of an answer, one a line, with the place where it stands in the JSON."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow(["statement", "question", "group", "figure", "value", "reason"])
    for number, statement in enumerate(result.get("statements", []), 1):
        for group in statement.get("groups", []):
            name = ", ".join(f"{key}={value}" for key, value in group.get("by", {}).items())
            own = {key: value for key, value in group.items() if key not in ("by", "reason", "suppressed")}
            for place, value in _leaves(own):
                row = [statement.get("text", ""), name, place, value, group.get("reason") or ""]
                lines.writerow([number, *(harmless(cell) for cell in row)])
    return text.getvalue()


def harmless(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe."""
    if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{cell}"
    return cell


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from _leaves(inner, f"{place}[{number}]")
    else:
        yield place, "" if value is None else value


def _figures(statement: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], mode: str) -> Table:
    keys = list(groups[0].get("by", {})) if groups else []
    unit = f" ({statement['unit']})" if statement.get("unit") else ""
    level = next((100 * group["level"] for group in groups if group.get("level")), 95)
    noised = mode != "exact"
    head = [
        *keys,
        str(statement.get("statistic", "figure")).replace("_", " ") + unit,
        f"{level:.0f} % interval",
    ]
    head += ["patients (noised)", "noise SD"] if noised else ["patients"]
    head += ["withheld because"] if any(group.get("reason") for group in groups) else []
    rows = []
    for group in groups:
        row = [str(group.get("by", {}).get(key, "")) for key in keys]
        row += [WITHHELD if group.get("value") is None else _number(group["value"]), _interval(group)]
        row.append(_number(group.get("n")))
        if noised:
            row.append(_number((group.get("noise_scale") or {}).get("value")))
        if head[-1] == "withheld because":
            row.append(str(group.get("reason") or ""))
        rows.append(tuple(row))
    return Table(caption=str(statement.get("text", "")), head=tuple(head), rows=tuple(rows), labels=len(keys))


def _extras(group: Mapping[str, Any], where: str) -> Iterator[Table]:
    extras = {key: value for key, value in group.items() if key not in OF_GROUP and key != "matrix"}
    table = extras.pop("table", None)
    if table:
        for layer in extras.pop("layers", None) or [
            {"counts": table["counts"], "margins": extras.get("margins")}
        ]:
            yield _crossed(table, layer, where)
        extras.pop("margins", None)
    singles = []
    for key, value in extras.items():
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            yield _listed(key, value, where)
        elif isinstance(value, Mapping):
            inner = [(f"{key} {name}", x) for name, x in value.items() if not isinstance(x, (list, Mapping))]
            singles += [(name, x) for name, x in inner if x is not None]
        elif value is not None and not isinstance(value, list):
            singles.append((key, value))
    if singles:
        rows = tuple((_spelled(key), _cell(value)) for key, value in singles)
        yield Table(caption=f"also told{where}", head=("figure", "value"), rows=rows)


def _crossed(table: Mapping[str, Any], layer: Mapping[str, Any], where: str) -> Table:
    margins = layer.get("margins")
    rows = [
        (str(label), *(WITHHELD if x is None else _number(x) for x in counts))
        for label, counts in zip(table["rows"], layer["counts"], strict=True)
    ]
    head = ["", *map(str, table["columns"])]
    if margins:
        head.append("all")
        rows = [(*row, _number(x)) for row, x in zip(rows, margins["row_sums"], strict=True)]
        rows.append(("all", *map(_number, margins["column_sums"]), _number(margins["all"])))
    level = f", {layer['level']}" if "level" in layer else ""
    return Table(caption=f"patients{where}{level}", head=tuple(head), rows=tuple(rows))


def _listed(key: str, listed: Sequence[Mapping[str, Any]], where: str) -> Table:
    keys = [
        name
        for name in listed[0]
        if name not in ("high", "suppressed", "reason") and any(not _deep(row.get(name)) for row in listed)
    ]
    reasons = any(row.get("reason") for row in listed)
    head = [*(_spelled(name) for name in keys), *(["withheld because"] if reasons else [])]
    rows = []
    for row in listed:
        cells = [_interval(row) if name == "low" and "high" in row else _cell(row.get(name)) for name in keys]
        rows.append((*cells, *([str(row.get("reason") or "")] if reasons else [])))
    caption = key.replace("_", " ") + where
    return Table(caption=caption, head=tuple(head), rows=tuple(rows))


def _side_by_side(statement: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], mode: str) -> Table:
    names = [", ".join(map(str, group.get("by", {}).values())) or "all" for group in groups]
    first = groups[0]["characteristics"]
    n = "patients (noised)" if mode != "exact" else "patients"
    rows = [("", n, *(_number(group.get("n")) for group in groups))]
    last = ""
    for k, row in enumerate(first):
        name = str(row["characteristic"])
        what = str(row["level"]) + f", {row['figure']}" if row.get("level") else str(row["figure"])
        told = [
            render.formatted(group["characteristics"][k]) if k < len(group["characteristics"]) else "-"
            for group in groups
        ]
        rows.append((name if name != last else "", what, *told))
        last = name
    return Table(
        caption=str(statement.get("text", "")),
        head=("characteristic", "figure", *names),
        rows=tuple(rows),
        labels=2,
    )


def _formatted(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0].get("format"), str)


def _deep(value: Any) -> bool:
    return isinstance(value, list) or (
        isinstance(value, Mapping) and not all(isinstance(x, str) for x in value.values())
    )


def _spelled(key: str) -> str:
    return SPELLED.get(key, key.replace("_", " "))


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(map(str, value.values()))
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return _number(value)
    return str(value)


def _interval(row: Mapping[str, Any]) -> str:
    if row.get("low") is None or row.get("high") is None:
        return "-"
    return f"{_number(row['low'])} to {_number(row['high'])}"


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    return f"{float(value):.4g}"
