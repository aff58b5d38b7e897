"""Survival figures of a real trial's shape, in monthly cells, beside those computed from its single days."""

import json

import numpy as np
import pandas as pd
import pytest

from analytics.query.plan import DatasetFacts, compile
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate
from analytics.statistics import figures
from tests.analytics.statistics.plans import CODEBOOK
from tests.end_to_end.running import ROOT

BACKGROUND = ROOT.parent / "shared"
GIST = BACKGROUND / "data/gist"
pytestmark = [
    pytest.mark.background,
    pytest.mark.skipif(
        not GIST.is_dir(), reason="the background folder with the GIST files is not beside the project"
    ),
]
SCHEMA = parse_codebook(
    {
        **CODEBOOK,
        "fields": [
            {
                "name": "days",
                "type": "integer",
                "unit": "days",
                "role": "time",
                "event": "recurrence",
                "constraints": {"minimum": 0, "maximum": 1675},
                # A cell ends on the day before its edge: the curve is told at 0, 90, 180 and 365 days.
                "grid": [1, 30, 61, 91, 122, 152, 181, 213, 244, 274, 304, 335, 366]
                + [round(30.4375 * k) for k in range(13, 54)],
            },
            {
                "name": "recurrence",
                "type": "string",
                "role": "event",
                "occurred": "1",
                "categories": ["0", "1"],
            },
            *(
                {"name": name, "type": "string", "categories": ["0", "1"]}
                for name in ("arm", "over_70", "ecog")
            ),
        ],
    }
)
PROGRAM = "survival(days, 90, 180, 365); survival(days, 90, 180, 365) by arm; logrank(days, arm); cox(days, arm, over_70, ecog)"


@pytest.fixture(scope="module")
def oracle():
    return json.loads((BACKGROUND / "oracle/gist.json").read_text())["values"]


@pytest.fixture(scope="module")
def answer():
    people = pd.read_csv(GIST / "syn_a_ident.csv", low_memory=False)
    ends = pd.read_csv(GIST / "syn_a_effsen.csv")
    ends = ends[ends["E_TEXT"].str.contains("CRF documented recurrence") & ends["E_TEXT"].str.contains("RFS")]
    frame = people[people["ITT"] == 1].merge(ends, on="MASK_ID", suffixes=("", "_end"))
    columns = {
        "days": frame["TT_EVENT"],
        "recurrence": frame["EVENT"],
        "arm": (frame["TRTN"] == 1),
        "over_70": (frame["AGE_C"].astype(str) == "2"),
        "ecog": frame["PERFST_C"].astype(str).str[0].isin(["2", "3"]),
    }
    every = np.ones(len(frame), dtype=bool)
    table = {name: (column.to_numpy().astype(int), every) for name, column in columns.items()}
    facts = [
        DatasetFacts(
            id="a" * 32,
            version=1,
            manifest_hash="b" * 64,
            capacity=1024,
            schema=SCHEMA,
            policy={"minimum_cohort": 1},
        )
    ]
    plan = compile(PROGRAM, facts, 10**6, "exact")
    return [statement["groups"] for statement in figures(plan, facts, evaluate(plan, facts, [table]))]


def test_survival_in_months_is_that_of_days_to_a_quarter_percent(answer, oracle):
    for group, name in zip([*answer[0], *answer[1]], ("all", "arm0", "arm1"), strict=True):
        known = oracle["Q8_km"][name]
        assert group["n"] == known["n"]
        assert [row["survival"] for row in group["at"]] == pytest.approx(
            [known["S90"], known["S180"], known["S365"]], abs=0.0025
        )
        assert [group["at"][2][end] for end in ("low", "high")] == pytest.approx(
            known["ci365_loglog"], abs=0.005
        )


def test_logrank_in_months_is_that_of_days(answer, oracle):
    chi2, p = oracle["Q9_logrank_efs"]
    assert answer[2][0]["chi2"] == pytest.approx(chi2, abs=0.2)
    assert answer[2][0]["p"] == pytest.approx(p, abs=0.02)


def test_cox_in_months_is_that_of_days(answer, oracle):
    for row, name in zip(answer[3][0]["coefficients"], ("arm", "gt70", "ps1"), strict=True):
        b, error, ratio, p = oracle["Q10_cox_efron"][name]
        assert [row["coefficient"], row["standard_error"]] == pytest.approx([b, error], abs=0.02)
        assert [row["hazard_ratio"], row["p"]] == pytest.approx([ratio, p], abs=0.03)
