"""Plans: one question, one plan, whatever its spelling; and every refusal before anything is charged."""

import json
import tracemalloc
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.privacy import mechanisms
from analytics.query.model import By, Operand, canonical
from analytics.query.plan import ProgramRejected, compile, describe
from tests.analytics.query.studies import SEED, a_codebook, some_facts, with_field

FACTS = some_facts()
MICRO = 1_000_000
FULL = By(column="region", groups=((0,), (1,), (2,), (3,), (4,)))


def plan_of(program, *facts, micro=MICRO, mode="dp"):
    return compile(program, facts or [FACTS], micro, mode)


def release_of(program, *facts, micro=MICRO, mode="dp"):
    (release,) = plan_of(program, *facts, micro=micro, mode=mode).releases
    return release


def refusal(program, *facts, micro=MICRO, mode="dp"):
    with pytest.raises(ProgramRejected) as caught:
        plan_of(program, *facts, micro=micro, mode=mode)
    return caught.value


def test_the_first_program_anyone_asked_compiles_verbatim():
    plan = plan_of(SEED)
    assert plan.statements == (
        "mean(time_till_death) where region == Northeast",
        "mean(time_since_diagnosis) where region == Northeast",
        "sd(time_since_diagnosis) where region == Northeast",
        "correlate(region, death_flag)",
    )
    # Mean and SD read one table, which has what both are given.
    assert plan.uses == ((0,), (1,), (1,), (2,))
    assert [r.micro_epsilon for r in plan.releases] == [250_000, 500_000, 250_000]
    assert [c.name for c in plan.columns] == [
        "time_till_death",
        "time_since_diagnosis",
        "region",
        "death_flag",
    ]
    assert plan.releases[0].cohort == (
        "and",
        ("present", "time_till_death"),
        ("present", "region"),
        ("in", "region", (3,)),
    )
    assert plan.releases[2].by == (FULL, By(column="death_flag", groups=((0,), (1,))))
    assert plan.minimum_cohort == 11
    assert canonical(plan.public())


SPELLINGS = [
    "mean(time_till_death) where region == Northeast by smoker",
    " AVERAGE ( 'Time till death' )\twhere REGION = \"north-east\" by Smoker # why\n",
    'average("time till death", "northeast") by smoker;',
    "\n\navg(\n TimeTillDeath,\n NORTH_EAST\n) BY smoker epsilon 1",
    {
        "statements": [
            {"statistic": "mean", "columns": ["time_till_death"], "level": "northeast", "by": ["smoker"]}
        ]
    },
    "epsilon 1\nmean(time_till_death) where region in (northeast) by smoker",
]


@pytest.mark.parametrize("text", SPELLINGS[:5])
def test_another_spelling_of_a_question_is_the_same_plan(text):
    assert plan_of(text).hash == plan_of(SPELLINGS[0]).hash


def test_a_plan_is_a_function_of_its_arguments_alone():
    assert plan_of(SEED).public() == plan_of(SEED, some_facts()).public()
    assert json.loads(canonical(plan_of(SEED).public())) == json.loads(json.dumps(plan_of(SEED).public()))


@pytest.mark.parametrize(
    "other",
    [
        plan_of(SPELLINGS[0], micro=999_999),
        plan_of(SPELLINGS[0], mode="exact"),
        plan_of(SPELLINGS[0], some_facts(version=2)),
        plan_of(SPELLINGS[0], some_facts(manifest_hash="ee" * 32)),
        plan_of(SPELLINGS[0], some_facts(capacity=2048)),
        plan_of(SPELLINGS[0].replace("Northeast", "West")),
        plan_of(SPELLINGS[0].replace("mean", "sum")),
        plan_of(SPELLINGS[0].replace(" by smoker", "")),
        plan_of(SPELLINGS[0].replace("==", "!=")),
    ],
)
def test_another_question_is_another_plan(other):
    assert other.hash != plan_of(SPELLINGS[0]).hash


def test_the_text_that_a_plan_keeps_compiles_to_the_same_tables():
    for program in (
        SEED,
        SPELLINGS[0],
        'count("Body mass index") where bmi > 1e1 or "death flag" is missing by region',
    ):
        plan = plan_of(program)
        again = plan_of("\n".join(plan.statements))
        assert (again.statements, again.releases) == (plan.statements, plan.releases)


