"""A real trial's shape: the GIST files beside the project, uploaded as they are and asked in exact mode.

The figures are those written beside the data, computed there in clear by other programs. Small cells are real here
(nine deaths in the northeast), so the policy's minimum cohort is 1.
"""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pandas as pd
import pytest

from tests.end_to_end.running import ROOT

BACKGROUND = ROOT.parent / "shared"
GIST = BACKGROUND / "data/gist"
pytestmark = [
    pytest.mark.background,
    pytest.mark.skipif(
        not GIST.is_dir(), reason="the background folder with the GIST files is not beside the project"
    ),
]

FOUR_LINES = """average("time_till_death", "northeast")
average("time_since_diagnosis", "northeast")
std("time_since_diagnosis", "northeast")
correlate("region", "death flag")
"""
NONE = ["", "NA"]


def levels(**labels):
    return [{"value": value.removeprefix("v"), "label": label} for value, label in labels.items()]


def codebook(mode: str) -> dict:
    return {
        "title": f"GIST, synthetic patients ({mode})",
        "primaryKey": "MASK_ID",
        "capacity": 1024,
        "fields": [
            {"name": "region", "type": "string", "source": "REGION_C", "recodes": {"5": "Canada"},
             "categories": [{"value": name} for name in ("West", "Midwest", "South", "Northeast", "Canada")]},
            {"name": "death_flag", "type": "string", "source": "DTH_C", "recodes": {"99": "0"}, "role": "event",
             "occurred": "1", "categories": levels(v0="alive or not known", v1="dead")},
            {"name": "time_till_death", "type": "number", "unit": "months", "source": "FUTIME_N", "where": "DTH_C = 1",
             "constraints": {"minimum": 0, "maximum": 65.535}, "resolution": 0.001, "missingValues": NONE},
            {"name": "follow_up", "type": "number", "unit": "months", "source": "FUTIME_N", "missingValues": NONE,
             "constraints": {"minimum": 0, "maximum": 65.535}, "resolution": 0.001},
            {"name": "time_since_diagnosis", "type": "integer", "unit": "days", "source": "RESTIM_N",
             "constraints": {"minimum": 0, "maximum": 127}, "resolution": 1, "missingValues": NONE},
            {"name": "bmi", "type": "number", "unit": "kg/m2", "source": "BMI", "missingValues": [*NONE, "0"],
             "constraints": {"minimum": 10, "maximum": 91.91}, "resolution": 0.01},
            {"name": "arm", "type": "string", "source": "TRTN", "categories": levels(v1="imatinib", v2="placebo")},
            {"name": "itt", "type": "string", "source": "ITT", "categories": levels(v0="no", v1="yes")},
            {"name": "over_70", "type": "string", "source": "AGE_C", "categories": levels(v1="no", v2="yes")},
            {"name": "ecog", "type": "string", "source": "PERFST_C", "recodes": {"3": "2"}, "missingValues": NONE,
             "categories": levels(v1="fully active", v2="restricted")},
        ],
        "policy": {"epsilon": "20", "epsilon_per_query": "8", "minimum_cohort": 1, "modes": [mode],
                   "statistics": ["*"], "expires": "2035-01-01"},
    }  # fmt: skip


@pytest.fixture(scope="module")
def oracle():
    return json.loads((BACKGROUND / "oracle/gist.json").read_text())["values"]


@pytest.fixture(scope="module")
def rows():
    """The trial's rows with values as the codebook rounds them: half up, in decimal."""
    frame = pd.read_csv(GIST / "syn_a_ident.csv", dtype=str, keep_default_na=False)

    def rounded(text: str) -> float:
        return (
            float(Decimal(text).quantize(Decimal("0.01"), ROUND_HALF_UP))
            if text not in ("", "NA", "0")
            else np.nan
        )

    return pd.DataFrame(
        {
            "itt": frame["ITT"] == "1",
            "arm": frame["TRTN"].map({"1": "imatinib", "2": "placebo"}),
            "bmi": frame["BMI"].map(rounded),
            "follow_up": pd.to_numeric(frame["FUTIME_N"], errors="coerce"),
        }
    )


@pytest.fixture(scope="module")
def dataset(stack):
    return stack.upload("provider", codebook("exact"), GIST / "syn_a_ident.csv")


@pytest.fixture(scope="module")
def four(stack, dataset):
    answer = stack.ask(FOUR_LINES, [dataset], mode="exact")
    return [statement["groups"][0] for statement in answer["statements"]]


