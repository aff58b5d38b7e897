"""Before submitting: how wide a figure will be, its power, the cheapest epsilon, what would be suppressed."""

import json
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.query import cost
from analytics.query.model import DATASET
from analytics.query.plan import ProgramRejected, compile, describe
from analytics.query.planned import Study
from analytics.query.precision import not_useful
from analytics.query.resolve import Catalogue
from analytics.statistics import noise
from tests.analytics.query.studies import a_codebook, some_facts

FACTS = {
    "n": 746,
    "registered": {"smoker": {"yes": 376, "no": 370}, "relapse": {"no": 700, "yes": 40, "unknown": 6}},
    "planned": {"bmi": {"sd": 4.5}, "death_flag": {"dead": "0.1"}},
}
STUDY = some_facts(a_codebook(facts=FACTS))
MICRO = 1_000_000


def described(program, assumptions=None, *, micro=MICRO, facts=STUDY, mode="dp"):
    plan = compile(program, [facts], micro, mode)
    return describe(plan, [facts], assumptions=assumptions)


def precise(program, assumptions=None, **how):
    return described(program, assumptions, **how)["statements"][0]["precision"]


class TestWidths:
    @pytest.mark.parametrize(
        ("program", "assumed", "draw"),
        [
            (
                "mean(bmi)",
                {"sd": 4.5, "n": 359},
                lambda rng, n: rng.normal(35, 4.5, n).mean(),
            ),
            (
                "proportion(death_flag, dead)",
                {"event_rate": 0.1, "n": 359},
                lambda rng, n: rng.binomial(n, 0.1) / n,
            ),
            (
                "sd(bmi)",
                {"sd": 4.5, "n": 359},
                lambda rng, n: rng.normal(35, 4.5, n).std(ddof=1),
            ),
        ],
    )
    def test_sampling_is_what_repeating_the_study_would_show(self, program, assumed, draw):
        rng = np.random.default_rng(1)
        seen = np.array([draw(rng, assumed["n"]) for _ in range(4000)])
        low, high = np.quantile(seen, [0.025, 0.975])
        half = precise(program, {"all": assumed})["half_width"]["sampling"]
        assert half == pytest.approx((high - low) / 2, rel=0.06)

    def test_the_total_covers_noise_and_sampling_together_and_is_hardly_too_wide(self):
        rng, n, sd = np.random.default_rng(2), 359, 4.5
        precision = precise("mean(bmi)", {"all": {"sd": sd, "n": n}})
        plan = compile("mean(bmi)", [STUDY], MICRO, "dp")
        (release,) = plan.releases
        step, reach = 0.01, 2 ** (release.operands[0].bits - 1)
        u = rng.random((2, 40_000))
        released = noise.noise(float(release.scale), u)
        errors = rng.normal(0, sd / sqrt(n), 40_000) + (released[0] - released[1]) * step / (4 * reach) / n
        half = np.quantile(np.abs(errors), 0.95)
        assert half * 0.98 <= precision["half_width"]["total"] <= half * 1.06

    def test_the_noise_of_a_proportion_is_that_of_its_rate(self):
        rng, n, p = np.random.default_rng(3), 359, 0.1
        half = precise("proportion(death_flag, dead)", {"all": {"event_rate": p, "n": n}})["half_width"][
            "noise"
        ]
        noises = noise.noise(1.0, rng.random((2, 40_000)))
        level, others = p * n + noises[0], (1 - p) * n + noises[1]
        assert half == pytest.approx(np.quantile(np.abs(level / (level + others) - p), 0.95), rel=0.1)

    def test_a_count_has_the_noise_s_exact_quantile_and_describes_its_cohort(self):
        precision = precise("count()")
        assert precision["half_width"]["noise"] == precision["half_width"]["total"] == 3.0
        assert precision["half_width"]["sampling"] == pytest.approx(1.96 * sqrt(746), rel=1e-3)

    def test_without_an_sd_the_total_is_not_known_and_it_is_said_what_to_suppose(self):
        precision = precise("mean(time_since_diagnosis)")
        assert precision["half_width"]["total"] is None and precision["useful"] is None
        assert "suppose an sd" in precision["reason"]

    def test_exact_mode_has_sampling_alone(self):
        half = precise("mean(bmi)", mode="exact")["half_width"]
        assert half["noise"] == 0.0 and half["total"] == half["sampling"] == pytest.approx(
            1.96 * 4.5 / sqrt(746), rel=1e-3
        )


