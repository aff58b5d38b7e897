"""An analysis plan: the primary endpoint's part of the budget, and what is best done with the rest."""

import random
from fractions import Fraction

import pytest

from analytics.query.describe import describe, labels
from analytics.query.language import parse, to_json
from analytics.query.plan import ProgramRejected, compile
from analytics.query.weights import COMPARED_TO_A_COUNT
from tests.analytics.query.studies import a_codebook, some_facts

FACTS = some_facts()
MICRO = 1_000_000
PLAN = """
proportion(death_flag, dead) by region primary
mean(bmi) by smoker
sd(bmi) by smoker
count() by relapse
correlate(bmi, time_since_diagnosis)
"""


def plan_of(program, micro=MICRO, mode="dp"):
    return compile(program, [FACTS], micro, mode)


@pytest.mark.parametrize(
    "text", ["mean(bmi) primary", "count() where bmi > 30 by region epsilon 0.5 primary", "COUNT() PRIMARY;"]
)
def test_a_primary_statement_is_the_same_in_text_and_json(text):
    program = parse(text)
    assert program.statements[0].primary
    assert parse(program.text()) == parse(to_json(program)) == program


def test_a_statement_is_primary_once_at_its_end_and_nothing_else_is_true_of_it():
    for text in (
        "count() primary primary",
        "count() primary epsilon 1",
        "count() primary by region",
        "primary",
    ):
        with pytest.raises(ProgramRejected) as caught:
            parse(text)
        assert caught.value.code == "syntax"
    with pytest.raises(ProgramRejected, match="true or false"):
        parse({"statements": [{"statistic": "count", "primary": "yes"}]})


def test_a_column_may_be_called_primary_in_quotes():
    (statement,) = parse('count() by "primary"').statements
    assert statement.text() == 'count() by "primary"' and not statement.primary


def test_what_is_approved_says_which_endpoint_is_primary():
    plan = plan_of(PLAN)
    assert plan.statements[0].endswith("primary")
    assert labels(plan) == ["primary"] + ["exploratory"] * 4
    assert plan.hash != plan_of(PLAN.replace(" primary", "")).hash
    again = compile("\n".join(plan.statements), [FACTS], MICRO, "dp")
    assert again.hash == plan.hash


def test_nothing_is_labelled_where_nothing_is_primary():
    assert labels(plan_of(PLAN.replace(" primary", ""))) == [None] * 5


def test_the_primary_endpoint_gets_two_fifths_and_every_table_is_charged_once():
    plan = plan_of(PLAN)
    assert plan.uses == ((0,), (1,), (1,), (2,), (3,))
    assert plan.releases[0].micro_epsilon == 400_000
    assert sum(r.micro_epsilon for r in plan.releases) == plan.micro_epsilon == MICRO


def test_a_primary_endpoint_alone_gets_all():
    assert [r.micro_epsilon for r in plan_of("mean(bmi) primary").releases] == [MICRO]
    # The exploratory SD reads the primary's table: nothing else has to be paid.
    assert [r.micro_epsilon for r in plan_of("mean(bmi) primary\nsd(bmi)").releases] == [MICRO]


def test_the_rest_is_spent_where_the_weighted_noise_variance_is_least():
    rest = plan_of(PLAN).releases[1:]
    kinds = ("moments", "count", "joint")
    readers = (2, 1, 1)
    weights = [
        Fraction(COMPARED_TO_A_COUNT[kind] * n * r.cells, r.sensitivity**2)
        for kind, n, r in zip(kinds, readers, rest, strict=True)
    ]

    def loss(epsilons):
        return sum(
            a * (r.sensitivity / Fraction(e)) ** 2 for a, r, e in zip(weights, rest, epsilons, strict=True)
        )

    chosen = [r.micro_epsilon for r in rest]
    least, rng = loss(chosen), random.Random(7)
    for _ in range(300):
        parts = [rng.random() + 0.01 for _ in rest]
        assert loss([part / sum(parts) * sum(chosen) for part in parts]) >= least * (1 - Fraction(1, 10**6))
    for r, a in zip(rest, weights, strict=True):  # t_i ~ (Delta_i / a_i)^(1/3)
        ratio = float(r.scale) ** 3 * float(a) / r.sensitivity
        first = float(rest[0].scale) ** 3 * float(weights[0]) / rest[0].sensitivity
        assert ratio == pytest.approx(first, rel=1e-4)


def test_a_figure_that_somebody_named_is_kept_and_then_nothing_is_weighed():
    program = "mean(bmi) epsilon 0.3 primary\ncount()\nsd(time_since_diagnosis)"
    assert [r.micro_epsilon for r in plan_of(program).releases] == [300_000, 350_000, 350_000]


def test_the_program_s_own_total_is_what_is_weighed():
    assert sum(r.micro_epsilon for r in plan_of("epsilon 0.5\n" + PLAN).releases) == 500_000


def test_a_budget_too_small_for_every_table_is_refused():
    with pytest.raises(ProgramRejected) as caught:
        plan_of("count() by region primary\ncount() by smoker\ncount() by relapse", micro=2)
    assert caught.value.code == "epsilon_exhausted"


def test_exact_mode_labels_and_charges_nothing():
    plan = plan_of(PLAN, mode="exact")
    assert labels(plan)[0] == "primary"
    assert {r.micro_epsilon for r in plan.releases} == {0}


def test_the_preview_shows_each_table_and_its_share_of_the_budget():
    described = describe(plan_of(PLAN), [FACTS])
    assert [s["label"] for s in described["statements"]] == ["primary"] + ["exploratory"] * 4
    assert described["tables"][0]["share"] == 0.4
    assert sum(table["share"] for table in described["tables"]) == pytest.approx(1)
    assert [table["read_by"] for table in described["tables"]] == [[1], [2, 3], [4], [5]]


def test_a_plan_of_many_statements_keeps_a_sum_to_the_millionth():
    book = a_codebook()
    names = [f["name"] for f in book["fields"]]
    assert "bmi" in names
    program = "count() primary\n" + "\n".join(f"count() where bmi > {20 + k}" for k in range(50))
    plan = compile(program, [some_facts(book)], 999_983, "dp")
    assert sum(r.micro_epsilon for r in plan.releases) == 999_983
    assert all(r.micro_epsilon for r in plan.releases)