M_BMI, M_DAYS = 2**12, 2**6


@pytest.mark.parametrize(
    ("program", "monomials", "sensitivity"),
    [
        ("count()", 1, 1),
        ("count(bmi)", 1, 1),
        ("proportion(death_flag, dead)", 1, 1),
        ("correlate(region, smoker)", 1, 1),
        ("mean(bmi)", 3, 4 * M_BMI**2),
        ("sum(bmi)", 2, 2 * M_BMI),
        ("var(bmi)", 3, 4 * M_BMI**2),
        ("sd(time_since_diagnosis)", 3, 4 * M_DAYS**2),
        ("correlate(bmi, time_since_diagnosis)", 9, 16 * M_BMI**2 * M_DAYS**2),
    ],
)
def test_noised_tables_have_the_declared_sensitivity_and_scale(program, monomials, sensitivity):
    release = release_of(program, micro=500_000)
    assert len(release.monomials) == len(release.transform) == monomials
    assert release.sensitivity == sensitivity
    assert release.scale == Fraction(sensitivity * 2)
    by = release_of(program + " by relapse", micro=500_000)
    assert by.sensitivity == sensitivity, "cells are disjoint: a patient is in one of them"
    assert by.cells == 3 * release.cells


@pytest.mark.parametrize(
    ("program", "monomials", "sensitivity"),
    [
        ("count() by region", ((),), 1),
        ("mean(bmi)", ((0,), (1,), (2,)), M_BMI**2),
        ("sum(bmi)", ((0,), (1,)), M_BMI),
        ("sd(bmi)", ((0,), (1,), (2,)), M_BMI**2),
        ("correlate(bmi, time_since_diagnosis)", ((0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1)), M_BMI**2),
    ],
)
def test_exact_tables_are_the_plain_totals_and_cost_nothing(program, monomials, sensitivity):
    plan = plan_of(program, mode="exact")
    (release,) = plan.releases
    assert release.monomials == monomials
    assert release.transform == tuple(
        tuple(int(i == j) for j in range(len(monomials))) for i in range(len(monomials))
    )
    assert (release.sensitivity, release.scale, release.micro_epsilon) == (sensitivity, None, 0)
    assert plan.micro_epsilon == 0
    assert plan_of(program + " epsilon 3", micro=0, mode="exact").hash == plan.hash


def test_partitions_of_a_statistic_come_after_those_of_by():
    release = release_of("proportion(relapse, yes) by region")
    assert release.by == (FULL, By(column="relapse", groups=((1,), (0, 2))))
    assert release.cohort == ("and", ("present", "relapse"), ("present", "region"))
    assert release_of("correlate(region, smoker) by relapse").by[0].column == "relapse"


def test_what_a_statement_needs_present_is_in_its_cohort():
    assert release_of("count()").cohort == ("all",)
    assert release_of("count(bmi)").cohort == ("present", "bmi")
    assert release_of("count(bmi) by region").cohort == ("and", ("present", "bmi"), ("present", "region"))
    assert release_of("mean(bmi) where bmi is missing").cohort == (
        "and",
        ("present", "bmi"),
        ("not", ("present", "bmi")),
    )


def test_a_counted_category_takes_its_own_level_first():
    assert plan_of("count(smoker, yes)").statements == ("count(smoker) where smoker == yes",)
    assert refusal("count(bmi, yes)").code == "ambiguous_level"


def test_a_level_and_a_condition_are_both_required():
    plan = plan_of("mean(bmi, northeast) where smoker == yes or relapse == yes")
    assert plan.statements == ("mean(bmi) where region == Northeast and (smoker == yes or relapse == yes)",)


@pytest.mark.parametrize(
    ("program", "request_", "total", "parts"),
    [
        ("count(); count(bmi)", 1_000_000, 1_000_000, [500_000, 500_000]),
        ("count(); count(bmi); count(smoker)", 1_000_000, 1_000_000, [333_333] * 3),
        ("count() epsilon 0.7; count(bmi); count(smoker)", 1_000_000, 1_000_000, [700_000, 150_000, 150_000]),
        ("count() epsilon 0.7; count(bmi) epsilon 0.1", 1_000_000, 800_000, [700_000, 100_000]),
        ("epsilon 0.5; count(); count(bmi)", 1_000_000, 500_000, [250_000, 250_000]),
        ("count() epsilon 0.000001; count(bmi)", 2, 2, [1, 1]),
    ],
)
def test_epsilon_goes_to_statements_that_name_it_first_and_is_never_exceeded(program, request_, total, parts):
    plan = plan_of(program, micro=request_)
    assert plan.micro_epsilon == total
    assert [r.micro_epsilon for r in plan.releases] == parts
    assert sum(parts) <= total <= request_
    assert plan_of(program, micro=total).hash == plan.hash, (
        "what was approved compiles again from its own figure"
    )


