"""Box plots from released quantiles: box, median, whiskers. No point is drawn: a point would be a patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from portal.web.charts.style import SERIES, Chart, group_name, spec, told, withheld

ROW = 46


def boxes(groups: Sequence[Mapping[str, Any]], *, title: str, axis: str) -> Chart:
    rows = []
    for group in groups:
        at = {q["p"]: q for q in group.get("quantiles") or ()}
        rows.append(
            {
                "name": group_name(group),
                "value": group.get("value"),
                "low": group.get("low"),
                "high": group.get("high"),
                "q1": at.get(0.25, {}).get("value"),
                "q3": at.get(0.75, {}).get("value"),
                "whisker_low": group.get("whisker_low"),
                "whisker_high": group.get("whisker_high"),
                "withheld": bool(withheld(group)),
                "note": withheld(group) and f"withheld: {withheld(group)}",
            }
        )
    words = f"{title}: " + "; ".join(
        f"{row['name']} {row['note']}"
        if row["withheld"]
        else f"{row['name']} median {told(row['value'])}, quartiles {told(row['q1'])} and {told(row['q3'])}"
        for row in rows
    )
    y = {"field": "name", "type": "nominal", "sort": [row["name"] for row in rows], "title": None}

    def x(field: str) -> dict[str, Any]:
        return {"field": field, "type": "quantitative", "title": axis, "scale": {"zero": False}}

    there = [{"filter": "!datum.withheld"}]
    tooltip = [{"field": key, "type": "quantitative"} for key in ("whisker_low", "q1", "value", "q3", "whisker_high")]  # fmt: skip
    layers = [
        {"transform": there, "mark": {"type": "rule", "strokeWidth": 1.5},
         "encoding": {"y": y, "x": x("whisker_low"), "x2": {"field": "whisker_high"}}},
        {"transform": there, "mark": {"type": "bar", "height": {"band": 0.6}, "color": SERIES[0]},
         "encoding": {"y": y, "x": x("q1"), "x2": {"field": "q3"}, "tooltip": tooltip}},
        {"transform": there, "mark": {"type": "tick", "thickness": 3, "height": {"band": 0.6}, "color": "#ffffff"},
         "encoding": {"y": y, "x": x("value")}},
        {"transform": [{"filter": "datum.withheld"}],
         "mark": {"type": "text", "align": "left", "dx": 6, "fontStyle": "italic"},
         "encoding": {"y": y, "x": {"value": 0}, "text": {"value": "withheld"}}},
    ]  # fmt: skip
    return Chart(title=title, words=words + ".", spec=spec(rows, words, height={"step": ROW}, layer=layers))
