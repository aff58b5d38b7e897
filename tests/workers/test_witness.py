"""A party's memory of the audit trail only grows, and a trail that does not continue it is remembered as wrong."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.query.trail import START, extended
from workers.witness import Witness

DIGESTS = [f"{n:064x}" for n in range(1, 12)]


def answer(events, number=0, head=START):
    number, head = extended(number, head, events)
    return {"number": number, "hash": head, "events": list(events)}


@pytest.fixture
def witness(tmp_path):
    return Witness(tmp_path / "party.sqlite3")


def test_a_trail_is_followed_over_restarts(witness, tmp_path):
    assert witness.said() == {"number": 0, "hash": START, "wrong": False}
    first = answer(DIGESTS[:4])
    witness.hear(first)
    again = Witness(tmp_path / "party.sqlite3")
    again.hear(answer(DIGESTS[4:], first["number"], first["hash"]))
    number, head = extended(0, START, DIGESTS)
    assert again.said() == {"number": number, "hash": head, "wrong": False}


@pytest.mark.parametrize(
    "then",
    [
        answer(DIGESTS[:2]),  # cut
        answer([*DIGESTS[:3], DIGESTS[9]]),  # the last line replaced
        {"number": 0, "hash": START, "events": []},  # another database
        {"number": 5, "hash": "f" * 64, "events": [DIGESTS[5]]},  # a head that does not follow
    ],
)
def test_a_trail_that_does_not_continue_is_wrong_for_good_and_changes_nothing(witness, then):
    seen = answer(DIGESTS[:4])
    witness.hear(seen)
    witness.hear(then)
    assert witness.said() == {"number": 4, "hash": seen["hash"], "wrong": True}
    witness.hear({"number": 4, "hash": seen["hash"], "events": []})
    assert witness.said()["wrong"] is True


@settings(deadline=None, max_examples=40)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["number", "hash", "events", "x"]), x), max_leaves=8))  # fmt: skip
def test_an_answer_out_of_shape_changes_nothing(tmp_path_factory, odd):
    witness = Witness(tmp_path_factory.mktemp("w") / "party.sqlite3")
    witness.hear(odd)
    assert witness.said() == {"number": 0, "hash": START, "wrong": False}


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM audit_head",
        "UPDATE audit_head SET number = number - 1",
        "UPDATE audit_head SET hash = 'x'",
        "UPDATE audit_head SET wrong = 0 WHERE wrong = 1",
    ],
)
def test_the_file_itself_refuses_to_forget(witness, tmp_path, sql):
    witness.hear(answer(DIGESTS[:4]))
    witness.hear(answer(DIGESTS[:1]))
    with sqlite3.connect(tmp_path / "party.sqlite3") as db, pytest.raises(sqlite3.IntegrityError):
        db.execute(sql)
