"""One field of a codebook, from JSON to a `Field`, with every fault reported.

Names are Frictionless Table Schema v2 where they exist (name, title, type, constraints, categories,
missingValues); the others say how a hospital's raw columns become one value a patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

from analytics.query.columns import Field, Level, Reduce
from analytics.query.derive import DERIVED_LEVELS, read_cut, read_derive
from analytics.query.problems import Reader, exact
from analytics.query.tree import decimal_text, normal_form

HOWS = ("only", "first", "min", "max", "any", "all", "count")
MOST_LEVELS = 1024
MOST_BITS = 32
MOST_EDGES = 256

_READ = ("source", "file", "sheet", "missingValues", "recodes", "where", "reduce")
_COMMON = ("name", "title", "description", "type", "derive", "cut", "outOfRange", "role", *_READ)
_NUMBER = ("unit", "constraints", "resolution", "grid", "event", "decimalChar")
_CATEGORY = ("categories", "occurred")
_LOCAL = ("local",)
_KEY = ("name", "title", "description", "type", "source", "constraints")


def read_key(reader: Reader) -> str:
    """The raw column of a primary key that is listed as a field; it is never shared."""
    reader.only(_KEY, {"categories": "a key is not a category: remove it from primaryKey or from here"})
    reader.at("constraints").only(("required", "unique"))
    name = reader.text("name")
    return reader.text("source", name)


def read_field(reader: Reader) -> Field | None:
    """The field, or None if it lacks what any column needs; everything wrong is reported."""
    name = reader.text("name", needed=True)
    kind = _kind(reader)
    not_confirmed(reader)
    if kind is None or not name:
        reader.only(_COMMON + _NUMBER + _CATEGORY + _LOCAL)
        return None
    hints = {key: f"{key} is not for a {kind}: remove it" for key in (*_NUMBER, *_CATEGORY)}
    known = _COMMON + (_NUMBER if kind == "number" else _CATEGORY) + _LOCAL
    if kind == "category" and "cut" in reader.obj:
        known += ("decimalChar",)
    if "derive" in reader.obj:
        known = tuple(key for key in known if key not in (*_READ, "decimalChar"))
        hints = dict.fromkeys(_READ, "a derived field reads fields, no column: remove it") | hints
    reader.only(known, hints)
    if not normal_form(name):
        reader.report("name", "bad_text", "a name needs a letter or digit", "choose another name")
    source = reader.text("source", name)
    derive = read_derive(reader, kind)
    cut = read_cut(reader, kind)
    reduce = _reduce(reader, "number" if cut else kind, source)
    if kind == "number":
        shape = _number(reader, name)
    else:
        shape = _category(reader, DERIVED_LEVELS.get(_answers(reader)) if not cut else cut.levels)
    if shape is None:
        return None
    if cut and len(shape["levels"]) != len(cut.levels):
        reader.report(
            "categories",
            "cut_levels",
            f"cut makes {len(cut.levels)} levels, categories names {len(shape['levels'])}",
            "name one category for each interval, in order, or leave categories out",
        )
    if reader.obj.get("sheet") is not None and not reader.obj.get("file"):
        reader.report("sheet", "sheet_without_file", "sheet says nothing without its file", 'write "file"')
    item = Field(
        name=name,
        title=reader.text("title", name),
        description=_prose(reader, "description"),
        kind=kind,
        source=source,
        file=reader.text("file") or None,
        sheet=reader.text("sheet") or None,
        decimal_char=reader.choice("decimalChar", (".", ","), None),
        missing_values=_missing_values(reader),
        recodes=_recodes(reader, {} if cut else shape),
        where=reader.predicate("where"),
        reduce=reduce,
        derive=derive,
        cut=cut.edges if cut else (),
        out_of_range=reader.choice("outOfRange", _ranges(kind), "error") or "error",
        role=reader.choice("role", ("time",) if kind == "number" else ("event",), None),
        event=reader.text("event") or None if kind == "number" else None,
        occurred=_occurred(reader, shape),
        **shape,
    )
    if reduce is None or (default := _default(reader.at("reduce"), item)) is None:
        return item
    return replace(item, reduce=replace(reduce, default=default))


def not_confirmed(reader: Reader) -> None:
    """What a draft read from values stays local until a person has looked at it."""
    if "local" in reader.obj:
        named = reader.obj["local"]
        said = [str(key)[:100] for key in named] if isinstance(named, list) else []
        reader.report(
            "local",
            "not_confirmed",
            f"confirm each level and bound: {', '.join(said) or 'something'} was read from the data",
            'compare with the protocol, correct what differs, then remove "local"',
        )


def _ranges(kind: str) -> tuple[str, ...]:
    return ("error", "clamp", "missing") if kind == "number" else ("error", "missing")


def _kind(reader: Reader) -> str | None:
    said = reader.text("type", needed=True)
    answered = bool(_answers(reader)) or "cut" in reader.obj
    if said in ("string", "category"):
        if "categories" not in reader.obj and not answered:
            reader.report(
                "categories",
                "required",
                "a text column needs its list of levels: free text is never shared",
                'write "categories": [{"value": "...", "label": "..."}]',
            )
            return None
        return "category"
    if said == "integer" and ("categories" in reader.obj or bool(_answers(reader))):
        return "category"
    if said in ("number", "integer"):
        return "number"
    if said:
        reader.report(
            "type",
            "unknown_type",
            "a shared column is number, integer, string or category",
            "for dates write days since a reference date; for yes and no write string with categories",
        )
    return None


def _number(reader: Reader, name: str) -> dict[str, Any] | None:
    bounds = reader.at("constraints")
    bounds.only(("minimum", "maximum"))
    said = str(reader.obj["type"])
    found: dict[str, Decimal] = {}
    for key in ("minimum", "maximum"):
        value = bounds.decimal(key)
        if value is not None:
            found[key] = value
        elif bounds.obj.get(key) is None:
            bounds.report(
                key,
                "required",
                f"a {said} needs its {key}: bounds are public and come from the protocol, never from the data",
                f'write "constraints": {{"{key}": ...}}',
            )
    step = reader.decimal("resolution")
    if len(found) < 2 or (step is None and reader.obj.get("resolution") is not None):
        return None
    minimum, maximum = found["minimum"], found["maximum"]
    if not minimum < maximum:
        bounds.report("", "empty_range", "minimum is not below maximum", "correct the bounds")
        return None
    step = _default_step(said, maximum - minimum) if step is None else step
    if not 0 < step <= maximum - minimum:
        reader.report(
            "resolution",
            "bad_resolution",
            "resolution is not above 0 and within the range",
            "write a smaller step",
        )
        return None
    if said == "integer" and any(x != x.to_integral_value() for x in (minimum, maximum, step)):
        reader.report(
            "type",
            "not_whole",
            "bounds and resolution of an integer are whole numbers",
            'write "type": "number"',
        )
    field = Field(
        name=name,
        title=name,
        source=name,
        type=said,
        kind="number",
        minimum=minimum,
        maximum=maximum,
        resolution=step,
    )
    if field.bits > MOST_BITS:
        reader.report(
            "resolution",
            "too_fine",
            f"a column has at most {MOST_BITS} bits, this has {field.bits}",
            "use a coarser one",
        )
        return None
    try:
        replace(field, unit=reader.text("unit")).since  # noqa: B018 (looked at, for it may be no day)
    except ValueError:
        reader.report("unit", "not_a_date", "the unit names no day", 'write "days since 2020-01-31"')
    return {
        "grid": _grid(reader, field),
        "type": said,
        "unit": reader.text("unit"),
        "minimum": minimum,
        "maximum": maximum,
        "resolution": step,
    }


def _grid(reader: Reader, field: Field) -> tuple[Decimal, ...]:
    """The edges between the cells; the bounds themselves may be listed at the ends and say nothing new."""
    entries = reader.listed("grid", MOST_EDGES)
    if entries is None:
        return ()
    edges = [edge for entry in entries if (edge := exact(entry)) is not None]
    unit = f" {reader.text('unit')}".rstrip()
    low, high = field.minimum, field.maximum
    assert low is not None and high is not None, "the bounds were read"
    said = f"{decimal_text(low)} to {decimal_text(high)}{unit}"
    inner = tuple(edge for edge in edges if edge not in (low, high))
    outside = [edge for edge in inner if not low < edge < high]
    between = [edge for edge in inner if field.value(field.code(edge)) != edge]
    message, remedy = "", f"list edges such as [{decimal_text(field.value(field.codes // 2))}]"
    if len(edges) < len(entries):
        message = "a grid lists numbers"
    elif any(b <= a for a, b in pairwise(edges)):
        message, remedy = "the edges of a grid ascend", "sort them, and list each once"
    elif outside:
        message = f"{decimal_text(outside[0])} is outside the range of {said}"
        remedy = "remove it, or correct the bounds"
    elif between:
        message = (
            f"{decimal_text(between[0])} is between two values of this column: its step is {field.resolution}"
        )
        remedy = f"write {decimal_text(field.value(field.code(between[0])))}"
    elif not inner:
        message = f"no edge lies between the ends of {said}"
    if message:
        reader.report("grid", "bad_grid", message, remedy)
        return ()
    return inner


def _default_step(said: str, width: Decimal) -> Decimal:
    """1 for an integer; else the largest power of ten that cuts the range in 1,000 steps or more."""
    if said == "integer":
        return Decimal(1)
    exponent = width.adjusted() - 3
    return Decimal(1).scaleb(exponent)


def _category(reader: Reader, made: tuple[Level, ...] | None) -> dict[str, Any] | None:
    """The levels that are listed, or else `made`: those that the field's own computation gives."""
    if made is not None and "categories" not in reader.obj:
        return {"type": "category", "levels": made}
    entries = reader.listed("categories", MOST_LEVELS)
    if entries is None:
        if reader.obj.get("categories") is None:
            reader.report("categories", "not_a_list", "categories is a list", "write [ ... ]")
        return None
    levels = [level for n, entry in enumerate(entries) if (level := _level(reader, n, entry)) is not None]
    if len(levels) < len(entries):
        return None
    seen: dict[str, int] = {}
    for n, level in enumerate(levels):
        for text in {level.value, level.label}:
            if text in seen:
                reader.report(
                    f"categories[{n}]",
                    "duplicate_level",
                    f"{text} stands for level {seen[text]} already",
                    "give each level its own value and label",
                )
            seen.setdefault(text, n)
    if _answers(reader) and not {"yes", "no"} <= {level.value for level in levels}:
        reader.report(
            "categories",
            "yes_or_no",
            "any and all give the levels yes and no",
            'list "yes" and "no", or leave it out',
        )
    return {"type": "category", "levels": tuple(levels)}


