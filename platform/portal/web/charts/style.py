"""What every picture has in common: colours that stand out of a light and of a dark page, sizes, and words for groups.

A specification names the colours of its series; those of ink and lines come with the theme of the reader's page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# At least 3 to 1 against both cards, #ffffff and #19222b (WCAG 2.2, 1.4.11); told apart by shape and label too.
SERIES = ("#3a86c2", "#c8641c", "#2f9468", "#a65fc0", "#8a7f1c", "#cc5178", "#6d83a8", "#968070")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [10, 4], [1, 3], [12, 2])
CARDS = {"light": "#ffffff", "dark": "#19222b"}
INKS = {"light": ("#17222c", "#c9d2da"), "dark": ("#e4ebf1", "#35424e")}
LONGEST = 60  # characters of a label


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One picture: what it is called, what it shows in a sentence, and its specification."""

    title: str
    words: str
    spec: Spec

    def public(self) -> dict[str, Any]:
        return {"title": self.title, "words": self.words, "spec": self.spec}


def theme(name: str) -> Spec:
    """The `config` of a light or a dark page."""
    ink, line = INKS[name]
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "labelLimit": 260}
    return {
        "background": None,
        "font": 'system-ui, "Segoe UI", Roboto, sans-serif',
        "view": {"stroke": line},
        "axis": {**text, "gridColor": line, "domainColor": line, "tickColor": line},
        "legend": text,
        "header": text,
        "text": {"color": ink},
        "rule": {"color": ink},
        "title": {"color": ink, "subtitleColor": ink},
    }


def themes() -> dict[str, Spec]:
    return {name: theme(name) for name in CARDS}


def spec(rows: Sequence[Mapping[str, Any]], words: str, **more: Any) -> Spec:
    """The outside of every specification; `rows` are its only data."""
    return {
        "$schema": SCHEMA,
        "description": words,
        "data": {"values": [dict(row) for row in rows]},
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        **more,
    }


def colour(field: str, domain: Sequence[str], title: str | None = None) -> dict[str, Any]:
    """A colour for each of a few names; a legend only where there are two or more."""
    legend = {"title": title, "orient": "top", "columns": 2} if len(domain) > 1 else None
    return {
        "field": field,
        "type": "nominal",
        "scale": {"domain": list(domain), "range": [SERIES[k % len(SERIES)] for k in range(len(domain))]},
        "legend": legend,
    }


def group_name(group: Mapping[str, Any]) -> str:
    return short(", ".join(map(str, group.get("by", {}).values())) or "all")


def short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def told(value: Any) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def withheld(row: Mapping[str, Any]) -> str:
    """Why there is no figure, or nothing where there is one."""
    return "" if row.get("value") is not None else str(row.get("reason") or "no figure")
