"""Two hospitals in one question, from their own names and codes to figures: on real shares, against pandas."""

import numpy as np
import pandas as pd
import pytest

from analytics.execute import integers
from analytics.query import cost
from analytics.query.describe import describe
from analytics.query.errors import ProgramRejected
from analytics.query.plan import compile
from analytics.query.resolve import DatasetFacts
from analytics.query.schema import parse_codebook
from analytics.query.statistic import statistics
from analytics.reference import evaluate
from analytics.render import answer as answer_text
from analytics.statistics import figures
from tests.analytics import test_execute as shares
from tests.world import World

POLICY = {"epsilon": "10", "modes": ["dp", "exact"], "minimum_cohort": 1, "expires": "2035-01-01"}
AGE = {"type": "integer", "unit": "years", "constraints": {"minimum": 18, "maximum": 81}}
HERE = {
    "primaryKey": "p",
    "title": "Trial A",
    "capacity": 512,
    "policy": POLICY,
    "fields": [
        {**AGE, "name": "age"},
        {"name": "sex", "type": "string", "categories": ["female", "male"]},
        {"name": "stage", "type": "string", "categories": ["I", "II", "III"]},
    ],
}
THERE = {
    "primaryKey": "p",
    "title": "Trial B",
    "capacity": 320,
    "policy": POLICY,
    "fields": [
        {"name": "Stadium", "type": "string", "categories": ["4", "3", "2", "1a", "1b"]},
        {"name": "gender", "type": "string", "categories": ["m", "f"]},
        {**AGE, "name": "years"},
    ],
}
ALIGN = """align "Trial B" (gender = sex (m = male, f = female), years = age,
    Stadium = stage ("1a" = I, "1b" = I, 2 = II, 3 = III, 4 = IV))
"""
LABELS = {
    "sex": {"m": "male", "f": "female"},
    "stage": {"4": "IV", "3": "III", "2": "II", "1a": "I", "1b": "I"},
}


def study(codebook, number):
    schema = parse_codebook(codebook)
    return DatasetFacts(
        id=f"{number:032x}",
        version=1,
        manifest_hash=f"{number:064x}",
        capacity=schema.capacity,
        schema=schema,
        policy=dict(schema.policy),
    )


FACTS = [study(HERE, 1), study(THERE, 2)]
SIZES = (430, 290)


def made(rng):
    """Codes and presence of each hospital's rows, under its own names."""
    tables = []
    for facts, rows in zip(FACTS, SIZES, strict=True):
        table = {}
        for field in facts.schema.fields:
            present = rng.random(rows) < 0.9
            table[field.name] = (np.where(present, rng.integers(0, field.codes, rows), 0), present)
        tables.append(table)
    return tables


def together(tables):
    """What the rows say in the question's words."""
    frames = []
    for facts, table, renamed in zip(
        FACTS, tables, ({}, {"Stadium": "stage", "gender": "sex", "years": "age"}), strict=True
    ):
        frame = pd.DataFrame({"dataset": [facts.schema.title] * len(table[facts.schema.fields[0].name][0])})
        for field in facts.schema.fields:
            codes, present = table[field.name]
            name = renamed.get(field.name, field.name)
            if field.kind == "number":
                frame[name] = pd.Series(codes + 18.0).where(present)
            else:
                words = pd.Series([field.levels[code].label for code in codes]).where(present)
                frame[name] = words.replace(LABELS[name])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


PROGRAM = f"""{ALIGN}
mean(age) by dataset, sex
count() by stage
count() where stage in (I, IV) and sex == male by dataset
sd(age) where not (stage == II)
proportion(sex, male) by dataset
"""


def truth(tables):
    rows = together(tables)
    stages = rows["stage"].value_counts().to_dict()
    some = rows[rows["stage"].isin(["I", "IV"]) & (rows["sex"] == "male")]["dataset"].value_counts().to_dict()
    ages = rows.groupby(["dataset", "sex"])["age"].mean().to_dict()
    shares = (
        rows.dropna(subset="sex").groupby("dataset")["sex"].agg(lambda sex: (sex == "male").mean()).to_dict()
    )
    return [
        {(("dataset", d), ("sex", s)): age for (d, s), age in ages.items()},
        {(("stage", stage),): n for stage, n in stages.items()},
        {(("dataset", d),): n for d, n in some.items()},
        {(): rows[rows["stage"] != "II"]["age"].std()},
        {(("dataset", d),): share for d, share in shares.items()},
    ]


def said(statements):
    return [{tuple(g["by"].items()): g["value"] for g in s["groups"]} for s in statements]


