"""Dates, numbers, durations and states in one format on every page."""

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.budgets.actions import decimal_text

register = template.Library()

# How a state is coloured; its word says the same.
TONES = {
    "good": {"RELEASED", "READY", "ok", "accepted"},
    "busy": {"RUNNING", "APPROVED", "RECEIVING"},
    "waiting": {"SUBMITTED", "UPLOADING", "CHECKING", "degraded", "draft"},
    "bad": {"REFUSED", "ABORTED", "REJECTED", "silent", "never seen"},
}
_TONE = {state: tone for tone, states in TONES.items() for state in states}


@register.filter
def when(moment: datetime | None) -> SafeString | str:
    """ "24 Nov 2026, 16:20 UTC", readable by machines too; nothing for no moment."""
    if moment is None:
        return ""
    utc = timezone.localtime(moment, timezone.get_fixed_timezone(0))
    return format_html(
        '<time datetime="{}">{}</time>',
        utc.isoformat(timespec="seconds"),
        f"{utc.day} {utc:%b %Y, %H:%M} UTC",
    )


@register.filter
def duration(seconds: float | None) -> str:
    """Such as "0.3 s", "4 min 5 s", "2 h 10 min", "3 d 4 h"."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, lesser, small in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {lesser}" if rest else "")
    return f"{whole} s"


@register.filter
def number(value: Any, digits: int = 4) -> str:
    """Whole numbers with thin groups of three, others with so many significant digits; "-" for none."""
    if value is None or value == "":
        return "-"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    return f"{float(value):.{digits}g}"


@register.filter
def epsilon(text: Any) -> str:
    """A decimal of six places without the zeros at its end: "1.500000" is "1.5"; a delta after it stays as it is."""
    first, space, rest = f"{text}".partition(" ")
    return (first.rstrip("0").rstrip(".") if "." in first else first) + space + rest


@register.filter
def micro(count: int) -> str:
    """Millionths of epsilon as decimal text."""
    return decimal_text(count)


@register.filter
def bytes_text(count: int | None) -> str:
    """Such as "3.4 MB"; powers of ten."""
    if count is None:
        return "-"
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


@register.simple_tag
def badge(state: str) -> SafeString:
    """A state as a coloured word."""
    return format_html('<span class="badge {}">{}</span>', _TONE.get(state, "plain"), f"{state}".lower())
