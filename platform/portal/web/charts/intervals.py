"""Values with their intervals, a line each: bars for what counts patients, points for everything else, and forests.

A row without a value keeps its place and says "withheld": a gap would look like nothing was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from portal.web.charts.style import SERIES, Chart, Spec, short, spec, told, withheld

ROW = 30  # pixels of a line


def intervals(
    rows: Sequence[Mapping[str, Any]], *, title: str, axis: str, bars: bool, none_at: float | None, log: bool
) -> Chart:
    """Rows of name, value, low, high, reason.

    none_at  where "no difference" stands: a dashed line; log: a logarithmic axis, for ratios.
    """
    shown = [
        {
            "name": row["name"],
            "value": row.get("value"),
            "low": row.get("low"),
            "high": row.get("high"),
            "withheld": bool(withheld(row)),
            "note": withheld(row) and f"withheld: {withheld(row)}",
        }
        for row in rows
    ]
    log = log and all(row["low"] is None or row["low"] > 0 for row in shown)
    words = f"{title}: " + "; ".join(
        f"{row['name']} {row['note']}"
        if row["withheld"]
        else f"{row['name']} {told(row['value'])} ({told(row['low'])} to {told(row['high'])})"
        for row in shown[:12]
    )
    order = [row["name"] for row in shown]
    y = {"field": "name", "type": "nominal", "sort": order, "title": None}
    scale: Spec = {"type": "log"} if log else {"zero": bars}
    x = {"field": "value", "type": "quantitative", "title": axis, "scale": scale, "axis": {"tickCount": 8}}
    tooltip = [{"field": key, "type": "nominal"} for key in ("name", "note")] + [
        {"field": key, "type": "quantitative", "format": ".4"} for key in ("value", "low", "high")
    ]
    there = {"filter": "!datum.withheld"}
    mark = {"type": "bar", "color": SERIES[0], "height": {"band": 0.6}} if bars else {
        "type": "point", "filled": True, "size": 140, "color": SERIES[1], "shape": "diamond",
    }  # fmt: skip
    layers: list[Spec] = [
        {"transform": [there], "mark": mark, "encoding": {"y": y, "x": x, "tooltip": tooltip}},
        {
            "transform": [{"filter": "!datum.withheld && isValid(datum.low) && isValid(datum.high)"}],
            "mark": {"type": "errorbar", "ticks": True, "thickness": 2},
            "encoding": {
                "y": y,
                "x": {"field": "low", "type": "quantitative", "title": axis, "scale": scale},
                "x2": {"field": "high"},
            },
        },
        {
            "transform": [{"filter": "datum.withheld"}],
            "mark": {"type": "text", "align": "left", "dx": 6, "fontStyle": "italic"},
            "encoding": {"y": y, "x": {"value": 0}, "text": {"value": "withheld"}, "tooltip": tooltip},
        },
    ]
    if none_at is not None:
        layers.insert(0, {"mark": {"type": "rule", "strokeDash": [4, 4]}, "encoding": {"x": {"datum": none_at, "type": "quantitative", "scale": scale}}})  # fmt: skip
    return Chart(
        title=title,
        words=short_words(words, len(shown)),
        spec=spec(shown, words, height={"step": ROW}, layer=layers),
    )


def short_words(words: str, rows: int) -> str:
    return words + (f"; and {rows - 12} more, in the table" if rows > 12 else "") + "."


def bins(rows: Sequence[Mapping[str, Any]], *, title: str, axis: str) -> Chart:
    """A histogram: patients in each cell of a grid, or at each level, with intervals."""
    named = [
        {
            "name": short(str(row["level"]))
            if "level" in row
            else f"{told(row['from'])} to {told(row['to'])}",
            "value": row.get("n"),
            "low": row.get("low"),
            "high": row.get("high"),
            "reason": row.get("reason") or "fewer than the minimum cohort",
        }
        for row in rows
    ]
    return intervals(named, title=title, axis=axis, bars=True, none_at=None, log=False)