@settings(deadline=None)
@given(
    own=st.lists(st.none() | st.integers(1, 400_000), min_size=1, max_size=6), asked=st.integers(1, 3_000_000)
)
def test_no_split_spends_more_than_the_request(own, asked):
    program = ";".join("count()" + (f" epsilon 0.{micro:06d}" if micro else "") for micro in own)
    try:
        plan = plan_of(program, micro=asked)
    except ProgramRejected as error:
        assert error.code in ("epsilon_exceeds_request", "epsilon_exhausted")
        assert sum(m or 0 for m in own) + own.count(None) > asked
    else:
        assert sum(r.micro_epsilon for r in plan.releases) <= plan.micro_epsilon <= asked


@pytest.mark.parametrize(
    ("program", "code", "column"),
    [
        ("mean(bmii)", "unknown_column", 6),
        ("mean(northeast)", "unknown_column", 6),
        ("count() by nothing", "unknown_column", 12),
        ("mean(region)", "wrong_type", 6),
        ("sd(smoker)", "wrong_type", 4),
        ("proportion(bmi, 3)", "wrong_type", 12),
        ("proportion(region, nort)", "unknown_level", 20),
        ("proportion(region, yes)", "unknown_level", 20),
        ("mean(bmi, northeest)", "unknown_level", 11),
        ("mean(bmi, region)", "unknown_level", 11),
        ("mean(bmi, yes)", "ambiguous_level", 11),
        ("correlate(bmi, region)", "pearson_of_nominal", 1),
        ("correlate(region, bmi)", "pearson_of_nominal", 1),
        ("correlate(bmi, bmi)", "duplicate", 16),
        ("correlate(region, region)", "duplicate", 19),
        ("correlate(region, smoker) by smoker", "duplicate", 30),
        ("proportion(smoker, yes) by smoker", "duplicate", 28),
        ("count() by region, 'Region'", "duplicate", 20),
        ("count() by bmi", "by_number", 12),
        ("count() where region > west", "wrong_type", 15),
        ("count() where bmi == thin", "wrong_type", 22),
        ("count() epsilon 1.1", "epsilon_exceeds_request", None),
        ("count() epsilon 0.6; count() epsilon 0.5", "epsilon_exceeds_request", None),
        ("epsilon 1.1; count()", "epsilon_exceeds_request", None),
        ("count() epsilon 1; count()", "epsilon_exhausted", None),
        ("cuont()", "unknown_statistic", 1),
    ],
)
def test_what_cannot_be_answered_is_refused_with_its_place(program, code, column):
    error = refusal(program)
    assert (error.code, error.column) == (code, column)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("mean(bmii)", "did you mean bmi"),
        ("mean('time til death')", "did you mean"),
        ("mean(northeast)", "is a level of region"),
        ("mean(bmi, region)", "write by"),
        ("mean(bmi, northeest)", "did you mean Northeast"),
        ("mean(bmi, yes)", "where smoker == yes or where relapse == yes"),
        ("mean(region)", "count() by region"),
        ("proportion(bmi, 3)", "count(bmi) where bmi"),
        ("correlate(bmi, region)", "mean(bmi) by region"),
        ("count() by bmi", "where bmi <"),
    ],
)
def test_a_refusal_says_what_to_ask_instead(program, words):
    assert words in str(refusal(program))


@pytest.mark.parametrize(
    ("micro", "code"),
    [
        (0, "epsilon_invalid"),
        (-1, "epsilon_invalid"),
        (20_000_001, "epsilon_too_large"),
        (10**15, "epsilon_too_large"),
    ],
)
def test_a_request_without_a_usable_epsilon_is_refused(micro, code):
    assert refusal("count()", micro=micro).code == code


