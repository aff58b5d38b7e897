"""A codebook: the public columns of a dataset, the provider's policy, and the layout of shared planes.

    schema = parse_codebook(load_codebook(text))
    schema.hash, schema.field("bmi").bits, schema.plane_names

A codebook is complete and right or it is rejected with every problem listed. Whatever number it holds is
exact: decimals are kept as text, so that the hash is the same in every program and every language.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from analytics.privacy.accountant import (
    ATTO,
    LARGEST_BUDGET,
    MICRO,
    DeltaRejected,
    EpsilonRejected,
    atto_delta,
    delta_text,
    micro_epsilon,
)
from analytics.query.columns import Field, Level, Reduce
from analytics.query.derive import check_operands
from analytics.query.errors import CodebookRejected, Problem, nearest
from analytics.query.fields import not_confirmed, read_field, read_key
from analytics.query.model import digest
from analytics.query.problems import Reader
from analytics.query.statistic import spellings, statistics
from analytics.query.tree import as_number, decimal_text, normal_form

__all__ = [
    "CodebookRejected", "Field", "Level", "Reduce", "Schema", "canonical_codebook", "layout", "load_codebook",
    "parse_codebook",
]  # fmt: skip

DEFAULT_CAPACITY = 4096
LARGEST_CAPACITY = 2**24
MOST_FIELDS = 512
DEEPEST = 20
LONGEST_CODEBOOK = 4 * 2**20  # bytes

_TOP = (
    "primaryKey",
    "fields",
    "policy",
    "capacity",
    "facts",
    "name",
    "title",
    "description",
    "$schema",
    "local",
)
_POLICY = ("epsilon", "epsilon_per_query", "delta", "minimum_cohort", "modes", "statistics", "expires")


@dataclass(frozen=True, kw_only=True)
class Schema:
    """A valid codebook. `primary_key` is the raw column that joins rows and is never shared.

    `policy` is normalised as in a manifest; `facts` are public and free in form; `warnings` are problems that
    do not reject.
    """

    fields: tuple[Field, ...]
    primary_key: str
    capacity: int
    policy: Mapping[str, Any]
    facts: Mapping[str, Any]
    hash: str
    title: str = ""
    description: str = ""
    warnings: tuple[Problem, ...] = field(default=(), repr=False)

    def field(self, name: str) -> Field:
        """The field of exactly this name. Raises KeyError."""
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(name)

    @property
    def plane_names(self) -> list[tuple[str, str | int]]:
        """(column, part) of every plane in order: valid, then each field's bits (lowest first) and presence."""
        names: list[tuple[str, str | int]] = [("", "valid")]
        for column in self.fields:
            names += [(column.name, bit) for bit in range(column.bits)]
            names.append((column.name, "present"))
        return names

    @property
    def planes(self) -> list[tuple[str, str | int]]:
        """The same as `plane_names`."""
        return self.plane_names

    @property
    def layout_hash(self) -> str:
        return digest(layout(self))


def layout(schema: Schema) -> dict[str, Any]:
    """The object whose digest fixes which plane is which in a shared table."""
    planes = [list(name) for name in schema.plane_names]
    return {"type": "fourfold/1/layout", "planes": planes, "capacity": schema.capacity}


def load_codebook(text: str | bytes) -> dict[str, Any]:
    """The JSON object in a text, decimals exact, a key at most once in an object.

    Raises  CodebookRejected if it is no such JSON.
    """
    try:
        if len(text) > LONGEST_CODEBOOK:
            raise ValueError("the codebook is larger than 4 MiB")
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
        obj = json.loads(decoded, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError, ArithmeticError) as wrong:
        raise _rejected("json", f"this is not JSON: {wrong}", "correct the text") from None
    if not isinstance(obj, dict):
        raise _rejected("json", "a codebook is a JSON object", "write { ... }")
    return obj


