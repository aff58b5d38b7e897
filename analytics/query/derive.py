"""Fields computed from fields (`derive`) and categories made of numbers (`cut`), from JSON and checked.

Both are applied by the provider, to exact values, before anything is rounded: what is shared of a derived
field is rounded once. Every edge is public and comes from the protocol or from clinical convention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from analytics.query.columns import Derive, Field, Level
from analytics.query.errors import nearest
from analytics.query.problems import Reader, exact
from analytics.query.tree import decimal_text, normal_form

HOWS = ("difference", "ratio", "scale", "any")
YES_NO = (Level("no", "no"), Level("yes", "yes"))
DERIVED_LEVELS: dict[str | None, tuple[Level, ...]] = {"any": YES_NO, "all": YES_NO}
MOST_EDGES = 256
MOST_OPERANDS = 64
EXAMPLES = {
    "difference": '{"difference": ["end", "start"]}',
    "ratio": '{"ratio": ["weight", "height"]}',
    "scale": '{"scale": ["weight_lb", "0.45359237"]}',
    "any": '{"any": ["diabetes", "hypertension"]}',
}


@dataclass(frozen=True)
class Cut:
    """Edges in rising order, the first and the last possibly open, and the levels between them."""

    edges: tuple[Decimal | None, ...]
    levels: tuple[Level, ...]


def read_cut(reader: Reader, kind: str) -> Cut | None:
    """The cut of a field, or None; what is wrong with it is reported."""
    entries = reader.listed("cut", MOST_EDGES)
    if entries is None:
        return None
    if kind != "category":
        reader.report("cut", "bad_cut", "cut makes a category of a number", 'write "type": "string"')
        return None
    if isinstance(how := reader.obj.get("reduce"), dict) and how.get("how") in ("any", "all"):
        reader.report("cut", "bad_cut", "any and all give yes or no: there is no number to cut", "remove one")
    edges = [None if edge is None else exact(edge) for edge in entries]
    inner = [edge for edge in edges if edge is not None]
    open_ends = [n for n, edge in enumerate(entries) if edge is None]
    rising = all(low < high for low, high in pairwise(inner))
    wrong = len(inner) + len(open_ends) < len(entries) or not set(open_ends) <= {0, len(entries) - 1}
    if wrong or not rising or not inner or len(entries) < 2:
        reader.report(
            "cut",
            "bad_cut",
            "cut is a list of rising numbers, at least two; the first and the last may be null: no end",
            "write [20, 25, 30] or [null, 65, null]",
        )
        return None
    return Cut(tuple(edges), tuple(_levels(edges)))


def _levels(edges: Sequence[Decimal | None]) -> list[Level]:
    names = []
    for low, high in pairwise(edges):
        if low is None and high is not None:
            names.append(f"< {decimal_text(high)}")
        elif high is None and low is not None:
            names.append(f">= {decimal_text(low)}")
        elif low is not None and high is not None:
            names.append(f"[{decimal_text(low)}, {decimal_text(high)})")
    return [Level(name, name) for name in names]


def read_derive(reader: Reader, kind: str) -> Derive | None:
    """The computation of a derived field, or None; its fields are checked by `check_operands`."""
    if reader.obj.get("derive") is None:
        return None
    inner = reader.at("derive")
    inner.only(HOWS)
    hows = [how for how in HOWS if how in inner.obj]
    if len(hows) != 1:
        if not inner.obj or len(hows) > 1:
            inner.report(
                "", "bad_derive", f"derive is one of {', '.join(HOWS)}", f"write {EXAMPLES['ratio']}"
            )
        return None
    how = hows[0]
    remedy = f"write {EXAMPLES[how]}"
    entries = inner.listed(how, MOST_OPERANDS) or []
    numbers: list[Any] = entries[1:] if how == "scale" else []
    names = entries[:1] if how == "scale" else entries
    if not names or not all(isinstance(name, str) and name for name in names):
        inner.report(how, "bad_derive", f"{how} names fields of this codebook", remedy)
        return None
    counts = {"difference": (2,), "ratio": (2,), "scale": (2, 3)}
    if how in counts and len(entries) not in counts[how]:
        inner.report(how, "bad_derive", f"{how} takes {' or '.join(map(str, counts[how]))} entries", remedy)
        return None
    factors = [exact(number) for number in numbers]
    if None in factors or factors[:1] == [Decimal(0)]:
        inner.report(how, "bad_derive", "scale takes a field, a factor that is not 0, and an offset", remedy)
        return None
    if (how == "any") != (kind == "category") and "cut" not in reader.obj:
        gives = "yes or no: the type is string" if how == "any" else "a number: the type is number"
        inner.report(how, "bad_derive", f"{how} gives {gives}", "change the type")
    if how == "any" and "cut" in reader.obj:
        inner.report(how, "bad_derive", "any gives yes or no: there is no number to cut", "remove cut")
    exacts = [factor for factor in factors if factor is not None]
    return Derive(
        how=how,
        fields=tuple(names),
        factor=exacts[0] if exacts else Decimal(1),
        offset=exacts[1] if len(exacts) > 1 else Decimal(0),
    )


def check_operands(reader: Reader, fields: Sequence[Field]) -> None:
    """Every field that a derived field names stands above it and is of the right kind and unit."""
    known: dict[str, Field] = {}
    for item in fields:
        if item.derive is not None:
            inner = Reader({}, f"fields.{item.name}.derive", reader.problems)
            operands = [_operand(inner, item.derive, name, known) for name in item.derive.fields]
            _same_unit(inner, item.derive, [operand for operand in operands if operand is not None])
        known[item.name] = item


def _operand(reader: Reader, derive: Derive, name: str, known: dict[str, Field]) -> Field | None:
    operand = known.get(name)
    if operand is None:
        near = nearest(name, known, normal_form)
        hint = f"write {near[0]}" if near else "name a field that is listed before this one"
        reader.report(derive.how, "unknown_field", f"{name} is no field above this one", hint)
    elif derive.how == "any":
        if operand.kind != "category":
            reader.report(
                derive.how, "not_a_flag", f"{name} is a number", "name flags: fields with a level yes"
            )
        elif operand.yes is None:
            reader.report(
                derive.how, "not_a_flag", f"no level of {name} says yes", f'write "occurred" in {name}'
            )
    elif operand.kind != "number":
        reader.report(derive.how, "not_a_number", f"{name} is a category", "name fields that are numbers")
    return operand


def _same_unit(reader: Reader, derive: Derive, operands: Sequence[Field]) -> None:
    units = {operand.unit for operand in operands}
    if derive.how == "difference" and len(units) > 1:
        said = " and ".join(sorted(unit or "no unit" for unit in units))
        reader.report(
            "difference", "units_differ", f"the two are in {said}", "bring both to one unit, with scale"
        )