def test_other_requests_that_make_no_sense_are_refused():
    assert refusal("count()", mode="clear").code == "mode"
    assert refusal("count()", FACTS, FACTS).code == "duplicate"
    with pytest.raises(ProgramRejected) as caught:
        compile("count()", [], MICRO, "dp")
    assert caught.value.code == "no_dataset"


def wide(levels, fields):
    codebook = a_codebook()
    codebook["fields"] = [
        {"name": f"c{n}", "type": "string", "categories": [f"{n}.{k}" for k in range(levels)]}
        for n in range(fields)
    ]
    return some_facts(codebook)


def test_tables_are_bounded_cell_by_cell_and_in_all():
    facts = wide(64, 3)
    assert release_of("count() by c0, c1", facts).cells == 4096
    error = refusal("count() by c0, c1, c2", facts)
    assert error.code == "too_many_cells"
    assert "c0 64 x c1 64 x c2 64" in str(error)
    several = [f"count() where c2 == '{level}' by c0, c1" for level in wide_levels(facts, "c2")[:5]]
    assert len(plan_of(";".join(several[:4]), facts).releases) == 4
    assert refusal(";".join(several), facts).code == "too_many_cells"


def wide_levels(facts, name):
    return [level.label for level in facts.schema.field(name).levels]


def test_a_table_that_several_statements_need_is_released_once_and_has_what_all_are_given():
    plan = plan_of("mean(bmi) by smoker epsilon 0.5; sd(bmi) by smoker; var(bmi); count()")
    assert plan.uses == ((0,), (0,), (1,), (2,)) and len(plan.releases) == 3
    assert [r.micro_epsilon for r in plan.releases] == [666_666, 166_666, 166_666]
    apart = plan_of("mean(bmi) by smoker; mean(bmi) where smoker == yes; mean(bmi)")
    assert len(apart.releases) == 3
    said = describe(plan, [FACTS])["statements"]
    assert said[0]["tables"] == said[1]["tables"] and said[0]["tables"][0]["read_by"] == [1, 2]


def test_products_that_would_overflow_lose_low_bits_of_the_widest_column():
    facts = some_facts(capacity=2**20)
    release = release_of("correlate(bmi, time_till_death)", facts)
    assert release.operands == (
        Operand(column="bmi", bits=11, dropped=2),
        Operand(column="time_till_death", bits=10, dropped=0),
    )
    assert release.sensitivity == 16 * 2**38
    length = mechanisms.digits(release.scale)
    assert 2**20 * release.sensitivity + 2**length < 2**63
    wider = 2**20 * 4 * release.sensitivity
    assert wider + 2**length >= 2**63, "one bit more would not have fitted"
    (said,) = describe(plan_of("correlate(bmi, time_till_death)", facts), [facts])["statements"]
    assert said["resolution"]["bmi"] == {"step": 0.04, "unit": "kg/m2", "declared": "0.01", "dropped_bits": 2}


def test_the_least_that_is_dropped_is_dropped_and_never_beyond_a_hundredth_of_the_range():
    fine = with_field("bmi", resolution="0.0000001", constraints={"minimum": 0, "maximum": 100})
    for capacity in (2**10, 2**16, 2**22):
        (operand,) = release_of("sd(bmi)", some_facts(fine, capacity=capacity)).operands
        assert operand.bits + operand.dropped == 30
        for dropped, fits in ((operand.dropped, True), (operand.dropped - 1, False)):
            delta = 4 * 4 ** (29 - dropped)
            assert mechanisms.fits(Fraction(delta), capacity, delta) == fits
        assert 2**operand.dropped * Fraction(1, 10**7) * 100 <= 100
    coarse = with_field("bmi", resolution="0.5", constraints={"minimum": 0, "maximum": 127})
    coarse["fields"][0].update(resolution="0.5")
    error = refusal("correlate(bmi, time_till_death)", some_facts(coarse, capacity=2**36))
    assert error.code == "overflow"
    assert "1 %" in str(error)


def test_noise_beyond_the_ring_is_refused_for_counts_too():
    assert release_of("count()", micro=1).scale == 10**6
    assert mechanisms.digits(Fraction(10**6)) == 27