class TestFacts:
    def test_n_and_sd_come_from_registry_and_protocol(self):
        precision = precise("mean(bmi) by smoker")
        assert (precision["n"], precision["n_from"], precision["sd"]) == (370, "facts", 4.5)

    def test_conditions_on_registered_columns_make_the_cohort_smaller(self):
        assert precise("mean(bmi) where smoker == yes")["n"] == 376
        assert precise("mean(bmi) where smoker != yes or smoker == yes")["at_most"] is False

    def test_a_cohort_that_facts_do_not_tell_of_is_bounded_by_the_study(self):
        precision = precise("mean(bmi) where time_till_death > 12")
        assert (precision["n"], precision["at_most"], precision["useful"]) == (746, True, None)
        assert "suppose an n" in precision["reason"]

    def test_a_planned_event_rate_is_that_of_the_level_asked_for(self):
        assert precise("proportion(death_flag, dead)")["event_rate"] == 0.1
        assert precise("proportion(death_flag, alive)")["event_rate"] == pytest.approx(0.9)

    def test_what_the_analyst_supposes_goes_before_facts(self):
        precision = precise("mean(bmi)", {"all": {"sd": 10, "n": 50}})
        assert (precision["n"], precision["n_from"], precision["sd"]) == (50, "analyst", 10)

    def test_pooled_datasets_add_up_and_only_what_all_of_them_tell_counts(self):
        other = some_facts(
            a_codebook(facts={"n": 254, "registered": {"smoker": {"yes": 254, "no": 0}}}), id="cd" * 16
        )
        study = Study.of(Catalogue([STUDY, other]))
        assert study.n == 1000 and study.told and set(study.shares) == {DATASET, "smoker"} and not study.sds
        assert study.shares["smoker"] == pytest.approx([0.37, 0.63])

    @pytest.mark.parametrize(
        "facts",
        [
            {},
            {"n": "many"},
            {"registered": "about half", "planned": 3},
            {"registered": {"smoker": {"imatinib": "about half", "yes": -1}}},
            {"planned": {"bmi": {"sd": "wide"}, "death_flag": {"dead": 2}, "region": {"dead": 1}}},
        ],
    )
    def test_facts_in_any_other_form_are_passed_over(self, facts):
        precision = precise("mean(bmi) by smoker", facts=some_facts(a_codebook(facts=facts)))
        assert (precision["n"], precision["n_from"], precision["sd"]) == (512, "capacity", None)
        assert precision["suppressed"] == []


class TestUseful:
    def test_a_figure_wider_than_three_sampling_widths_is_not(self):
        wide, narrow = precise("mean(bmi)", micro=100_000), precise("mean(bmi)", micro=800_000)
        for precision in (wide, narrow):
            half = precision["half_width"]
            assert precision["useful"] is (half["total"] <= 3 * half["sampling"])
        assert wide["useful"] is False and "more epsilon" in wide["reason"]
        assert narrow["useful"] is True and narrow["reason"] is None

    def test_only_what_facts_say_is_asked_to_be_confirmed(self):
        assert "statement 1, mean(bmi)" in not_useful(described("mean(bmi)", micro=100_000))[0]
        silent = some_facts(a_codebook(facts={}))
        plan = described("count()", micro=1, facts=silent)
        assert plan["statements"][0]["precision"]["useful"] is False and not_useful(plan) == []
        assert not_useful(described("mean(bmi)", {"all": {"n": 20}}, micro=100_000)) == []

    def test_an_upper_bound_that_is_not_useful_is_so_for_any_smaller_cohort(self):
        program = "correlate(bmi, time_since_diagnosis) where time_till_death > 12"
        assert precise(program, micro=200_000)["useful"] is False
        for n in (700, 300, 50, 12):
            assert precise(program, {"all": {"n": n}}, micro=200_000)["useful"] is False


class TestPower:
    def test_is_how_often_a_noised_test_sees_the_effect(self):
        precision = precise("mean(bmi) by smoker", {"all": {"sd": 4.5, "n": 370, "effect": 1.5}})
        rng, half = np.random.default_rng(4), precision["half_width"]
        error = half["total"] / 1.96 * sqrt(2)
        sd = sqrt(2) * half["sampling"] / 1.96
        scale = half["noise"] / 3.0 * np.ones(2)  # two Laplace noises of about this scale
        arms = rng.laplace(0, scale[:, None], (2, 60_000))
        seen = np.abs(1.5 + rng.normal(0, sd, 60_000) + arms[0] - arms[1]) > 1.96 * error
        assert precision["power"]["power"] == pytest.approx(seen.mean(), abs=0.05)
        assert precision["power"]["of"] == "a difference of two groups"

    def test_grows_with_the_effect_from_five_percent(self):
        powers = [
            precise("mean(bmi)", {"all": {"effect": effect}})["power"]["power"]
            for effect in (1e-9, 0.5, 1, 5)
        ]
        assert powers[0] == pytest.approx(0.05, abs=1e-3) and powers == sorted(powers) and powers[-1] > 0.99


