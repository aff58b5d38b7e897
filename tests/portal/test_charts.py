"""Pictures as specifications: what they encode, what they say of what is withheld, colours that can be seen."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import lru_cache

import pytest

from analytics import twin
from analytics.query.plan import compile
from portal.web.analyst import example, noise
from portal.web.analyst.tables import csv_text, harmless, tables
from portal.web.charts import charts, style

PROGRAMS = [
    "count() by arm",
    "mean(age) by arm",
    "proportion(death_flag, dead) by region",
    "correlate(region, death_flag)",
    "histogram(age)",
    "boxplot(bmi) by arm",
    "quartiles(bmi) by arm",
    "table_one(age, bmi, sex, ecog) by arm",
    "correlations(age, bmi, tumour_size)",
    "linear(bmi, arm, age)",
    "logistic(death_flag, arm, ecog)",
    "risk_ratio(death_flag, arm)",
    "mantel_haenszel(death_flag, arm, region)",
    "survival(time_till_death) by arm",
    "cumulative_incidence(time_till_death) by arm",
    "cumulative_hazard(time_till_death)",
    "logrank(time_till_death, arm)",
    "cox(time_till_death, arm)",
    "crosstab(region, ecog)",
]
WITHHELD = "count() where age > 119 and bmi > 61 by ecog"


@lru_cache
def answered(program, epsilon="4"):
    plan = compile(program, [example.facts()], int(Decimal(epsilon) * 10**6), "dp")
    return twin.answer(plan, [example.facts()])["statements"][0]


def pieces(value):
    """Every object inside a specification."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from pieces(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pieces(inner)


def encoded(spec):
    return {piece["field"] for piece in pieces(spec) if isinstance(piece.get("field"), str)}


@pytest.mark.parametrize("program", [*PROGRAMS, WITHHELD])
def test_a_specification_is_json_whose_fields_are_in_its_data_and_that_says_what_it_shows(program):
    for chart in charts(answered(program)):
        spec = json.loads(json.dumps(chart.spec, allow_nan=False))
        assert spec["description"] and chart.title and chart.words.endswith(".")
        known = {key for piece in pieces(spec) if "values" in piece for row in piece["values"] for key in row}
        assert encoded(spec) <= known
        assert "signal" not in json.dumps(spec), "nothing to be evaluated but filters"


def test_bars_and_points_encode_the_value_and_both_ends_of_its_interval():
    for program in ("count() by arm", "mean(age) by arm", "risk_ratio(death_flag, arm)", "histogram(age)"):
        (chart,) = charts(answered(program))
        assert {"value", "low", "high", "name"} <= encoded(chart.spec)


def test_the_numbers_of_a_picture_are_those_of_the_answer():
    statement = answered("mean(age) by arm")
    (chart,) = charts(statement)
    assert [(row["value"], row["low"], row["high"]) for row in chart.spec["data"]["values"]] == [
        (group["value"], group["low"], group["high"]) for group in statement["groups"]
    ]


def test_what_is_withheld_keeps_its_row_and_says_why():
    statement = answered(WITHHELD, "1")
    assert all(group["suppressed"] for group in statement["groups"])
    (chart,) = charts(statement)
    rows = chart.spec["data"]["values"]
    assert len(rows) == 3 and all(row["withheld"] and "minimum cohort" in row["note"] for row in rows)
    assert any(piece.get("text") == {"value": "withheld"} for piece in pieces(chart.spec))
    assert "withheld" in chart.words
    (table,) = tables(statement, "dp")
    assert all("withheld" in row and any("minimum cohort" in cell for cell in row) for row in table.rows)


def test_numbers_at_risk_stand_under_a_survival_curve_which_begins_at_one():
    statement = answered("survival(time_till_death) by arm")
    (chart,) = charts(statement)
    above, below = chart.spec["vconcat"]
    rows = chart.spec["data"]["values"]
    assert [row["value"] for row in rows if row["time"] == 0] == [1.0, 1.0]
    assert {"low", "high", "value", "time"} <= encoded(above)
    assert below["mark"]["type"] == "text" and below["encoding"]["text"]["field"] == "at_risk"
    at_risk = {(row["group"], row["time"]): row["at_risk"] for row in below["data"]["values"]}
    assert at_risk["Placebo", 0] == statement["groups"][1]["curve"][0]["at_risk"]
    assert len({row["group"] for row in below["data"]["values"]}) == 2
    assert any(mark["mark"].get("interpolate") == "step-after" for mark in above["layer"])