def test_exact_sums_of_products_fit_as_well():
    fine = with_field("bmi", resolution="0.0000001", constraints={"minimum": 0, "maximum": 100})
    release = release_of("sd(bmi)", some_facts(fine, capacity=2**22), mode="exact")
    assert 2**22 * release.sensitivity < 2**63 <= 2**22 * 4 * release.sensitivity


OTHER = "01" * 16


def pooled(codebook, **changes):
    return plan_of("mean(bmi) by region", FACTS, some_facts(codebook, OTHER, **changes))


def test_datasets_with_equal_columns_are_pooled_in_any_order():
    other = a_codebook(capacity=2048)
    other["fields"].reverse()
    other["policy"]["minimum_cohort"] = 20
    plan = pooled(other)
    assert [d.id for d in plan.datasets] == [OTHER, FACTS.id]
    assert [d.capacity for d in plan.datasets] == [2048, 1024]
    assert plan.minimum_cohort == 20
    assert plan == compile("mean(bmi) by region", [some_facts(other, OTHER), FACTS], MICRO, "dp")


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("bmi", {"unit": "lb/ft2"}, ["unit", "lb/ft2", "kg/m2"]),
        ("bmi", {"resolution": "0.02"}, ["resolution", "0.01", "0.02"]),
        ("bmi", {"constraints": {"minimum": 10, "maximum": 70}}, ["maximum", "60", "70"]),
        ("bmi", {"grid": [18.5, 25, 30]}, ["grid 18.5, 25, 30 in", "none of its own in"]),
        ("bmi", {"type": "integer", "resolution": 1}, ["type", "integer"]),
        (
            "bmi",
            {"type": "string", "categories": ["low"], "constraints": None, "resolution": None, "unit": None},
            ["levels"],
        ),
        ("region", {"categories": ["West", "Midwest", "South", "Northeast"]}, ["levels", "Canada"]),
        (
            "region",
            {"categories": ["Midwest", "West", "South", "Northeast", {"value": "5", "label": "Canada"}]},
            ["levels"],
        ),
        ("bmi", {"name": "body_mass_index"}, ["no column bmi"]),
    ],
)
def test_datasets_that_differ_in_a_column_asked_for_are_not_pooled(name, changes, words):
    with pytest.raises(ProgramRejected) as caught:
        pooled(with_field(name, **changes))
    assert caught.value.code == "datasets_differ"
    for word in words:
        assert word in str(caught.value)


def test_columns_that_are_not_asked_for_may_differ():
    assert pooled(with_field("smoker", categories=["never", "ever"], title="Tobacco"))
    assert pooled(with_field("bmi", title="BMI", source="other", missingValues=["NA"]))


def test_overflow_counts_the_rows_of_all_datasets():
    half = some_facts(capacity=2**19)
    both = plan_of("correlate(bmi, time_till_death)", half, some_facts(a_codebook(), OTHER, capacity=2**19))
    assert (
        both.releases[0].operands
        == release_of("correlate(bmi, time_till_death)", some_facts(capacity=2**20)).operands
    )


def test_a_description_says_what_is_asked_what_it_costs_and_how_far_it_is_off():
    plan = plan_of("count() by region; mean(bmi, northeast); sd(bmi); correlate(bmi, time_till_death)\n"
                   "correlate(region, smoker); proportion(smoker, yes) by region; sum(bmi); var(bmi)")  # fmt: skip
    said = describe(plan, [FACTS])
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert (said["epsilon"], said["worst_charge"], said["planned_n"]) == ("1.000000", "2.000000", 700)
    assert [s["released"] for s in said["statements"]] == [5, 3, 3, 9, 10, 10, 2, 3]
    assert said["released"] == 5 + 3 + 3 + 9 + 10 + 10 + 2  # sd and var read one table
    assert said["rounds"] > 0
    assert said["bytes_per_party"] > 0
    count, mean, sd, pearson, table, proportion, total, variance = said["statements"]
    t = Fraction(8)
    assert count["words"] == "number of patients, for each region"
    assert count["noise"]["scale"] == "8/1"
    assert count["noise"]["standard_deviation"] == pytest.approx(mechanisms.variance(t) ** 0.5)
    assert count["noise"]["delta"] < 2**-50
    assert count["expected_error"]["half_width"] == mechanisms.reach(t) == 24
    assert mean["words"] == "mean of Body mass index (kg/m2), among patients with region == Northeast"
    assert mean["resolution"]["bmi"]["step"] == 0.01
    # (B2 - B0) / 4 M N of a scale of 8 * 4 M^2, M = 4096 codes of 0.01, at n = 700
    assert mean["expected_error"]["half_width"] == pytest.approx(
        mechanisms.half_width(Fraction(8 * 4 * 4096**2), (0.01 / (4 * 4096) / 700,) * 2)
    )
    assert sd["expected_error"]["half_width"] > 0
    assert pearson["words"].startswith("Pearson correlation of Body mass index (kg/m2) and Time till death")
    assert table["words"].startswith("contingency table")
    assert proportion["expected_error"]["n"] == 140
    assert total["expected_error"]["unit"] == "kg/m2"
    assert variance["expected_error"]["unit"] == "(kg/m2)^2"