def test_the_four_lines_are_the_figures_written_beside_the_data(four):
    till_death, since, spread, table = four
    assert till_death["value"] == pytest.approx(11.531889, abs=5e-7) and till_death["n"] == 9
    assert since["value"] == pytest.approx(56.135417, abs=5e-7) and since["n"] == 192
    assert spread["value"] == pytest.approx(13.524552, abs=5e-7)
    assert table["chi2"] == pytest.approx(4.556986, abs=5e-7)
    assert table["df"] == 4
    assert table["p"] == pytest.approx(0.335844, abs=5e-7)
    assert table["value"] == table["cramers_v"] == pytest.approx(0.076780, abs=5e-7)
    assert sum(map(sum, table["table"]["counts"])) == 773


def test_statistics_by_arm_are_those_of_the_other_programs(stack, dataset, oracle, rows):
    program = """
    count() where itt = yes by arm
    average(bmi) where itt = yes by arm
    sd(bmi) where itt = yes by arm
    proportion(over_70, yes) where itt = yes by arm
    correlate(bmi, follow_up) where itt = yes
    correlate(arm, ecog) where itt = yes
    """
    answer = stack.ask(program, [dataset], mode="exact")
    counts, means, spreads, over, correlation, table = (s["groups"] for s in answer["statements"])
    names = {"imatinib": "1", "placebo": "0"}
    itt = rows[rows["itt"]]

    def of(groups, arm):
        return next(group for group in groups if group["by"]["arm"] == arm)

    for arm, code in names.items():
        clear = itt.loc[itt["arm"] == arm, "bmi"].dropna()
        assert of(counts, arm)["value"] == oracle["Q1_arm_counts"][code]
        n, mean, sd = oracle["Q2_bmi"][f"arm{code}"]
        assert of(means, arm)["n"] == n == len(clear)
        assert of(means, arm)["value"] == pytest.approx(clear.mean(), rel=1e-11)
        assert of(means, arm)["value"] == pytest.approx(mean, abs=5e-3)
        assert of(spreads, arm)["value"] == pytest.approx(clear.std(), rel=1e-11)
        assert of(spreads, arm)["value"] == pytest.approx(sd, abs=5e-3)
        hits, patients = oracle["Q4_gt70"][f"arm{code}"][:2]
        assert of(over, arm)["value"] == pytest.approx(hits / patients, rel=1e-11)
    both = itt[["bmi", "follow_up"]].dropna()
    assert correlation[0]["n"] == len(both) == oracle["Q7_corr"]["n"]
    assert correlation[0]["value"] == pytest.approx(
        np.corrcoef(both["bmi"], both["follow_up"])[0, 1], rel=1e-9
    )
    assert correlation[0]["value"] == pytest.approx(oracle["Q7_corr"]["pearson"][0], abs=1e-4)
    assert table[0]["chi2"] == pytest.approx(oracle["Q5_arm_x_ps1"]["chi2"], rel=1e-9)
    assert table[0]["p"] == pytest.approx(oracle["Q5_arm_x_ps1"]["p"], rel=1e-9)


def test_with_noise_large_cohorts_are_within_their_intervals(stack, oracle):
    dataset = stack.upload("provider", codebook("dp"), GIST / "syn_a_ident.csv")
    program = (
        "count() where itt = yes\naverage(bmi) where itt = yes\nproportion(over_70, yes) where itt = yes"
    )
    answer = stack.ask(program, [dataset], epsilon="6")
    patients = oracle["n"]
    over = sum(oracle["Q4_gt70"][arm][0] for arm in ("arm0", "arm1")) / patients
    truth = [patients, oracle["Q2_bmi"]["all"][1], over]
    for statement, wanted in zip(answer["statements"], truth, strict=True):
        group = statement["groups"][0]
        half = (group["high"] - group["low"]) / 2
        # 95 % intervals miss now and then; three times as wide they do not.
        assert group["low"] - 2 * half <= wanted <= group["high"] + 2 * half, statement["text"]


def test_the_traps_of_the_files_are_reported_and_not_averaged(tmp_path):
    from tests.end_to_end.running import run

    book = codebook("exact")
    book["fields"][5]["missingValues"] = ["", "NA"]
    path = tmp_path / "book.json"
    path.write_text(json.dumps(book))
    done = run(["-m", "providers", "check", "--json", "--codebook", str(path), str(GIST / "syn_a_ident.csv")])
    assert done.returncode == 1
    problems = json.loads(done.stdout)
    assert {problem["column"] for problem in problems if problem["rule"]} >= {"BMI"}
    assert all(problem["remedy"] for problem in problems)
    assert sum(problem["column"] == "BMI" for problem in problems) >= 1
