"""The levels of a category as people write them: by label or value, exactly or in normal form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from analytics.query.columns import Field
from analytics.query.errors import ProgramRejected, nearest
from analytics.query.tree import Name, as_number, normal_form


def level_code(field: Field, level: Name) -> int:
    """The code of a level of a category. Raises ProgramRejected: unknown_level, ambiguous_level."""
    codes = matching(field, level.text)
    if not codes:
        raise ProgramRejected(
            "unknown_level",
            f"{field.name} has no level {level.text}; it has {some([x.label for x in field.levels])}",
            at=level.at,
            suggestions=nearest(level.text, texts([field]), normal_form),
        )
    if len(codes) > 1:
        raise ProgramRejected(
            "ambiguous_level",
            f"{level.text} may be several levels of {field.name}: write one exactly",
            at=level.at,
            suggestions=[field.levels[code].label for code in codes],
        )
    return codes[0]


def matching(field: Field, text: str) -> list[int]:
    """Codes that a text may mean: exactly a label or value, else in normal form, else as an equal number."""
    exactly = [code for code, level in enumerate(field.levels) if text in (level.label, level.value)]
    if exactly:
        return exactly
    form = normal_form(text)
    alike = [
        code
        for code, level in enumerate(field.levels)
        if form and form in (normal_form(level.label), normal_form(level.value))
    ]
    number = as_number(text)
    if number is None:
        return alike
    # -1 and 1 share a normal form: a text that spells a number means the level that spells the same one.
    return [
        code
        for code, level in enumerate(field.levels)
        if number in (as_number(level.value), as_number(level.label))
    ]


def texts(fields: Iterable[Field]) -> list[str]:
    """Every label and value of some categories, each once."""
    return list(
        dict.fromkeys(text for f in fields for level in f.levels for text in (level.label, level.value))
    )


def some(names: Sequence[str]) -> str:
    """A list for a message, of bounded length."""
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
