"""Several datasets in one question: what is pooled, as what, with which strata; what is not, and what to write then."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.query import policy, statistic
from analytics.query.errors import CodebookRejected, PolicyRefused
from analytics.query.language import parse, to_json
from analytics.query.model import DATASET, By, PlanSource, canonical
from analytics.query.plan import ProgramRejected, compile, describe
from analytics.query.planned import Study
from analytics.query.resolve import Catalogue, catalogue_of
from analytics.query.statistic import Statistic, Wanted
from tests.analytics.query.studies import CODEBOOK, a_codebook, some_facts, with_field

MICRO = 1_000_000
HERE, THERE, THIRD = "aa" * 16, "bb" * 16, "cc" * 16
EACH = By(column=DATASET, groups=((0,), (1,)))
ALIGN = (
    'align "Other study" (gender = smoker (J = yes, N = no), sector = region (Westen = West, Sued = South))'
)


def first(**changes):
    return some_facts(a_codebook(title="First study", **changes), HERE)


def other(**fields):
    """A study whose columns `smoker` and `region` are called otherwise and coded otherwise."""
    codebook = a_codebook(title="Other study", capacity=2048)
    for field in codebook["fields"]:
        if field["name"] == "smoker":
            field |= {"name": "gender", "categories": ["J", "N"]}
        if field["name"] == "region":
            levels = ["Sued", "Northeast", "Westen", "Midwest", {"value": "9", "label": "Canada"}]
            field |= {"name": "sector", "categories": levels}
        field |= fields.get(field["name"], {})
    return some_facts(codebook, THERE)


def same(id=THERE, **changes):
    return some_facts(a_codebook(title="Other study", **changes), id)


def plan_of(program, *facts, mode="dp"):
    return compile(program, facts or [first(), same()], MICRO, mode)


def refusal(program, *facts):
    with pytest.raises(ProgramRejected) as caught:
        plan_of(program, *facts)
    return caught.value


@pytest.fixture
def difference(monkeypatch):
    """A statistic that is an effect: its strata are the columns after its first two."""
    made = Statistic(
        name="difference_of_counts",
        words="difference",
        columns=(2, 5),
        strata=2,
        tables=lambda asked: [Wanted(inner=(statistic.every(asked.columns[1]),))],
    )
    known = {**statistic.statistics(), made.name: made}
    monkeypatch.setattr("analytics.query.language.statistics", lambda: known)
    monkeypatch.setattr("analytics.query.language.spellings", lambda: {made.name: made.name})
    monkeypatch.setattr("analytics.query.language.forms", lambda: {"differenceofcounts": made.name})
    for module in ("query.plan", "query.describe", "statistics.question"):
        monkeypatch.setattr(f"analytics.{module}.statistics", lambda: known)
    return made


# -- by dataset ------------------------------------------------------------------------------------------------------


def test_by_dataset_parts_the_pooled_rows_and_costs_one_table():
    plan = plan_of("mean(bmi) by dataset, smoker")
    (release,) = plan.releases
    assert release.by == (EACH, By(column="smoker", groups=((0,), (1,))))
    assert release.cohort == ("and", ("present", "bmi"), ("present", "smoker"))
    (together,) = plan_of("mean(bmi) by smoker").releases
    assert (release.sensitivity, release.scale) == (together.sensitivity, together.scale)
    assert plan.statements == ("mean(bmi) by dataset, smoker",)
    assert plan_of(plan.statements[0]) == plan
    assert json.loads(canonical(plan.public()))["releases"][0]["by"][0] == {
        "column": "",
        "groups": [[0], [1]],
    }


def test_each_dataset_computes_in_its_own_cells_alone():
    (release,) = plan_of("count() by region, dataset, smoker").releases
    assert release.cells_of(0) == [0, 1, 4, 5, 8, 9, 12, 13, 16, 17]
    assert sorted([*release.cells_of(0), *release.cells_of(1)]) == list(range(release.cells))
    own = plan_of("count() by region, dataset, smoker").own(1).releases[0]
    assert [by.column for by in own.by] == ["region", "smoker"] and own.cells == 10


def test_a_column_that_is_called_dataset_is_that_column():
    codebook = a_codebook()
    codebook["fields"][5]["name"] = "Dataset"
    plan = compile(
        "count() by dataset", [some_facts(codebook, HERE), some_facts(codebook, THERE)], MICRO, "dp"
    )
    assert plan.releases[0].by == (By(column="Dataset", groups=((0,), (1,))),)


@pytest.mark.parametrize(
    "program", ["count(dataset)", "count() where dataset == x", "correlate(dataset, region)"]
)
def test_the_dataset_stands_after_by_and_nowhere_else(program):
    refused = refusal(program)
    assert refused.code == "unknown_column"
    assert "by dataset" in refused.message


def test_a_description_says_what_is_pooled_and_how():
    facts = [first(), same()]
    described = describe(plan_of("count() by dataset"), facts)
    (said,) = described["statements"]
    assert said["words"].endswith("for each dataset") and said["groups"] == 2
    assert said["warnings"] == []
    assert described["planned_n"] == 1400


# -- strata ----------------------------------------------------------------------------------------------------------


def test_an_effect_over_several_datasets_has_them_as_its_first_stratum(difference):
    (release,) = plan_of("difference_of_counts(death_flag, smoker, region) by relapse").releases
    assert [by.column for by in release.by] == ["relapse", DATASET, "region", "smoker"]
    (alone,) = plan_of("difference_of_counts(death_flag, smoker, region) by relapse", first()).releases
    assert [by.column for by in alone.by] == ["relapse", "region", "smoker"]
    said = describe(plan_of("difference_of_counts(death_flag, smoker)"), [first(), same()])["statements"][0]
    assert "within each dataset" in said["words"] and said["warnings"] == []


def test_a_figure_is_given_the_datasets_as_strata(difference):
    from analytics.statistics.question import questions

    facts = [same(), first()]
    for program, strata in (
        ("difference_of_counts(death_flag, smoker, region)", [["First study", "Other study"], 5]),
        ("difference_of_counts(death_flag, smoker, region) unstratified", [5]),
        ("difference_of_counts(death_flag, smoker) by dataset", []),
    ):
        (question,) = questions(plan_of(program), facts)
        assert [by.size for by in question.strata] == [len(s) if isinstance(s, list) else s for s in strata]
        assert question.inner == (By(column="smoker", groups=((0,), (1,))),)
        if strata and isinstance(strata[0], list):
            assert question.labels(question.strata[0]) == strata[0]


def test_only_a_statement_that_says_so_is_pooled_without_strata_and_its_answer_warns(difference):
    plan = plan_of("difference_of_counts(death_flag, smoker) where bmi > 20 unstratified epsilon 1")
    assert [by.column for by in plan.releases[0].by] == ["smoker"]
    assert plan.statements == ("difference_of_counts(death_flag, smoker) where bmi > 20 unstratified",)
    (said,) = describe(plan, [first(), same()])["statements"]
    assert said["warnings"] == ["pooled without strata: an effect can change its sign"]


def test_one_dataset_has_nothing_to_be_unstratified_over(difference):
    plan = plan_of("difference_of_counts(death_flag, smoker) unstratified", first())
    assert plan == plan_of("difference_of_counts(death_flag, smoker)", first())


def test_by_dataset_gives_each_dataset_its_own_effect(difference):
    (release,) = plan_of("difference_of_counts(death_flag, smoker) by dataset").releases
    assert [by.column for by in release.by] == [DATASET, "smoker"]


def test_a_statistic_without_strata_is_not_asked_unstratified():
    refused = refusal("mean(bmi) unstratified")
    assert refused.code == "no_strata" and (refused.line, refused.column) == (1, 1)


# -- align -----------------------------------------------------------------------------------------------------------


def test_aligned_columns_are_read_under_their_own_names_with_their_own_codes():
    facts = [first(), other()]
    plan = plan_of(f"{ALIGN}\nproportion(smoker, yes) where region in (West, Canada) by region", *facts)
    assert plan.datasets[0].sources == ()
    assert plan.datasets[1].sources == (
        PlanSource(name="region", column="sector", bits=3, codes=(2, 3, 0, 1, 4)),
        PlanSource(name="smoker", column="gender", bits=1, codes=(1, 0)),
    )
    (asked,) = plan.own(1).releases
    assert asked.cohort == (
        "and",
        ("present", "gender"),
        ("present", "sector"),
        ("in", "sector", (2, 4)),
    )
    assert asked.by == (
        By(column="sector", groups=((2,), (3,), (0,), (1,), (4,))),
        By(column="gender", groups=((0,), (1,))),
    )
    assert plan.own(0) is plan
    assert [(c.name, c.bits) for c in plan.own(1).columns] == [("sector", 3), ("gender", 1)]


def test_another_spelling_of_an_alignment_is_the_same_plan():
    facts = [first(), other()]
    program = f"{ALIGN}\nmean(bmi) by smoker, region"
    plan = plan_of(program, *facts)
    for said in (
        f"ALIGN {THERE} (Sector = REGION (sued = south, westen='west'), Gender=Smoker(n = NO, j = Yes))\n",
        ALIGN.replace("Westen", "Canada = Canada, Westen").replace("Other study", "other-study") + ";",
    ):
        assert plan_of(said + "average(bmi) by smoker, region", *facts).public() == plan.public()
    assert plan_of(to_json(parse(program)), *facts) == plan
    again = "\n".join([*plan.align, *plan.statements])
    assert plan_of(again, *reversed(facts)) == plan
    assert plan.public()["align"] == [
        f"align {THERE} (sector = region (Sued = South, Westen = West), gender = smoker (J = yes, N = no))"
    ]


def test_a_plan_without_alignment_says_nothing_of_it():
    public = plan_of("mean(bmi) by region").public()
    assert "align" not in public
    assert all(set(d) == {"id", "version", "manifest_hash", "capacity"} for d in public["datasets"])


def test_several_levels_of_one_dataset_may_be_one_of_the_pool():
    three = some_facts(with_field("smoker", categories=["never", "former", "current"]), THERE)
    text = f"align {THERE} (smoker = smoker (never = no, former = yes, current = yes))\ncount() by smoker"
    plan = plan_of(text, first(), three)
    (source,) = plan.datasets[1].sources
    assert (source.codes, source.bits) == ((0, 1, 1), 2)
    assert plan.columns[0].bits == 1
    assert plan.own(1).releases[0].by[0].groups == ((0,), (1, 2))


def test_levels_that_only_one_dataset_has_are_named():
    facts = [first(), some_facts(with_field("region", categories=["South", "West", "Ocean"]), THERE)]
    plan = plan_of(f"align {THERE} (region = region)\ncount() by region", *facts)
    assert plan.own(0).releases[0].by[0].groups == ((0,), (1,), (2,), (3,), (4,), ())
    assert plan.own(1).releases[0].by[0].groups == ((1,), (), (0,), (), (), (2,))
    (said,) = describe(plan, facts)["statements"]
    assert len(said["warnings"]) == 2
    assert "no level Ocean of region" in said["warnings"][0]
    assert "no level Midwest, Northeast, Canada of region" in said["warnings"][1]


def test_a_renamed_number_is_pooled_where_unit_bounds_and_resolution_agree():
    there = some_facts(with_field("bmi", name="quetelet", title="Quetelet"), THERE)
    plan = plan_of(f"align {THERE} (quetelet = bmi)\nmean(bmi) where bmi < 30", first(), there)
    (asked,) = plan.own(1).releases
    assert asked.cohort == ("and", ("present", "quetelet"), ("less", "quetelet", 2000))
    assert asked.operands[0].column == "quetelet" and asked.operands[0].bits == 13


def test_a_time_keeps_the_flag_that_the_question_calls_it():
    def study(flag, id):
        codebook = a_codebook()
        codebook["fields"][0] |= {"role": "time", "event": flag}
        codebook["fields"][4] |= {"name": flag, "title": flag, "role": "event", "occurred": 1}
        return some_facts(codebook, id)

    text = "mean(time_till_death)"
    both = [study("death_flag", HERE), study("died", THERE)]
    assert "event" in refusal(text, *both).message
    assert plan_of(f"align {THERE} (died = death_flag)\n{text}", *both)


@pytest.mark.parametrize(
    ("align", "code", "words"),
    [
        ("align nowhere (gender = smoker)", "unknown_dataset", "Other study"),
        ('align "Other study" (gander = smoker)', "unknown_column", "gender"),
        ('align "Other study" (gender = smoker (maybe = yes))', "unknown_level", "maybe"),
        ('align "Other study" (gender = smoker (J = yes, j = no))', "duplicate", "twice"),
        ('align "Other study" (gender = smoker, sector = smoker)', "duplicate", "second time"),
        ('align "Other study" (gender = relapse)', "duplicate", "itself"),
        (
            'align "Other study" (gender = smoker); align bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb (bmi = bmi)',
            "duplicate",
            "twice",
        ),
        ('align "Other study" (bmi = bmi (1 = 2))', "wrong_type", "no levels"),
        ('align "Other study" (gender != smoker)', "syntax", "!="),
        ('align "Other study" ()', "syntax", "a name"),
    ],
)
def test_an_alignment_that_cannot_be_meant_is_refused(align, code, words):
    refused = refusal(f"count()\n{align}", first(), other())
    assert refused.code == code
    assert words in str(refused)
    assert refused.line == 2


@pytest.mark.parametrize(
    ("there", "program", "words"),
    [
        (other(), "count() by smoker", ['align "Other study" (... = smoker)']),
        (
            some_facts(with_field("bmi", name="bmi_2"), THERE),
            "mean(bmi)",
            ["no column bmi", "(bmi_2 = bmi)"],
        ),
        (
            some_facts(with_field("smoker", categories=["yes", "no"]), THERE),
            "count() by smoker",
            ["levels", "(smoker = smoker (own = other))"],
        ),
        (
            some_facts(with_field("bmi", unit="lb/ft2", resolution="0.02"), THERE),
            f"align {THERE} (bmi = bmi)\nmean(bmi)",
            ["unit kg/m2", "unit", "lb/ft2", "resolution 0.01", "0.02", "ask each dataset alone"],
        ),
        (
            some_facts(with_field("bmi", constraints={"minimum": 10, "maximum": 50}), THERE),
            f"align {THERE} (bmi = bmi)\nmean(bmi)",
            ["maximum 60 in First study, 50 in A study"],
        ),
    ],
)
def test_what_cannot_be_pooled_is_named_with_each_difference_and_what_to_write(there, program, words):
    refused = refusal(program, first(), there)
    assert refused.code == "datasets_differ"
    for word in words:
        assert word in str(refused)


def test_datasets_that_are_not_aligned_must_agree_whatever_their_order():
    odd = some_facts(with_field("smoker", categories=["yes", "no"]), THIRD)
    align = f"align {HERE} (smoker = smoker)\ncount() by smoker"
    for facts in ([first(), same(), odd], [odd, same(), first()]):
        assert refusal(align, *facts).code == "datasets_differ"
    assert plan_of(f"align {THIRD} (smoker = smoker)\ncount() by smoker", first(), same(), odd)


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(levels=st.lists(NAMES, min_size=1, max_size=6, unique_by=lambda t: t), data=st.data())
def test_whatever_is_aligned_is_the_same_plan_when_its_own_words_are_compiled_again(levels, data):
    codebook = with_field("smoker", name="tobacco", title=None, categories=levels)
    try:
        there = some_facts(codebook, THERE)
    except CodebookRejected:  # levels that look alike
        return
    pairs = [[level, data.draw(NAMES | st.sampled_from(["yes", "no"]))] for level in levels]
    program = {
        "align": [
            {
                "dataset": THERE,
                "columns": [
                    {"column": "tobacco", "as": "smoker", "levels": [{"level": a, "as": b} for a, b in pairs]}
                ],
            }
        ],
        "statements": [{"statistic": "count", "by": ["smoker"]}],
    }
    try:
        plan = plan_of(program, first(), there)
    except ProgramRejected:
        return
    assert plan_of("\n".join([*plan.align, *plan.statements]), first(), there) == plan
    groups = plan.own(1).releases[0].by[0].groups
    assert sorted(code for codes in groups for code in codes) == list(range(len(levels)))


# -- policies --------------------------------------------------------------------------------------------------------


def strict(**changes):
    return some_facts(a_codebook(policy={**CODEBOOK["policy"], **changes}), THERE)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"modes": ["exact"]}, "mode_not_allowed"),
        ({"statistics": ["count"]}, "statistic_not_allowed"),
        ({"epsilon_per_query": "0.5"}, "epsilon_per_query"),
        ({"expires": "2026-01-01"}, "expired"),
    ],
)
def test_the_strictest_policy_of_pooled_datasets_wins(changes, code):
    now = policy.expiry("2026-06-01")
    facts = [first(), strict()]
    policy.check(plan_of("mean(bmi)", *facts), facts, now)
    facts = [first(), strict(**changes)]
    with pytest.raises(PolicyRefused) as caught:
        policy.check(plan_of("mean(bmi)", *facts), facts, now)
    assert caught.value.code == code and THERE in str(caught.value)


def test_the_largest_minimum_cohort_of_pooled_datasets_wins():
    assert plan_of("mean(bmi)", first(), strict(minimum_cohort=50)).minimum_cohort == 50
    assert plan_of("mean(bmi)", first(), strict(minimum_cohort=1)).minimum_cohort == 11


def test_a_dataset_is_pooled_with_itself_never():
    assert refusal("count()", first(), replace(first(), version=2)).code == "duplicate"


# -- the preview -----------------------------------------------------------------------------------------------------


def test_planned_groups_are_sums_of_what_each_dataset_says_in_its_own_words():
    here = first(facts={"n": 300, "registered": {"smoker": {"no": 100, "yes": 200}}})
    there = a_codebook(title="Other study", facts={"n": 100, "registered": {"gender": {"J": 90, "N": 10}}})
    there["fields"][5] |= {"name": "gender", "categories": ["J", "N"]}
    facts = [here, some_facts(there, THERE)]
    align = 'align "Other study" (gender = smoker (J = yes, N = no))\n'
    study = Study.of(Catalogue(facts, parse(align + "count()").align))
    assert study.n == 400
    assert study.shares == {DATASET: [0.75, 0.25], "smoker": pytest.approx([110 / 400, 290 / 400])}
    plan = plan_of(align + "mean(bmi) by dataset, smoker", *facts)
    (said,) = describe(plan, facts, assumptions={"all": {"sd": 5, "n": 5, "width": 1}})["statements"]
    names = [group["by"] for group in said["precision"]["suppressed"]]
    assert names[0] == {"dataset": "First study", "smoker": "no"} and len(names) == 4
    assert said["precision"]["cheapest"]["half_width"] == 1


def test_levels_that_one_dataset_lacks_are_planned_there_as_nobody():
    here = first(facts={"n": 300, "registered": {"smoker": {"no": 100, "yes": 200}}})
    there = with_field("smoker", categories=["no", "yes", "former"])
    there["facts"] = {"n": 100, "registered": {"smoker": {"no": 50, "yes": 30, "former": 20}}}
    facts = [here, some_facts(there, THERE)]
    plan = plan_of(f"align {THERE} (smoker = smoker)\nmean(bmi) by smoker", *facts)
    (said,) = describe(plan, facts)["statements"]
    assert Study.of(catalogue_of(plan, facts)).shares["smoker"] == pytest.approx([0.375, 0.575, 0.05])
    assert said["groups"] == 3 and said["precision"]["n"] == 150


def test_a_preview_of_very_wide_codebooks_that_differ_is_quick():
    fields = [
        {"name": f"c{k}", "type": "integer", "constraints": {"minimum": 0, "maximum": 9}} for k in range(400)
    ]
    there = [{**field, "name": f"d{k}"} for k, field in enumerate(fields[1:])]
    facts = [
        some_facts(a_codebook(fields=fields), HERE),
        some_facts(a_codebook(fields=[fields[0], *there]), THERE),
    ]
    plan = plan_of("\n".join(f"mean(c0) where c0 < {k % 9 + 1}" for k in range(100)), *facts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "analytics.query.pool.nearest", lambda *_: pytest.fail("a suggestion that nobody asked for")
        )
        assert len(describe(plan, facts)["statements"]) == 100