class TestCheapest:
    @pytest.mark.parametrize(
        ("program", "width"),
        [("mean(bmi)", 0.5), ("count() by region", 12), ("proportion(death_flag, dead) by smoker", 0.05)],
    )
    def test_reaches_the_width_and_a_millionth_less_does_not(self, program, width):
        found = precise(program, {"all": {"width": width}})["cheapest"]
        micro = round(float(found["epsilon"]) * MICRO)

        def total(micro):
            return precise(program, micro=micro)["half_width"]["total"]

        assert total(micro) <= width < total(micro - 1)

    def test_what_no_epsilon_reaches_says_why(self):
        found = precise("mean(bmi)", {"all": {"width": 0.1}})["cheapest"]
        assert found["epsilon"] is None and "sampling alone" in found["reason"]
        found = precise("correlate(bmi, time_since_diagnosis)", {"all": {"width": 0.0721}})["cheapest"]
        assert found["epsilon"] is None or float(found["epsilon"]) > 1

    def test_more_than_a_query_may_have_is_said(self):
        found = precise("count()", {"all": {"width": 1}})["cheapest"]
        assert float(found["epsilon"]) > 1 and "allows 1 per query" in found["reason"]

    def test_is_searched_for_a_bounded_number_of_statements(self):
        program = "\n".join(f"count() where bmi > {20 + k}" for k in range(17))
        with pytest.raises(ProgramRejected) as caught:
            described(program, {"all": {"width": 5}})
        assert caught.value.code == "assumptions"


class TestSuppressed:
    def test_groups_that_are_registered_below_the_minimum_cohort_are_named(self):
        assert precise("mean(bmi) by relapse")["suppressed"] == [{"by": {"relapse": "unknown"}, "n": 6}]

    def test_groups_of_two_columns_are_planned_as_independent(self):
        suppressed = precise("count() by smoker, relapse")["suppressed"]
        assert [entry["by"] for entry in suppressed] == [
            {"smoker": "no", "relapse": "unknown"},
            {"smoker": "yes", "relapse": "unknown"},
        ]

    def test_nothing_is_said_of_groups_that_nobody_counted(self):
        assert precise("mean(bmi) by relapse", facts=some_facts(a_codebook(facts={})))["suppressed"] == []

    def test_a_supposed_n_counts_for_every_group(self):
        assert len(precise("mean(bmi) by relapse", {"all": {"n": 10}})["suppressed"]) == 3


class TestAssumptions:
    @pytest.mark.parametrize(
        "wrong",
        [
            [],
            {"2": {"sd": 1}},
            {"one": {"sd": 1}},
            {"1": 3},
            {"1": {"sd": 0}},
            {"1": {"sd": -1}},
            {"1": {"sd": "wide"}},
            {"1": {"n": 10.5}},
            {"1": {"event_rate": 1}},
            {"1": {"variance": 1}},
            {"1": {"sd": True}},
            {"1": {"sd": float("nan")}},
            {"1": {"sd": None}},
        ],
    )
    def test_that_say_nothing_sensible_are_refused_with_their_place(self, wrong):
        with pytest.raises(ProgramRejected) as caught:
            described("mean(bmi)", wrong)
        assert caught.value.code == "assumptions" and caught.value.message

    def test_of_one_statement_go_before_those_of_all(self):
        plan = described("mean(bmi)\nsd(bmi)", {"all": {"sd": 3, "n": 40}, "2": {"sd": 5}})
        first, second = (statement["precision"] for statement in plan["statements"])
        assert (first["sd"], first["n"], second["sd"], second["n"]) == (3, 40, 5, 40)


@settings(max_examples=40, deadline=None)
@given(
    program=st.sampled_from(
        [
            "count()",
            "sum(bmi) by relapse",
            "var(bmi) where bmi > 20",
            "correlate(bmi, time_till_death)",
            "correlate(region, smoker)",
            "proportion(death_flag, dead) by region",
        ]
    ),
    micro=st.integers(1000, 20_000_000),
    n=st.integers(1, 10**9),
    sd=st.floats(1e-6, 1e9),
    rate=st.floats(1e-6, 0.999999),
)
def test_whatever_is_supposed_a_preview_is_finite_json(program, micro, n, sd, rate):
    assumed = {"all": {"n": n, "sd": sd, "event_rate": rate, "effect": sd, "width": sd}}
    json.dumps(described(program, assumed, micro=micro), allow_nan=False)


def test_seconds_are_the_formula_s_for_three_networks():
    plan = compile("mean(bmi) by smoker", [STUDY], MICRO, "dp")
    spent = cost.estimate(plan)
    told = describe(plan, [STUDY])["seconds"]
    assert list(told) == [network.name for network in cost.NETWORKS]
    by_hand = spent.rounds * (0.020 + 0.0002) + spent.bytes_per_party * (8 / 1e9 + 4.5e-9)
    assert told["20 ms, 1 Gbit/s"] == pytest.approx(by_hand, rel=0.02, abs=0.001)
