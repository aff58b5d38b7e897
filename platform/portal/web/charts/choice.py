"""Which pictures a statement gets: by the shape of its groups, so that a new statistic needs nothing here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from portal.web.charts.boxes import boxes
from portal.web.charts.heat import heat
from portal.web.charts.intervals import bins, intervals
from portal.web.charts.style import Chart, group_name, short
from portal.web.charts.survival import curves

RATIOS = {"risk_ratio", "odds_ratio", "mantel_haenszel", "rate_ratio", "cox"}
DIFFERENCES = {"difference", "risk_difference", "linear", "logistic", "correlate", "covariance"}
BARS = {"count", "proportion", "sum"}
MEASURES = ("survival", "cumulative_incidence", "cumulative_hazard")
MOST = 60  # rows of a picture


def charts(statement: Mapping[str, Any]) -> list[Chart]:
    """The pictures of one statement of a Result, most telling first; none where a number says it all."""
    groups: Sequence[Mapping[str, Any]] = statement.get("groups") or ()
    if not groups:
        return []
    text, unit = str(statement.get("text", "")), statement.get("unit") or ""
    axis = str(statement.get("statistic", "")).replace("_", " ") + (f" ({unit})" if unit else "")
    curve = next((point for group in groups for point in group.get("curve") or ()), None)
    if curve is not None:
        measure = next((key for key in MEASURES if key in curve), "survival")
        return [curves(groups, title=text, measure=measure, unit="")]
    if any("whisker_low" in group for group in groups):
        return [boxes(groups, title=text, axis=axis)]
    found = [chart for group in groups for chart in _of_group(statement, group)]
    if found:
        return found
    if any(_is_table(group.get("characteristics")) for group in groups):
        return []
    rows = [{"name": group_name(group), **group} for group in groups]
    if not any(row.get("low") is not None or row.get("reason") for row in rows):
        return []
    return [_intervals(statement, rows, text, axis)]


def _of_group(statement: Mapping[str, Any], group: Mapping[str, Any]) -> list[Chart]:
    title = f"{statement.get('text', '')}" + (f": {group_name(group)}" if group.get("by") else "")
    if group.get("bins"):
        return [bins(group["bins"][:MOST], title=title, axis="patients")]
    if group.get("matrix"):
        matrix = group["matrix"]
        return [heat(matrix["columns"], matrix["columns"], matrix["values"], title=title, signed=True)]
    if group.get("table"):
        table = group["table"]
        layers = group.get("layers") or [{"counts": table["counts"]}]
        return [
            heat(
                table["rows"],
                table["columns"],
                layer["counts"],
                title=title + (f", {layer['level']}" if "level" in layer else ""),
                signed=False,
            )
            for layer in layers
        ]
    for key, naming in (("coefficients", _term), ("comparisons", _pair), ("strata", _stratum)):
        rows = [{"name": naming(row), **_ratio(statement, row)} for row in group.get(key) or ()]
        rows = [row for row in rows if row["name"] != "intercept"]
        if not rows or (key == "comparisons" and len(rows) < 2):
            continue
        if key == "strata":
            rows.append({"name": "together", **group})
        return [_intervals(statement, rows[:MOST], title, _forest_axis(statement))]
    return []


def _intervals(statement: Mapping[str, Any], rows: Any, title: str, axis: str) -> Chart:
    name = statement.get("statistic")
    ratio = name in RATIOS or name == "logistic"
    return intervals(
        rows,
        title=title,
        axis=axis,
        bars=name in BARS,
        none_at=1.0 if ratio else 0.0 if name in DIFFERENCES else None,
        log=ratio,
    )


def _ratio(statement: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the figure that a forest shows: odds ratios of a logistic model, hazard ratios of Cox's."""
    if isinstance(row.get("odds_ratio"), Mapping):
        return {**row, **row["odds_ratio"]}
    return {**row, "value": row["hazard_ratio"]} if "hazard_ratio" in row else dict(row)


def _forest_axis(statement: Mapping[str, Any]) -> str:
    named = {"logistic": "odds ratio", "cox": "hazard ratio", "linear": "coefficient"}
    name = str(statement.get("statistic", ""))
    return named.get(name, name.replace("_", " "))


def _term(row: Mapping[str, Any]) -> str:
    term = str(row.get("term") or row.get("covariate") or "")
    against = row.get("against") or row.get("reference")
    level = f": {row['level']}" if row.get("level") else ""
    return short(f"{term}{level}" + (f" against {against}" if against else ""))


def _pair(row: Mapping[str, Any]) -> str:
    return short(f"{row.get('level', '')} against {row.get('against', '')}")


def _stratum(row: Mapping[str, Any]) -> str:
    stratum = row.get("stratum") or row.get("by") or {}
    return short(", ".join(map(str, stratum.values())) if isinstance(stratum, Mapping) else str(stratum))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value)