def _answers(reader: Reader) -> str | None:
    """ "any" or "all" if the field's values are answers, yes or no, to a question about several values."""
    reduce, derive = reader.obj.get("reduce"), reader.obj.get("derive")
    how = reduce.get("how") if isinstance(reduce, dict) else None
    if how in ("any", "all"):
        return str(how)
    return "any" if isinstance(derive, dict) and "any" in derive else None


def _level(reader: Reader, number: int, entry: Any) -> Level | None:
    where = f"categories[{number}]"
    if isinstance(entry, dict):
        extra = sorted(set(entry) - {"value", "label"})
        if extra:
            reader.report(
                where, "unknown_key", f"{extra[0]} has no meaning here", "a level has value and label"
            )
        value, label = entry.get("value"), entry.get("label")
    else:
        value, label = entry, None
    texts = [_scalar(value), _scalar(value if label is None else label)]
    if texts[0] is None or texts[1] is None:
        reader.report(
            where, "bad_level", "a level's value is text or a whole number", 'write {"value": "..."}'
        )
        return None
    if not all(reader.name(where, text) for text in texts if text is not None):
        return None
    return Level(texts[0], texts[1])


def _scalar(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
        return None
    return str(value) if isinstance(value, str) or abs(value) < 10**18 else None


def _missing_values(reader: Reader) -> tuple[str, ...]:
    value = reader.obj.get("missingValues")
    if value is None:
        return ("",)
    if not isinstance(value, list) or len(value) > 100 or not all(isinstance(text, str) for text in value):
        reader.report("missingValues", "not_a_list", "missingValues is a list of texts", 'write ["", "NA"]')
        return ("",)
    return tuple(dict.fromkeys(value))


def _recodes(reader: Reader, shape: dict[str, Any]) -> dict[str, str]:
    found = {}
    for raw, target in Reader.of(
        reader.obj.get("recodes", {}), f"{reader.where}.recodes", reader.problems
    ).obj.items():
        if levels := shape.get("levels"):
            text = _scalar(target)
            match = [level.value for level in levels if text in (level.value, level.label)]
            remedy = "write the value of one of the categories"
        else:
            number = exact(target)
            match = [] if number is None else [decimal_text(number)]
            remedy = "write a number, or list the raw text in missingValues"
        if not match:
            reader.report(
                f"recodes.{raw[:100]}", "bad_recode", "the new value is none of this column", remedy
            )
        else:
            found[raw] = match[0]
    return found


def _reduce(reader: Reader, kind: str, source: str) -> Reduce | None:
    if reader.obj.get("reduce") is None:
        return None
    inner = reader.at("reduce")
    inner.only(("how", "where", "test", "orderBy", "default"))
    how = inner.choice("how", HOWS, None)
    if how is None:
        if inner.obj.get("how") is None:
            inner.report("how", "required", "how is required", f"write one of {', '.join(HOWS)}")
        return None
    test = inner.predicate("test", subject=source)
    order_by = inner.text("orderBy") or None
    needs: Sequence[tuple[bool, str, str]] = (
        (how in ("any", "all") and kind == "number", "how", f"{how} gives yes or no: the type is string"),
        (
            how in ("min", "max", "count") and kind == "category",
            "how",
            f"{how} gives a number: the type is integer",
        ),
        (how in ("any", "all") and "test" not in inner.obj, "test", f'{how} needs a test, such as ">= 3"'),
        (
            how not in ("any", "all") and "test" in inner.obj,
            "test",
            f"test is for any and all, not for {how}",
        ),
        (how != "first" and order_by is not None, "orderBy", f"orderBy is for first, not for {how}"),
        (how == "count" and "default" in inner.obj, "default", "count is 0 without rows"),
    )
    for broken, key, message in needs:
        if broken:
            inner.report(key, "bad_reduce", message, "change it or remove it")
    return Reduce(how=how, where=inner.predicate("where"), test=test, order_by=order_by)


def _default(inner: Reader, item: Field) -> Decimal | None:
    """What a patient without a row has, in the field's own terms: a number within range, or a level's position."""
    said = inner.obj.get("default")
    if said is None:
        return None
    if item.reads_number:
        number = exact(said)
        if (
            number is not None
            and 0 <= (item.interval(number) if item.cut else item.code(number)) < item.codes
        ):
            return number
        remedy = "write a number that the cut or the bounds admit"
    else:
        text = _scalar(said)
        for position, level in enumerate(item.levels):
            if text in (level.value, level.label):
                return Decimal(position)
        remedy = "write the value of one of the categories"
    inner.report("default", "bad_default", "the default is no value of this field", remedy)
    return None


def _occurred(reader: Reader, shape: dict[str, Any]) -> str | None:
    said = reader.obj.get("occurred")
    if said is None or "levels" not in shape:
        return None
    text = _scalar(said)
    for level in shape["levels"]:
        if text in (level.value, level.label):
            return str(level.value)
    reader.report("occurred", "unknown_level", "occurred is none of the categories", "write the value of one")
    return None


def _prose(reader: Reader, key: str) -> str:
    value = reader.obj.get(key, "")
    if not isinstance(value, str) or len(value) > 4096:
        reader.report(key, "not_text", f"{key} is text of at most 4096 characters", "shorten it")
        return ""
    return value
