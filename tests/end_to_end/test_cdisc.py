"""A trial's ADSL, ADTTE and ADAE as SAS transport files: uploaded with the template, asked, answered."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.samples.cdisc import TEMPLATES, per_patient, template, xport

SAFETY = """
count() where SAFFL = Y by TRT01A
proportion(AE_SERIOUS, yes) where SAFFL = Yes by TRT01A
average(AE_COUNT) where SAFFL = Y by TRT01A
correlate(TRT01A, AE_SEVERE) where SAFFL = Y
proportion(OS_EVENT, Death) where ITTFL = Y by TRT01P
average(OS) where OS_EVENT = Death
average(OS_MONTHS) where PFS_EVENT = "Progression or death"
"""


@pytest.fixture(scope="module")
def transport(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transport")
    for name in TEMPLATES["study"]:
        (folder / f"{name}.xpt").write_bytes(xport(name))
    return [folder / f"{name}.xpt" for name in TEMPLATES["study"]]


def book(**policy):
    made = template("study")
    return made | {"policy": made["policy"] | policy, "title": f"CDISC {policy}"}


def by_arm(statement):
    return {next(iter(group["by"].values())): group["value"] for group in statement["groups"]}


def test_a_question_of_each_table_is_answered_as_the_rows_say(stack, transport):
    dataset = stack.upload("provider", book(modes=["exact"], minimum_cohort=1), *transport)
    count, serious, events, table, died, days, months = stack.ask(SAFETY, [dataset], mode="exact")[
        "statements"
    ]
    truth = per_patient()
    arms = {"Placebo": "Placebo", "Active 50 mg": "Active"}
    for label, arm in arms.items():
        safe = truth[(truth["SAFFL"] == "Y") & (truth["TRT01A"] == arm)]
        meant = truth[(truth["ITTFL"] == "Y") & (truth["TRT01P"] == arm)]
        assert by_arm(count)[label] == len(safe)
        assert by_arm(serious)[label] == pytest.approx(safe["AE_SERIOUS"].mean())
        assert by_arm(events)[label] == pytest.approx(safe["AE_COUNT"].mean())
        assert by_arm(died)[label] == pytest.approx((meant["OS_CNSR"] == 0).mean())
    safe = truth[(truth["SAFFL"] == "Y") & truth["AE_WORST"].notna()]
    cells = Counter(zip(safe["TRT01A"], safe["AE_WORST"] >= 3, strict=True))
    found = table["groups"][0]["table"]
    assert found["columns"] == ["no", "yes"]
    assert [[cells[arms[row], flag] for flag in (False, True)] for row in found["rows"]] == found["counts"]
    assert days["groups"][0]["value"] == pytest.approx(truth["OS_DAYS"][truth["OS_CNSR"] == 0].mean())
    progressed = truth["OS_DAYS"][truth["PFS_CNSR"] == 0]
    assert months["groups"][0]["value"] == pytest.approx((progressed / 30.4375).mean(), abs=0.05)


def test_with_the_template_as_it_stands_the_answer_is_noised_and_near_the_truth(stack, transport):
    dataset = stack.upload("provider2", template("study"), *transport)
    program = "proportion(AE_SERIOUS, yes) where SAFFL = Y"
    group = stack.ask(program, [dataset], epsilon="1")["statements"][0]["groups"][0]
    truth = per_patient()
    wanted = truth["AE_SERIOUS"][truth["SAFFL"] == "Y"].mean()
    assert group["low"] <= group["value"] <= group["high"]
    assert abs(group["value"] - wanted) < 3 * (group["high"] - group["low"])
    assert group["noise_scale"]
