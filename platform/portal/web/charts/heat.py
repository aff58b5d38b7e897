"""Tables of numbers as heat maps: counts of a contingency table, a matrix of correlations. Each cell shows its number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portal.web.charts.style import Chart, short, spec

ROW = 38
WIDEST = 12  # characters of a label that stands level on a phone
PLAIN = ("#dcebf5", "#3a86c2")  # with dark figures on both ends
AROUND = ("#e0935a", "#f4f1ee", "#5a9fd4")
FIGURE = "#17222c"


def heat(
    rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[Any]], *, title: str, signed: bool
) -> Chart:
    """`signed`: numbers from -1 to 1, coloured around 0. A cell of None is withheld."""
    cells = [
        {
            "row": short(str(row)),
            "column": short(str(column)),
            "value": value,
            "withheld": value is None,
            "text": "withheld" if value is None else f"{value:.2f}" if signed else f"{value:,}",
        }
        for row, line in zip(rows, values, strict=True)
        for column, value in zip(columns, line, strict=True)
    ]
    words = f"{title}: " + "; ".join(f"{c['row']}, {c['column']}: {c['text']}" for c in cells[:12])
    words += f"; and {len(cells) - 12} more, in the table." if len(cells) > 12 else "."
    angle = -30 if max(len(cell["column"]) for cell in cells) > WIDEST else 0
    x = {"field": "column", "type": "nominal", "sort": [short(str(c)) for c in columns], "title": None,
         "axis": {"labelAngle": angle, "orient": "top", "labelLimit": 110}}  # fmt: skip
    y = {"field": "row", "type": "nominal", "sort": [short(str(r)) for r in rows], "title": None}
    scale = {"domain": [-1, 0, 1], "range": list(AROUND)} if signed else {"range": list(PLAIN)}
    layers = [
        {"transform": [{"filter": "!datum.withheld"}], "mark": {"type": "rect"},
         "encoding": {"x": x, "y": y, "color": {"field": "value", "type": "quantitative", "scale": scale, "legend": None}}},
        {"transform": [{"filter": "!datum.withheld"}], "mark": {"type": "text", "color": FIGURE},
         "encoding": {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}}},
        {"transform": [{"filter": "datum.withheld"}], "mark": {"type": "text", "fontStyle": "italic"},
         "encoding": {"x": x, "y": y, "text": {"value": "withheld"}}},
    ]  # fmt: skip
    return Chart(title=title, words=words, spec=spec(cells, words, height={"step": ROW}, layer=layers))
