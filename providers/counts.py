"""How many values every step of a codebook leaves, field by field, for the person who signs the codebook off.

The steps are those of `codebook`, in its order: text, missingValues, recodes, where, reduce, derive, cut or
round, range. Counts, texts and ends of the values are shown on the provider's screen and go nowhere else. A median is the
lower one where there are two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.query.schema import Field, Schema
from analytics.query.tree import decimal_text
from providers.codebook import Encoded, level_of
from providers.ranging import Column, code_in
from providers.reduction import NO_ROW
from providers.study import Joined
from providers.trace import Trace
from providers.values import Unreadable

NAMED = (
    "step",
    "setting",
    "how",
    "text",
    "coded",
    "texts",
    "levels",
)  # said elsewhere in its line, or below it
MOST_TEXTS = 200  # of one column: the most frequent; the rest is a number

Counts = NDArray[np.int64]


def counts_of(schema: Schema, encoded: Encoded | None, traces: Mapping[str, Trace]) -> list[dict[str, Any]]:
    """One object a field: its name, place and `steps` in order; `result` is null where it could not be read."""
    if encoded is None:
        return []
    return [_field(item, schema, encoded, traces.get(item.name, Trace())) for item in schema.fields]


def lines_of(counts: list[dict[str, Any]]) -> Iterator[str]:
    """The same for a person: a line a step, then each raw text with the level that it becomes."""
    for one in counts:
        place = "derived" if one["source"] is None else f"{one['source']} of {one['file'] or 'no file'}"
        yield f"{one['field']} ({place})"
        for step in one["steps"]:
            name = " ".join(str(step[key]) for key in ("step", "setting", "how") if key in step)
            yield f"  {name:<24}{_line(step)}"
            for text in step.get("texts", []):
                yield f"      {_quoted(text['text'])}{_becomes(text)}: {_line(text)}"
        if one["result"] is None:
            yield f"  {'result':<24}not read: the problems say why"
            continue
        yield f"  {'result':<24}{_line(one['result'])}"
        for level in one["result"].get("levels", []):
            yield f"      {_quoted(level['value'])} {level['label']}: patients {level['patients']}"


def _line(counted: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in counted.items() if key not in NAMED and value is not None}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())


def _becomes(text: Mapping[str, Any]) -> str:
    if "coded" not in text:
        return ""
    return " is no level" if text["coded"] is None else f" to {_quoted(text['coded'])}"


def _quoted(text: str) -> str:
    """In quotes, so that spaces and line ends in it show."""
    return json.dumps(text, ensure_ascii=False)


def _field(item: Field, schema: Schema, encoded: Encoded, trace: Trace) -> dict[str, Any]:
    column = encoded.columns.get(item.name)
    steps: list[dict[str, Any]] = []
    if item.derive is not None:
        steps.append(_derive(item, encoded, trace))
    elif trace.joined is not None:
        steps += _read(item, trace.joined, trace, encoded.patients)
    if column is not None or trace.chosen is not None:
        steps += _coded(item, trace)
    return {
        "field": item.name,
        "source": None if item.derive is not None else item.source,
        "file": None if trace.joined is None else trace.joined.table.file,
        "steps": steps,
        "result": None if column is None else _result(item, column),
    }


# -- rows ----------------------------------------------------------------------------------------------------


def _read(item: Field, joined: Joined, trace: Trace, patients: int) -> Iterator[dict[str, Any]]:
    table = joined.table
    if item.source not in table.columns:  # counts the rows of a file as such
        yield {"step": "text", "rows": table.rows}
    else:
        yield from _texts(item, joined, trace)
    for setting, before, after in trace.kept:
        yield {"step": "where", "setting": setting, "rows": before, "dropped": before - after, "left": after}
    if trace.rows is not None and (item.reduce is not None or trace.chosen is not None):
        yield _reduced(item, joined, trace, patients)


def _texts(item: Field, joined: Joined, trace: Trace) -> Iterator[dict[str, Any]]:
    """The steps text, missingValues and recodes of every row with a patient."""
    texts = joined.texts(item.source)
    size = len(texts.distinct)
    rows = _tally(texts.index[joined.patient >= 0], size)
    after = None if trace.rows is None else _tally(texts.index[trace.rows], size)
    held = None
    if trace.chosen is not None:
        held = _tally(texts.index[trace.chosen[trace.chosen != NO_ROW]], size)
    used = np.flatnonzero(rows)
    missing = [u for u in used if texts.distinct[u] in item.missing_values]
    given = [u for u in used if texts.distinct[u] not in item.missing_values]
    total, without = int(rows.sum()), int(rows[missing].sum())
    yield {"step": "text", "rows": total, "distinct": len(used)}
    yield {
        "step": "missingValues",
        "missing": without,
        "left": total - without,
        "texts": [{"text": texts.distinct[u], "rows": int(rows[u])} for u in _frequent(missing, rows)],
    }
    recoded = [u for u in given if texts.distinct[u] in item.recodes]
    # Of a number only what is recoded is listed, of a category every text: that is what a person signs.
    listed = recoded if item.reads_number else given
    shown = _frequent(listed, rows)
    step: dict[str, Any] = {"step": "recodes", "recoded": int(rows[recoded].sum())}
    if not item.reads_number and not _answers(item):
        step["unknown"] = int(sum(rows[u] for u in given if _coded_text(item, texts.distinct[u]) is None))
    step["texts"] = [
        {
            "text": texts.distinct[u],
            "coded": _coded_text(item, texts.distinct[u]),
            "rows": int(rows[u]),
            "after_where": None if after is None else int(after[u]),
            "patients": None if held is None else int(held[u]),
        }
        for u in shown
    ]
    if len(listed) > len(shown):
        step["further_texts"] = len(listed) - len(shown)
    yield step


def _reduced(item: Field, joined: Joined, trace: Trace, patients: int) -> dict[str, Any]:
    """Rows to patients: those that count, and those that another row of their patient stands for."""
    assert trace.rows is not None
    step: dict[str, Any] = {"step": "reduce", "how": "none" if item.reduce is None else item.reduce.how}
    step["rows"] = len(trace.rows)
    step["patients_with_rows"] = len(np.unique(joined.patient[trace.rows]))
    step["patients_without_rows"] = patients - step["patients_with_rows"]
    if trace.passing is not None:
        step["rows_passing"] = trace.passing
    if trace.chosen is not None:
        having = int((trace.chosen != NO_ROW).sum())
        step["patients_with_value"], step["patients_missing"] = having, patients - having
        step["rows_not_chosen"] = len(trace.rows) - having
    return step


def _coded_text(item: Field, text: str) -> str | None:
    """What a text is recoded to: the level's value, or the number's text; None if it is no level."""
    meaning = item.recodes.get(text, text)
    if item.reads_number or _answers(item):
        return meaning
    level = level_of(item, meaning)
    return None if isinstance(level, Unreadable) else item.levels[int(level)].value


def _answers(item: Field) -> bool:
    """Whether the field's levels are answers to a test, and its texts no levels."""
    return item.reduce is not None and item.reduce.how in ("any", "all")


