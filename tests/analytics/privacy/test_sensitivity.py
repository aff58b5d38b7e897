"""Sensitivities: no patient moves a table by more than declared, and some patient moves it by exactly that.

The tables are those that programs compile to, evaluated over clear rows in plain integers: a patient is added or
removed, values and missing ones at random and at the corners of every column.
"""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.privacy import sensitivity
from analytics.query.plan import compile
from tests.analytics.query.studies import a_codebook, released, some_facts

# Codes that fill their bits, so that the corners are real patients.
CODEBOOK = a_codebook(
    fields=[
        {"name": "x", "type": "integer", "constraints": {"minimum": -8, "maximum": 7}},
        {
            "name": "y",
            "type": "number",
            "constraints": {"minimum": 0, "maximum": "15.75"},
            "resolution": "0.25",
        },
        {"name": "a", "type": "string", "categories": ["p", "q", "r", "s"]},
        {"name": "b", "type": "string", "categories": ["u", "v"]},
    ],
    capacity=64,
)
FACTS = some_facts(CODEBOOK)
CODES = {f.name: f.codes for f in FACTS.schema.fields}
PROGRAMS = [
    "count()",
    "count(x) where y > 3",
    "count() by a",
    "count(y) by a, b",
    "proportion(a, p) by b",
    "correlate(a, b)",
    "mean(x)",
    "mean(x, u) by a",
    "sum(y) where not a in (p, q)",
    "var(x)",
    "sd(y) by b",
    "sd(y) where x is missing or x >= 0 by a",
    "correlate(x, y)",
    "correlate(x, y) where b == u by a",
]
ROWS = st.fixed_dictionaries({name: st.none() | st.integers(0, codes - 1) for name, codes in CODES.items()})
CORNERS = [
    dict(zip(CODES, corner, strict=True))
    for corner in product(*([None, 0, codes // 2, codes - 1] for codes in CODES.values()))
]


def table(program, facts=FACTS, mode="dp"):
    (release,) = compile(program, [facts], 1_000_000, mode).releases
    return release


def moved(release, rows, patient):
    before, after = released(release, rows), released(release, [*rows, patient])
    return sum(abs(p - q) for p, q in zip(before, after, strict=True))


@pytest.mark.parametrize("program", PROGRAMS)
def test_some_patient_at_a_corner_moves_a_table_by_exactly_its_sensitivity(program):
    release = table(program)
    distances = {moved(release, [], corner) for corner in CORNERS}
    assert max(distances) == release.sensitivity
    assert distances <= {0, release.sensitivity}, "in a simplex everyone in the cohort weighs the same"


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ROWS, max_size=6), patient=ROWS, program=st.sampled_from(PROGRAMS))
def test_no_added_or_removed_patient_moves_a_table_by_more(rows, patient, program):
    release = table(program)
    assert moved(release, rows, patient) in (0, release.sensitivity)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(ROWS, max_size=4),
    patient=ROWS,
    program=st.sampled_from(["sd(x) by a", "correlate(x, y)", "mean(y)"]),
)
def test_exact_totals_change_by_no_more_than_the_largest_monomial(rows, patient, program):
    release = table(program, mode="exact")
    before, after = released(release, rows), released(release, [*rows, patient])
    assert max(abs(p - q) for p, q in zip(before, after, strict=True)) <= release.sensitivity


@pytest.mark.parametrize("program", ["sd(x)", "correlate(x, y)"])
def test_coarsened_columns_keep_their_declared_sensitivity(program):
    fine = a_codebook(
        fields=[
            {
                "name": "x",
                "type": "number",
                "constraints": {"minimum": 0, "maximum": "1.048575"},
                "resolution": "0.000001",
            },
            {
                "name": "y",
                "type": "number",
                "constraints": {"minimum": 0, "maximum": "1.048575"},
                "resolution": "0.000001",
            },
        ]
    )
    release = table(program, some_facts(fine, capacity=2**24))
    assert release.operands[0].dropped > 0
    distances = {
        moved(release, [], {"x": x, "y": y})
        for x in (None, 0, 2**19, 2**20 - 1)
        for y in (None, 0, 777, 2**20 - 1)
    }
    assert distances - {0} == {release.sensitivity}


@pytest.mark.parametrize("reach", [1, 2, 8, 2**12, 2**20])
def test_every_simplex_has_non_negative_terms_that_sum_to_the_sensitivity(reach):
    v = np.unique(np.clip(np.array([-reach, -reach + 1, -1, 0, 1, reach // 3, reach - 1]), -reach, reach - 1))
    powers = {(): v.astype(object) ** 0, **{(k,): v.astype(object) ** k for k in range(3)}}
    for made in (sensitivity.count(), sensitivity.sum_pair(reach), sensitivity.moment_simplex(reach)):
        totals = np.array([powers[exponents] for exponents in made.monomials], dtype=object)
        terms = np.array(made.transform, dtype=object) @ totals
        assert (terms >= 0).all()
        assert (terms.sum(axis=0) == made.sensitivity).all()


@pytest.mark.parametrize(("x", "y"), [(1, 1), (2, 16), (2**10, 2**9)])
def test_the_joint_simplex_is_the_product_of_two(x, y):
    made = sensitivity.joint_simplex(x, y)
    for u, v in product((-x, -1, 0, x - 1), (-y, 0, y - 1)):
        monomials = [u**i * v**j for i, j in made.monomials]
        terms = [sum(a * m for a, m in zip(row, monomials, strict=True)) for row in made.transform]
        bases = [[(m - w) ** 2, 2 * (m - w) * (m + w), (m + w) ** 2] for m, w in ((x, u), (y, v))]
        assert terms == [p * q for p in bases[0] for q in bases[1]]
        assert sum(terms) == made.sensitivity == 16 * x**2 * y**2


@given(bits=st.integers(1, 20), values=st.lists(st.integers(0, 2**20 - 1), max_size=8))
def test_the_figures_that_people_want_are_linear_in_the_simplex(bits, values):
    reach = 2 ** (bits - 1)
    v = [value % 2**bits - reach for value in values]
    n, s, q = len(v), sum(v), sum(x * x for x in v)
    b0, b1, b2 = (a * n + b * s + c * q for a, b, c in sensitivity.moment_simplex(reach).transform)
    assert b0 + b1 + b2 == 4 * reach**2 * n
    assert b2 - b0 == 4 * reach * s
    assert b0 - b1 + b2 == 4 * q
    a, b = (x * n + y * s for x, y in sensitivity.sum_pair(reach).transform)
    assert (a + b, a - b) == (2 * reach * n, 2 * s)


def test_a_table_that_one_patient_enters_twice_cannot_be_written():
    """Groups of one column are disjoint codes, and every code is in exactly one of them."""
    for program in PROGRAMS:
        for by in table(program).by:
            codes = [code for group in by.groups for code in group]
            assert sorted(codes) == list(range(CODES[by.column]))