def test_incidence_begins_at_nothing():
    (chart,) = charts(answered("cumulative_incidence(time_till_death) by arm"))
    assert {row["value"] for row in chart.spec["data"]["values"] if row["time"] == 0} == {0.0}


def test_a_box_has_quartiles_and_whiskers_and_no_patient():
    (chart,) = charts(answered("boxplot(bmi) by arm"))
    assert {"q1", "q3", "whisker_low", "whisker_high", "value"} <= encoded(chart.spec)
    assert not any(piece.get("type") == "point" for piece in pieces(chart.spec))


def test_a_forest_of_ratios_has_a_logarithmic_axis_and_a_line_at_one():
    (chart,) = charts(answered("logistic(death_flag, arm, ecog)"))
    assert all(row["name"] != "intercept" for row in chart.spec["data"]["values"])
    assert any(piece.get("type") == "log" for piece in pieces(chart.spec))
    assert any(piece.get("datum") == 1.0 for piece in pieces(chart.spec))
    (strata,) = charts(answered("mantel_haenszel(death_flag, arm, region)"))
    assert [row["name"] for row in strata.spec["data"]["values"]][-1] == "together"


def test_a_heat_map_writes_the_number_into_each_cell():
    statement = answered("crosstab(region, ecog)")
    (chart,) = charts(statement)
    table = statement["groups"][0]["table"]
    shown = [row["value"] for row in chart.spec["data"]["values"]]
    assert shown == [count for line in table["counts"] for count in line]
    (matrix,) = charts(answered("correlations(age, bmi, tumour_size)"))
    assert len(matrix.spec["data"]["values"]) == 9


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", style.CARDS)
def test_colours_stand_out_of_a_light_and_of_a_dark_page(name):
    assert all(contrast(colour, style.CARDS[name]) >= 3 for colour in style.SERIES)
    assert contrast(style.theme(name)["axis"]["labelColor"], style.CARDS[name]) >= 4.5


def test_figures_can_be_read_on_every_cell_of_a_heat_map():
    from portal.web.charts import heat

    assert all(contrast(heat.FIGURE, colour) >= 4.5 for colour in (*heat.PLAIN[:1], *heat.AROUND[1:2]))
    assert all(contrast(heat.FIGURE, colour) >= 4 for colour in (*heat.PLAIN, *heat.AROUND))


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_value_of_an_answer_is_in_its_tables(program):
    statement = answered(program)
    found = tables(statement, "dp")
    assert found and all(len(row) == len(table.head) for table in found for row in table.rows)
    for table in found:
        assert all(isinstance(cell, str) for row in table.rows for cell in row)


def test_the_csv_holds_every_number_and_no_formula():
    statement = answered("correlate(region, death_flag)")
    statement = {**statement, "text": "=HYPERLINK(1)"}
    text = csv_text({"statements": [statement]})
    assert f",{statement['groups'][0]['chi2']}," in text
    assert "'=HYPERLINK(1)" in text and ",=HYP" not in text
    assert harmless(-1.5) == -1.5 and harmless("@SUM(1)") == "'@SUM(1)"


def test_the_part_of_the_width_that_noise_makes_grows_as_epsilon_falls():
    parts = [
        noise.part_of_width(answered("mean(age) by arm", epsilon)["groups"][0])
        for epsilon in ("0.25", "1", "4")
    ]
    assert parts[0] > parts[1] > parts[2] > 0


def test_the_part_of_the_width_is_that_of_independent_errors():
    group = {"value": 0.0, "low": -5.0, "high": 5.0, "level": 0.95, "noise_scale": {"value": 4 / 1.959964}}
    assert noise.part_of_width(group) == pytest.approx(1 - 3 / 5, abs=1e-6)
    assert noise.part_of_width({**group, "low": None}) is None
    assert "rest from chance" in noise.words({"statistic": "mean", "groups": [group]}, "dp")
    assert "No noise" in noise.words({"statistic": "mean", "groups": [group]}, "exact")


def test_a_count_s_interval_is_of_noise_alone():
    assert "noise alone" in noise.words(answered("count() by arm"), "dp")
