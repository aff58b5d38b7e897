"""Curves over time as steps with bands, and under them how many are still at risk.

The band is the interval of sampling and noise together. Points that are withheld are missing from the curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from portal.web.charts.style import DASHES, Chart, Spec, colour, group_name, spec, told

NAMES = {
    "survival": "alive",
    "cumulative_incidence": "had the event",
    "cumulative_hazard": "cumulative hazard",
}
HEIGHT, ROW = 280, 22
MOST_TIMES = 7  # numbers at risk under a curve


def curves(groups: Sequence[Mapping[str, Any]], *, title: str, measure: str, unit: str) -> Chart:
    """One curve a group, from its `curve`; `measure` is the key of the height."""
    names = [group_name(group) for group in groups]
    start = {"survival": 1.0}.get(measure, 0.0)
    rows: list[dict[str, Any]] = []
    for name, group in zip(names, groups, strict=True):
        points = [point for point in group.get("curve") or () if point.get(measure) is not None]
        if points:
            first = {"time": 0.0, "value": start, "low": start, "high": start}
            rows.append({"group": name, "at_risk": points[0]["at_risk"], **first})
        rows += [
            {
                "group": name,
                "time": point["time"],
                "value": point[measure],
                "low": point.get("low"),
                "high": point.get("high"),
                "at_risk": point["at_risk"],
            }
            for point in points
        ]
    words = f"{title}: " + "; ".join(_ends(name, rows) for name in names) + "."
    time = {"field": "time", "type": "quantitative", "title": f"time{f' ({unit})' if unit else ''}"}
    height: Spec = {
        "field": "value",
        "type": "quantitative",
        "title": NAMES.get(measure, measure),
        "scale": {"zero": True} if measure == "cumulative_hazard" else {"domain": [0, 1]},
    }
    shade = colour("group", names)
    dash = {
        "field": "group",
        "type": "nominal",
        "scale": {"domain": names, "range": [DASHES[k % len(DASHES)] for k in range(len(names))]},
        "legend": shade["legend"],
    }
    tooltip = [{"field": "group", "type": "nominal"}] + [
        {"field": key, "type": "quantitative", "format": ".4"} for key in ("time", "value", "low", "high")
    ]
    steps = {"interpolate": "step-after"}
    above: Spec = {
        "width": "container",
        "height": HEIGHT,
        "layer": [
            {
                "mark": {"type": "area", "opacity": 0.2, **steps},
                "encoding": {
                    "x": time,
                    "y": {**height, "field": "low"},
                    "y2": {"field": "high"},
                    "color": shade,
                },
            },
            {
                "mark": {"type": "line", "strokeWidth": 2, **steps},
                "encoding": {"x": time, "y": height, "color": shade, "strokeDash": dash},
            },
            {
                "mark": {"type": "point", "filled": True, "opacity": 0, "size": 60},
                "encoding": {"x": time, "y": height, "color": shade, "tooltip": tooltip},
            },
        ],
    }
    below: Spec = {
        "width": "container",
        "height": {"step": ROW},
        "data": {"values": _at_risk(names, rows)},
        "mark": {"type": "text", "fontSize": 11},
        "encoding": {
            "x": {**time, "axis": None},
            "y": {
                "field": "group",
                "type": "nominal",
                "sort": names,
                "title": None,
                "axis": {"ticks": False, "domain": False, "offset": 18},
            },
            "text": {"field": "at_risk", "type": "quantitative", "format": ",d"},
        },
        "title": {"text": "at risk", "anchor": "start", "fontSize": 12, "fontWeight": "normal"},
    }
    whole = spec(rows, words, vconcat=[above, below], spacing=6, resolve={"scale": {"x": "shared"}})
    del whole["width"], whole["autosize"]  # of a concatenation each part has its own
    return Chart(title=title, words=words, spec=whole)


def _at_risk(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for name in names:
        own = [row for row in rows if row["group"] == name]
        every = max(1, -(-len(own) // MOST_TIMES))
        found += [{"group": name, "time": row["time"], "at_risk": row["at_risk"]} for row in own[::every]]
    return found


def _ends(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    own = [row for row in rows if row["group"] == name]
    if not own:
        return f"{name} is withheld"
    last = own[-1]
    told_of = f"({told(last['low'])} to {told(last['high'])})"
    return f"{name} is at {told(last['value'])} {told_of} after {told(last['time'])}, from {own[0]['at_risk']} at risk"