@pytest.mark.parametrize(("mode", "order"), [("exact", 1), ("exact", -1), ("dp", 1)])
def test_pooled_figures_are_those_of_all_rows_together(mode, order):
    world = World(31)
    tables = made(world.rng)
    plan = compile(PROGRAM, FACTS[::order], 5 * 10**6, mode)
    assert [d.id for d in plan.datasets] == [facts.id for facts in FACTS]
    values = evaluate(plan, FACTS, tables)
    if mode == "exact":
        assert shares.outcome(world, plan, tables) == values
        shares.check_cost(world, plan)
    for found, wanted in zip(said(figures(plan, FACTS, values)), truth(tables), strict=True):
        assert found == pytest.approx(wanted, rel=1e-9)


def test_levels_that_one_hospital_lacks_are_told_with_the_answer():
    plan = compile(PROGRAM, FACTS, 10**6, "exact")
    answer = figures(plan, FACTS, evaluate(plan, FACTS, made(np.random.default_rng(32))))
    lacks = "Trial A has no level IV of stage: none of its patients has it"
    assert [s["warnings"] for s in answer] == [[], [lacks], [lacks], [lacks], []]


def test_noised_cells_of_each_dataset_are_near_its_own_counts():
    world = World(33)
    tables = made(world.rng)
    plan = compile(f"{ALIGN}count() by dataset, sex", FACTS, 20 * 10**6, "dp")
    found = shares.outcome(world, plan, tables)[0]
    wanted = evaluate(plan, FACTS, tables)[0]
    # Four samples of scale 1/20: each is 0 but for 4 in 10^9.
    assert found == wanted
    shares.check_cost(world, plan)


def test_small_cells_of_one_hospital_are_zeroed_and_the_other_hospitals_are_shown():
    world = World(34)
    tables = made(world.rng)
    here = {name: (codes[:40], present[:40]) for name, (codes, present) in tables[0].items()}
    facts = [study({**c, "policy": {**POLICY, "minimum_cohort": 30}}, k) for k, c in ((1, HERE), (2, THERE))]
    plan = compile(f"{ALIGN}count() by dataset, sex\ncount() by sex", facts, 1, "exact")
    values = shares.outcome(world, plan, [here, tables[1]])
    assert values == evaluate(plan, facts, [here, tables[1]])
    apart, pooled = figures(plan, facts, values)
    assert [g["suppressed"] for g in apart["groups"]] == [True, True, False, False]
    assert all(g["suppressed"] for g in pooled["groups"]), "a provider could subtract its own patients"
    shares.check_cost(world, plan)


def test_preview_and_answer_name_the_same_groups():
    plan = compile(PROGRAM, FACTS, 10**6, "dp")
    described = describe(plan, FACTS[::-1])
    answer = figures(plan, FACTS, evaluate(plan, FACTS, made(np.random.default_rng(35))))
    assert [s["groups"] for s in described["statements"]] == [len(s["groups"]) for s in answer]
    assert [s["warnings"] for s in described["statements"]] == [s["warnings"] for s in answer]
    assert described["rounds"] == cost.estimate(plan).rounds
    assert described["align"] == list(plan.align)
    assert integers(plan, np.zeros(described["released"], dtype=np.uint64))


def trial(number, **rows):
    """A trial of two arms: how many died and lived in each."""
    book = {
        "primaryKey": "p",
        "title": f"Trial {number}",
        "capacity": 1024,
        "policy": POLICY,
        "fields": [
            {
                "name": "death",
                "type": "string",
                "categories": ["yes", "no"],
                "role": "event",
                "occurred": "yes",
            },
            {"name": "arm", "type": "string", "categories": ["placebo", "drug"]},
        ],
    }
    codes = [
        (death, arm)
        for (arm, counts) in enumerate(rows.values())
        for death in (0, 1)
        for _ in range(counts[death])
    ]
    everybody = np.ones(len(codes), dtype=bool)
    columns = np.array(codes)
    return study(book, number), {"death": (columns[:, 0], everybody), "arm": (columns[:, 1], everybody)}


# The counts of Charig et al., BMJ 292 (1986), as two trials: the drug does better in each, and worse in the sum.
TRIALS = [trial(1, placebo=(36, 234), drug=(6, 81)), trial(2, placebo=(25, 55), drug=(71, 192))]


