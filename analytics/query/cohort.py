"""From a predicate of the language to a cohort over codes, exactly.

A number column's rows hold lattice values minimum + k * resolution. A comparison with any decimal, on the
lattice or not, in range or not, negative or not, becomes a comparison of k with one public integer: with
q = (value - minimum) / resolution as a fraction, x < value is k < ceil(q), x <= value is k < floor(q) + 1, and
x == value holds only where q is one of the codes. A missing value makes every comparison false.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from analytics.query.columns import Field
from analytics.query.errors import ProgramRejected
from analytics.query.levels import level_code
from analytics.query.model import Cohort
from analytics.query.resolve import Catalogue
from analytics.query.tree import Among, And, Compare, Leaf, Missing, Name, Not, Or, Predicate, decimal_text

EVERYONE: Cohort = ("all",)


def both(*parts: Cohort) -> Cohort:
    """The intersection: flat, each part once, in order."""
    flat: list[Cohort] = []
    for part in parts:
        flat += [inner for inner in (part[1:] if part[0] == "and" else (part,)) if inner != EVERYONE]
    flat = list(dict.fromkeys(flat))
    if not flat:
        return EVERYONE
    return flat[0] if len(flat) == 1 else ("and", *flat)


def present(field: Field) -> Cohort:
    return ("present", field.name)


def among(field: Field, codes: set[int]) -> Cohort:
    """Rows where the field is present and one of the codes (none at all if there are no codes)."""
    return both(present(field), ("in", field.name, tuple(sorted(codes))))


def compile_predicate(predicate: Predicate, catalogue: Catalogue) -> tuple[Cohort, Predicate]:
    """The cohort, and the predicate again with the codebook's own names, labels and plain numbers.

    Raises  ProgramRejected: unknown_column, unknown_level, ambiguous_level, wrong_type, datasets_differ.
    """
    if isinstance(predicate, Not):
        cohort, said = compile_predicate(predicate.part, catalogue)
        return ("not", cohort), Not(said)
    if isinstance(predicate, (And, Or)):
        done = [compile_predicate(part, catalogue) for part in predicate.parts]
        cohorts = [cohort for cohort, _ in done]
        if isinstance(predicate, And):
            return both(*cohorts), conjunction([said for _, said in done])
        return ("or", *cohorts), Or(tuple(said for _, said in done))
    return _leaf(predicate, catalogue)


def conjunction(parts: list[Predicate]) -> Predicate:
    """`and` over parts, nested ones merged, one part as itself."""
    flat: list[Predicate] = []
    for part in parts:
        flat += part.parts if isinstance(part, And) else (part,)
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def _leaf(leaf: Leaf, catalogue: Catalogue) -> tuple[Cohort, Predicate]:
    field = catalogue.column(leaf.name)
    name = Name(field.name)
    if isinstance(leaf, Missing):
        there = present(field)
        return (there if leaf.negated else ("not", there)), Missing(name, leaf.negated)
    if isinstance(leaf, Among):
        found = {_point(field, value, catalogue) for value in leaf.values}
        codes = {code for code, _ in found if code is not None}
        cohort = (
            both(present(field), ("not", ("in", field.name, tuple(sorted(codes)))))
            if leaf.negated
            else among(field, codes)
        )
        said = [text for _, text in sorted(found, key=lambda pair: _order(field, *pair))]
        return cohort, Among(name, tuple(map(Name, said)), leaf.negated)
    if leaf.operator in ("==", "!="):
        code, text = _point(field, leaf.value, catalogue)
        codes = set() if code is None else {code}
        cohort = among(field, codes)
        if leaf.operator == "!=":
            cohort = (
                both(present(field), ("not", ("in", field.name, tuple(codes)))) if codes else present(field)
            )
        return cohort, Compare(name, leaf.operator, Name(text))
    return _ordered(field, leaf)


def _point(field: Field, value: Name, catalogue: Catalogue) -> tuple[int | None, str]:
    """The code that equals a value, None if no row can, and the value's canonical text."""
    if field.kind == "category":
        code = level_code(field, value)
        return code, field.levels[code].label
    number = _number(field, value)
    q = _position(field, number)
    on_lattice = q.denominator == 1 and 0 <= q < field.codes
    return (int(q) if on_lattice else None), decimal_text(number)


def _ordered(field: Field, leaf: Compare) -> tuple[Cohort, Predicate]:
    if field.kind == "category":
        raise ProgramRejected(
            "wrong_type",
            f"{field.name} is a category without an order: compare it with ==, != or in",
            at=leaf.name.at,
        )
    number = _number(field, leaf.value)
    q = _position(field, number)
    below = ceil(q) if leaf.operator in ("<", ">=") else floor(q) + 1  # rows with code < below
    said = Compare(Name(field.name), leaf.operator, Name(decimal_text(number)))
    wanted_below = leaf.operator in ("<", "<=")
    if below <= 0 or below >= field.codes:
        everyone = (below >= field.codes) == wanted_below
        return (present(field) if everyone else among(field, set())), said
    less: Cohort = ("less", field.name, below)
    return both(present(field), less if wanted_below else ("not", less)), said


def _position(field: Field, number: Decimal) -> Fraction:
    minimum, _, resolution = field.lattice
    return (Fraction(number) - minimum) / resolution


def _number(field: Field, value: Name) -> Decimal:
    number = value.number
    if number is None:
        raise ProgramRejected(
            "wrong_type",
            f"{field.name} is a number{f' in {field.unit}' if field.unit else ''}: {value.text} is none",
            at=value.at,
        )
    return number


def _order(field: Field, code: int | None, text: str) -> tuple[Decimal, str]:
    return Decimal(code or 0) if field.kind == "category" else Decimal(text), text