def canonical_codebook(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The codebook with every number that is no integer as its decimal text: no floats, one hash.

    Raises  CodebookRejected for numbers without finite decimal text and for nesting beyond all sense.
    """
    exact: dict[str, Any] = _exact(obj, 0)
    return exact


def parse_codebook(obj: Mapping[str, Any]) -> Schema:
    """The schema that a codebook declares; decimals may come as Decimal, float or text.

    Raises  CodebookRejected with every problem: where, rule, message, remedy.
    """
    if not isinstance(obj, Mapping):
        raise _rejected("json", "a codebook is a JSON object", "write { ... }")
    problems: list[Problem] = []
    canonical = canonical_codebook(obj)
    reader = Reader(canonical, "", problems)
    reader.only(_TOP, {"missingValues": "write missingValues in each field that needs it"})
    not_confirmed(reader)
    key = _primary_key(reader)
    source, fields = _fields(reader, key)
    capacity = reader.whole("capacity", DEFAULT_CAPACITY, 1, LARGEST_CAPACITY)
    policy = _policy(reader, capacity)
    facts = reader.obj.get("facts", {})
    if not isinstance(facts, dict):
        reader.report("facts", "not_an_object", "facts is an object", "write { ... }")
    schema = Schema(
        fields=tuple(fields),
        primary_key=source,
        capacity=capacity,
        policy=policy,
        facts=facts,
        hash="" if problems else _hash(canonical),
        title=reader.text("title") or reader.text("name"),
        description=str(reader.obj.get("description", "")),
        warnings=tuple(_warnings(fields)),
    )
    if problems:
        raise CodebookRejected(problems)
    return schema


def _hash(canonical: dict[str, Any]) -> str:
    try:
        return digest(canonical)
    except UnicodeEncodeError:
        raise _rejected("bad_text", "a text is no valid Unicode", "remove unpaired surrogates") from None


def _primary_key(reader: Reader) -> str:
    value = reader.obj.get("primaryKey")
    if value is None:
        reader.report("primaryKey", "required", "primaryKey is required", 'write "primaryKey": "patient_id"')
        return ""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str) or not value:
        reader.report(
            "primaryKey",
            "bad_key",
            "primaryKey is one column, as text or a list of one text",
            'write "patient_id"',
        )
        return ""
    return value if reader.name("primaryKey", value) else ""


def _fields(reader: Reader, key: str) -> tuple[str, list[Field]]:
    """The key's raw column, and the shared fields; names and titles are checked against each other."""
    entries = reader.listed("fields", MOST_FIELDS)
    if entries is None:
        if reader.obj.get("fields") is None:
            reader.report("fields", "required", "fields is required", 'write "fields": [ ... ]')
        return key, []
    found, source = [], key
    taken: dict[str, str] = {}
    for number, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        where = f"fields.{name}" if isinstance(name, str) and 0 < len(name) < 100 else f"fields[{number}]"
        one = Reader.of(entry, where, reader.problems)
        if not one.obj and isinstance(entry, dict):
            one.report("", "required", "name and type are required", 'write {"name": ..., "type": ...}')
            continue
        if name == key and name:
            source = read_key(one)
            continue
        item = read_field(one)
        for said in dict.fromkeys((item.name, item.title)) if item else ():
            other = taken.setdefault(normal_form(said), f"fields[{number}]")
            if other != f"fields[{number}]":
                one.report(
                    "name",
                    "ambiguous_name",
                    f"{said} is read like the name or title of {other}",
                    "rename one of them",
                )
        if item:
            found.append(item)
    if not found and not reader.problems:
        reader.report("fields", "required", "there is no column besides the key", "list at least one field")
    _events(reader, found)
    check_operands(reader, found)
    return source, found


def _events(reader: Reader, fields: list[Field]) -> None:
    categories = {item.name for item in fields if item.kind == "category"}
    for item in fields:
        if item.event is not None and item.event not in categories:
            near = nearest(item.event, categories, normal_form)
            Reader({}, f"fields.{item.name}", reader.problems).report(
                "event",
                "unknown_event",
                f"{item.event} is no field with categories",
                f"write {near[0]}" if near else "write the name of a field with categories",
            )


def _policy(reader: Reader, capacity: int) -> dict[str, Any]:
    if reader.obj.get("policy") is None:
        reader.report("policy", "required", "policy is required", 'write "policy": {"epsilon": "10", ...}')
        return {}
    inner = reader.at("policy")
    inner.only(_POLICY)
    modes = _words(inner, "modes", ["dp"], ("dp", "exact"), {})
    total = _epsilon(inner, "epsilon", None if "dp" in modes else 0)
    each = _epsilon(inner, "epsilon_per_query", min(total or 0, MICRO))
    if total is not None and each is not None and each > total:
        inner.report(
            "epsilon_per_query", "exceeds_budget", "one query may not have more than all together", "lower it"
        )
    delta = _delta(inner, capacity) if "dp" in modes else None
    return {
        "micro_epsilon": total,
        "micro_epsilon_per_query": each,
        **({} if delta is None else {"atto_delta": delta}),
        "minimum_cohort": inner.whole("minimum_cohort", 11, 1, LARGEST_CAPACITY),
        "modes": modes,
        "statistics": _words(inner, "statistics", ["*"], ("*", *statistics()), spellings()),
        "expires": _expires(inner),
    }


def _epsilon(reader: Reader, key: str, default: int | None) -> int | None:
    value = reader.obj.get(key)
    if value is None:
        if default is None:
            reader.report(key, "required", f"{key} is required in dp mode", f'write "{key}": "1"')
        return default
    try:
        return micro_epsilon(value, largest=LARGEST_BUDGET)
    except EpsilonRejected as wrong:
        reader.report(key, wrong.code, str(wrong), 'write a decimal text such as "1.5"')
        return None


def _delta(reader: Reader, capacity: int) -> int | None:
    """Units of 10^-18; None without delta. Who may fail one patient in a table of n fails somebody at 1 / n."""
    value = reader.obj.get("delta")
    if value is None:
        return None
    try:
        delta = atto_delta(value)
    except DeltaRejected as wrong:
        reader.report("delta", wrong.code, str(wrong), 'write a decimal text such as "1e-6", or leave it out')
        return None
    if delta * capacity >= ATTO:
        reader.report(
            "delta",
            "delta_too_large",
            f"delta {delta_text(delta)} is not below one in {capacity}, the capacity: somebody's row might be shown",
            f'write "{delta_text(max(10**8, 10 ** (len(str(ATTO // capacity)) - 2)))}" or less',
        )
        return None
    return delta


def _words(
    reader: Reader, key: str, default: list[str], known: tuple[str, ...], aliases: Mapping[str, str]
) -> list[str]:
    entries = reader.listed(key, 100)
    if entries is None:
        return default
    found = set()
    for entry in entries:
        word = aliases.get(entry, entry) if isinstance(entry, str) else entry
        if word in known:
            found.add(str(word))
        else:
            near = nearest(str(entry)[:100], known)
            remedy = f"write {near[0]}" if near else f"known are {', '.join(known)}"
            reader.report(key, "unknown_choice", f"{str(entry)[:100]} is not known here", remedy)
    return ["*"] if "*" in found else sorted(found)


def _expires(reader: Reader) -> str:
    value = reader.text("expires", needed=True)
    try:
        return date.fromisoformat(value).isoformat() if value else ""
    except ValueError:
        reader.report("expires", "not_a_date", "expires is a day", 'write it as "2030-01-31"')
        return ""


def _warnings(fields: list[Field]) -> list[Problem]:
    found: list[Problem] = []
    flags = {item.name for item in fields if item.occurred is not None}
    for item in fields:
        inner = Reader({}, f"fields.{item.name}", found)
        if item.kind == "number" and 4 * 2**item.bits > 5 * item.codes:
            inner.report(
                "resolution",
                "unused_codes",
                f"{item.codes} codes are declared, {item.bits} bits hold {2**item.bits}: noise grows with the bits",
                "choose bounds and resolution so that the codes come close to a power of two",
            )
        if item.role == "time" and item.event is None:
            inner.report("event", "no_event", "a time without its flag is never censored", 'write "event"')
        if item.role == "event" and item.occurred is None:
            inner.report(
                "occurred", "no_occurred", "no level is named that means the event", 'write "occurred"'
            )
        if item.event is not None and item.event not in flags:
            inner.report(
                "event",
                "no_occurred",
                f"{item.event} names no level that means the event",
                'write "occurred" there',
            )
    return found


def _exact(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise _rejected("too_deep", f"a codebook is nested at most {DEEPEST} deep", "flatten it")
    if isinstance(value, (float, Decimal)):
        number = as_number(repr(value) if isinstance(value, float) else str(value))
        if number is None:
            raise _rejected(
                "not_a_number", "a number has no finite decimal text of up to 20 digits", "correct it"
            )
        return decimal_text(number)
    if isinstance(value, Mapping):
        return {str(key): _exact(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item, depth + 1) for item in value]
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for n, (key, _) in enumerate(pairs) if key in [other for other, _ in pairs[:n]])
        raise ValueError(f"the key {twice[:100]} stands twice in one object")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _rejected(rule: str, message: str, remedy: str) -> CodebookRejected:
    return CodebookRejected([{"where": "codebook", "rule": rule, "message": message, "remedy": remedy}])