@pytest.mark.parametrize(("mode", "epsilon"), [("exact", 1), ("dp", 20)])
def test_an_effect_is_taken_within_each_trial_and_turns_around_without_strata(mode, epsilon):
    facts, tables = zip(*TRIALS, strict=True)
    program = """risk_difference(death, arm, yes)
        risk_difference(death, arm, yes) unstratified
        risk_difference(death, arm, yes) by dataset
        odds_ratio(death, arm, yes)"""
    plan = compile(program, facts, epsilon * 10**6, mode)
    stratified, crude, each, odds = figures(plan, facts, evaluate(plan, facts, tables))
    assert [s["warnings"] for s in (stratified, crude, each, odds)] == [
        [],
        ["pooled without strata: an effect can change its sign"],
        [],
        [],
    ]
    risks = [(71 / 263 - 25 / 80), (6 / 87 - 36 / 270)]
    assert [g["by"]["dataset"] for g in each["groups"]] == ["Trial 1", "Trial 2"]
    assert [g["value"] for g in each["groups"]] == pytest.approx(risks[::-1], abs=1e-9)
    (pooled,), (sum_of_both,) = stratified["groups"], crude["groups"]
    assert sum_of_both["value"] == pytest.approx(77 / 350 - 61 / 350, abs=1e-9)
    assert pooled["value"] < 0 < sum_of_both["value"]
    assert [one["stratum"] for one in pooled["strata"]] == [{"dataset": "Trial 1"}, {"dataset": "Trial 2"}]
    # Mantel and Haenszel's, by hand: sums of a d / n and b c / n over the trials.
    parts = [(6 * 234 / 357, 81 * 36 / 357), (71 * 55 / 343, 192 * 25 / 343)]
    assert odds["groups"][0]["value"] == pytest.approx(sum(p for p, _ in parts) / sum(q for _, q in parts))


def test_an_effect_over_two_trials_is_the_same_on_shares():
    facts, tables = zip(*TRIALS, strict=True)
    world = World(36)
    plan = compile("risk_ratio(death, arm, yes)", facts, 1, "exact")
    assert plan.releases[0].parted
    assert shares.outcome(world, plan, tables) == evaluate(plan, facts, tables)
    shares.check_cost(world, plan)


def followed(number, flag, months):
    """A trial with an arm, an age and a time until an event, each under a name of its own."""
    book = {
        "primaryKey": "p",
        "title": f"Trial {number}",
        "capacity": 512,
        "policy": POLICY,
        "fields": [
            {"name": flag, "type": "string", "categories": ["no", "yes"], "role": "event", "occurred": "yes"},
            {
                "name": months,
                "type": "integer",
                "unit": "months",
                "constraints": {"minimum": 0, "maximum": 63},
                "role": "time",
                "event": flag,
            },
            {"name": "arm", "type": "string", "categories": ["placebo", "drug"]},
            {"name": "sex", "type": "string", "categories": ["female", "male"]},
            {**AGE, "name": "age"},
        ],
    }
    return study(book, number)


EFFECTS = sorted(s.name for s in statistics().values() if s.strata is not None)


@pytest.mark.parametrize("name", EFFECTS)
def test_every_effect_is_stratified_by_dataset_whatever_the_datasets_call_its_columns(name):
    facts = [followed(1, "death", "time"), followed(2, "died", "months")]
    align = 'align "Trial 2" (died = death, months = time)\n'
    rng = np.random.default_rng(37)
    tables = []
    for fact in facts:
        everybody = np.ones(400, dtype=bool)
        tables.append({f.name: (rng.integers(0, f.codes, 400), everybody) for f in fact.schema.fields})
    plans = []
    for arguments in (
        "death, arm, yes",
        "death, arm",
        "age, arm",
        "time, arm",
        "death, time, arm",
        "age, time",
    ):
        if name == "mantel_haenszel":  # is about strata: without a dataset's it needs another
            arguments = arguments.replace("arm", "arm, sex")
        try:
            plans = [
                compile(f"{align}{name}({arguments}){more}", facts, 10**6, "exact")
                for more in ("", " by dataset", " unstratified")
            ]
            break
        except ProgramRejected as refused:
            assert refused.code != "datasets_differ"
    assert [plan.releases[0].parted for plan in plans] == [True, True, False], "name its columns above"
    answers = [figures(plan, facts, evaluate(plan, facts, tables))[0] for plan in plans]
    groups = [answer["groups"] for answer in answers]
    assert {g["by"]["dataset"] for g in groups[1]} == {"Trial 1", "Trial 2"}
    assert len(groups[1]) == 2 * len(groups[0]) == 2 * len(groups[2])
    assert [bool(answer["warnings"]) for answer in answers] == [False, False, True]
    values = [[g["value"] for g in found] for found in groups]
    assert all(value is not None for found in values for value in found)
    # Within the trials and then together is neither of them, and lies between the two.
    low, high = np.array(values[1]).reshape(2, -1).min(axis=0), np.array(values[1]).reshape(2, -1).max(axis=0)
    assert (low <= values[0]).all() and (values[0] <= high).all()
    described = describe(plans[0], facts)["statements"][0]
    assert "within each dataset" in described["words"]
    assert answer_text({"mode": "exact", "statements": answers})