def _frequent(texts: list[np.intp], rows: Counts) -> list[np.intp]:
    return sorted(texts, key=lambda u: -rows[u])[:MOST_TEXTS]


def _tally(index: Counts, size: int) -> Counts:
    return np.bincount(index, minlength=size).astype(np.int64)


# -- patients ------------------------------------------------------------------------------------------------


def _derive(item: Field, encoded: Encoded, trace: Trace) -> dict[str, Any]:
    assert item.derive is not None
    step: dict[str, Any] = {"step": "derive", "how": item.derive.how}
    for name in item.derive.fields:
        part = encoded.columns.get(name)
        step[f"missing in {name}"] = None if part is None else int((~part.present).sum())
    if trace.present is not None:
        step["patients_with_value"], step["patients_missing"] = (
            trace.present,
            encoded.patients - trace.present,
        )
    return step


def _coded(item: Field, trace: Trace) -> Iterator[dict[str, Any]]:
    """The steps cut or round, and range."""
    if item.cut or item.kind == "number":
        step: dict[str, Any] = {"step": "cut" if item.cut else "round"}
        if trace.chosen is not None and trace.values is not None and trace.joined is not None:
            step |= _before_rounding(item, trace, trace.joined, trace.values)
        yield step
    if trace.present is not None:
        yield {
            "step": "range",
            "patients": trace.present,
            "below": trace.below,
            "above": trace.above,
            "outside_is": item.out_of_range,
        }


def _before_rounding(
    item: Field, trace: Trace, joined: Joined, values: Mapping[int, Decimal]
) -> dict[str, Any]:
    """Minimum, median and maximum of the patients' values as they are written, and how many rounding moves."""
    assert trace.chosen is not None
    index = joined.texts(item.source).index
    held = _tally(index[trace.chosen[trace.chosen != NO_ROW]], len(joined.texts(item.source).distinct))
    ordered = sorted((value, int(held[u]), u) for u, value in values.items() if held[u])
    if not ordered:
        return {}
    middle = np.searchsorted(np.cumsum([count for _, count, _ in ordered]), sum(c for _, c, _ in ordered) / 2)
    found: dict[str, Any] = {
        "minimum": decimal_text(ordered[0][0]),
        "median": decimal_text(ordered[int(middle)][0]),
        "maximum": decimal_text(ordered[-1][0]),
    }
    if not item.cut:
        found["rounded"] = sum(count for value, count, _ in ordered if _moves(item, value))
    return found


def _moves(item: Field, value: Decimal) -> bool:
    code = code_in(item, value)
    return 0 <= code < item.codes and item.value(code) != value


def _result(item: Field, column: Column) -> dict[str, Any]:
    present = int(column.present.sum())
    result: dict[str, Any] = {"present": present, "missing": len(column.present) - present}
    codes = column.codes[column.present]
    if item.kind == "category":
        held = _tally(codes, len(item.levels))
        result["levels"] = [
            {"value": level.value, "label": level.label, "patients": int(count)}
            for level, count in zip(item.levels, held, strict=True)
        ]
    elif present:
        ordered = np.sort(codes)
        ends = {"minimum": ordered[0], "median": ordered[(present - 1) // 2], "maximum": ordered[-1]}
        result |= {name: decimal_text(item.value(int(code))) for name, code in ends.items()}
    return result