def test_an_exact_description_has_no_noise():
    said = describe(plan_of("count(); sd(bmi)", mode="exact"), [FACTS])
    assert json.dumps(said, allow_nan=False)
    assert [s["noise"] for s in said["statements"]] == [None, None]
    assert (said["epsilon"], said["released"]) == ("0.000000", 2 + 4)


def test_the_planned_number_of_patients_is_the_capacity_where_no_fact_says_more():
    assert describe(plan_of("count()"), [some_facts()])["planned_n"] == 700
    facts = some_facts(a_codebook(facts={"n": "many"}))
    assert describe(plan_of("count()", facts), [facts])["planned_n"] == 1024


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=40), place=st.integers(0, 3))
def test_whatever_is_asked_is_planned_or_refused(text, place):
    quoted = '"' + text.replace('"', '""') + '"'
    program = [
        f"mean({quoted})",
        f"mean(bmi, {quoted})",
        f"count() where region == {quoted}",
        f"count() by {quoted}",
    ]
    try:
        plan = plan_of(program[place])
    except ProgramRejected as error:
        assert json.dumps(error.public())
    else:
        assert plan.hash


def test_shapes_come_from_codebooks_alone():
    plan = plan_of(SEED)
    assert not {"n", "rows", "count"} & set(plan.public())
    assert [r.cells * r.values_per_cell("dp") for r in plan.releases] == [3, 3, 10]


HEAVY = {
    "as many statements as there may be": ";".join(["mean(bmi, northeast) by smoker"] * 190),
    "as long a condition as there may be": "count() where bmi > 20.5" + " and region != west" * 1240,
    "as deep a condition as there may be": "count() where "
    + "not (" * 49
    + "region == west or bmi < 3"
    + ")" * 49,
    "as large a table as there may be": ";".join(["count() by region, smoker, relapse, death_flag"] * 200),
    "as many values as there may be": "count() where bmi in ("
    + ",".join(str(10 + k / 100) for k in range(2400))
    + ")",
    "an unknown level": "count() where region == '" + "x" * 250 + "'",
}


@pytest.mark.parametrize("kind", HEAVY)
def test_the_largest_programs_are_planned_in_bounded_memory(kind):
    plan_of("count()")
    tracemalloc.start()
    try:
        assert plan_of(HEAVY[kind]).hash
    except ProgramRejected as error:
        assert kind == "an unknown level"
        assert error.code == "unknown_level"
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10_000_000


def test_a_suggestion_costs_little_among_very_many_levels():
    facts = wide(1024, 64)
    error = refusal("count() where c63 == '63.1023x'", facts)
    assert error.suggestions[:1] == ["63.1023"]
    assert refusal("mean(c0, nowhere)", facts).code == "wrong_type"
    assert refusal("count(c0, nowhere)", facts).code == "unknown_level"


def test_what_a_plan_keeps_can_always_be_read_again():
    """Short titles may stand for long names: then the kept text is longer than the one that was asked."""
    codebook = a_codebook(
        fields=[
            {
                "name": "n" * 250,
                "title": "x",
                "type": "string",
                "categories": [{"value": "v", "label": "l" * 250}],
            }
        ]
    )
    facts = some_facts(codebook)
    plan = plan_of("count() where x == v" + " or x == v" * 100, facts)
    assert plan_of(plan.statements[0], facts).releases == plan.releases
    assert refusal("count() where x == v" + " or x == v" * 200, facts).code == "too_long"
