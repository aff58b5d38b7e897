"""A question whose tables its analyst was told already is answered without parties, price or operator."""

import copy

import pytest

from analytics.check import agreed, recomputed
from analytics.client import Unverified
from portal.audit.models import Event
from portal.budgets.models import Account

from . import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset():
    return factories.dataset()


def spent(dataset):
    account = Account.objects.get(pk=dataset.chain)
    return account.spent, account.reserved


def asked(dataset, program, epsilon="1"):
    return {"program": program, "datasets": [dataset.pk], "epsilon": epsilon}


def submit(as_, dataset, program, epsilon="1", who="analyst"):
    return as_(who).post("queries/", asked(dataset, program, epsilon)).json()


def body_of(as_, made, who="analyst"):
    return as_(who).get(f"queries/{made['id']}/result/").json()


def verify(as_, dataset, crew, body, program, epsilon="1"):
    assert agreed(body, [p.public for p in crew]) == [0, 1, 2, 3]
    recomputed(body, program, epsilon, "dp", [as_("analyst").get(f"datasets/{dataset.pk}/").json()])


def test_the_same_tables_in_other_statements_cost_nothing_and_say_so(as_, dataset, crew):
    first = factories.released(crew, dataset, program="mean(age) by arm; count() by arm", epsilon="2")
    before = spent(dataset)
    preview = as_("analyst").post("queries/preview/", asked(dataset, "sd(age) by arm")).json()
    assert (preview["charge"], preview["from"], preview["stored"]) == ("0.000000", [str(first.pk)], False)
    assert preview["told"] == f"costs nothing: released with query {first.pk}"
    made = submit(as_, dataset, "sd(age) by arm")
    assert made["state"] == "RELEASED"
    assert [e["now"] for e in made["events"]] == ["SUBMITTED", "APPROVED", "RUNNING", "RELEASED"]
    assert spent(dataset) == before
    body = body_of(as_, made)
    assert (body["from"], body["charged"], body["signatures"]) == ([str(first.pk)], "0.000000", [])
    verify(as_, dataset, crew, body, "sd(age) by arm")


def test_it_is_in_the_audit_trail(as_, dataset, crew):
    first = factories.released(crew, dataset)
    made = submit(as_, dataset, factories.PROGRAM, "0.5")
    kinds = Event.objects.filter(subject=f"query {made['id']}").values_list("kind", flat=True)
    assert {"query submitted", "query released"} <= set(kinds)
    event = Event.objects.get(subject=f"query {made['id']}", kind="query released")
    assert str(first.pk) in event.detail["reason"] and event.by == "released cells"


def test_a_coarser_table_is_summed_from_signed_integers(as_, dataset, crew):
    factories.released(crew, dataset, program="count() by arm", epsilon="2")
    made = submit(as_, dataset, "count(arm); count() where arm == control")
    body = body_of(as_, made)
    assert body["integers"] == [[80], [40]]
    assert [s["groups"][0]["n"] for s in body["statements"]] == [80, 40]
    one, two = (s["groups"][0]["noise_scale"]["value"] for s in body["statements"])
    assert 2**0.5 * two <= one <= 1.6 * two  # of integers, a little more than the sum's own
    verify(as_, dataset, crew, body, "count(arm); count() where arm == control")


def test_tables_of_several_queries_answer_one_program(as_, dataset, crew):
    one = factories.released(crew, dataset, program="count() by arm")
    two = factories.released(crew, dataset, program="mean(age)")
    made = submit(as_, dataset, "var(age); count() by arm", "2")
    body = body_of(as_, made)
    assert set(body["from"]) == {str(one.pk), str(two.pk)}
    verify(as_, dataset, crew, body, "var(age); count() by arm", "2")


def test_a_forged_answer_from_released_cells_is_caught(as_, dataset, crew):
    factories.released(crew, dataset, program="count() by arm", epsilon="2")
    body = body_of(as_, submit(as_, dataset, "count(arm)"))
    changed = copy.deepcopy(body)
    changed["integers"] = [[81]]
    with pytest.raises(Unverified, match="no sums|not sums"):
        verify(as_, dataset, crew, changed, "count(arm)")
    changed = copy.deepcopy(body)
    changed["sources"][0]["integers"][0][0] += 1
    with pytest.raises(Unverified, match="signed other integers"):
        verify(as_, dataset, crew, changed, "count(arm)")
    changed = copy.deepcopy(body)
    changed["sources"][0]["program"] = "count() by arm where age > 3"
    with pytest.raises(Unverified):
        verify(as_, dataset, crew, changed, "count(arm)")
    changed = copy.deepcopy(body)
    changed["sources"] = []
    with pytest.raises(Unverified, match="does not hold them"):
        verify(as_, dataset, crew, changed, "count(arm)")


def test_more_precision_than_was_released_is_asked_of_the_parties(as_, dataset, crew):
    factories.released(crew, dataset, epsilon="1")
    preview = as_("analyst").post("queries/preview/", asked(dataset, factories.PROGRAM, "2")).json()
    assert (preview["charge"], preview["from"], preview["told"]) == ("2.000000", [], "")
    assert submit(as_, dataset, factories.PROGRAM, "2")["state"] == "SUBMITTED"


def test_what_only_another_analyst_was_told_is_not_at_hand(as_, dataset, crew):
    factories.released(crew, dataset, program="mean(age) by arm", epsilon="2")
    assert submit(as_, dataset, "sd(age) by arm", who="analyst2")["state"] == "SUBMITTED"


def test_an_answer_from_cells_is_no_stored_answer_for_others(as_, dataset, crew):
    """It holds the integers of all that its analyst was told there."""
    factories.released(crew, dataset, program="mean(age) by arm; count()", epsilon="2")
    assert submit(as_, dataset, "sd(age) by arm")["state"] == "RELEASED"
    assert submit(as_, dataset, "sd(age) by arm", who="analyst2")["state"] == "SUBMITTED"
    again = submit(as_, dataset, "sd(age) by arm")
    assert again["state"] == "RELEASED" and body_of(as_, again)["stored_from"] is None


def test_a_stored_answer_that_the_analyst_got_is_at_hand_and_verifies(as_, dataset, crew):
    factories.released(crew, dataset, program="mean(age) by arm", epsilon="2", analyst="analyst2")
    same = submit(as_, dataset, "mean(age) by arm", "2")
    assert same["state"] == "RELEASED"
    made = submit(as_, dataset, "sd(age) by arm")
    body = body_of(as_, made)
    assert body["from"] == [same["id"]]
    verify(as_, dataset, crew, body, "sd(age) by arm")


def test_a_mixed_program_is_charged_whole_and_told_what_would_be_free(as_, dataset, crew):
    first = factories.released(crew, dataset, program="mean(age) by arm", epsilon="2")
    program = "sd(age) by arm; count()"
    preview = as_("analyst").post("queries/preview/", asked(dataset, program, "2")).json()
    assert (preview["charge"], preview["from"]) == ("2.000000", [])
    assert preview["free_statements"] == [{"statement": 1, "epsilon": "1.000000", "from": [str(first.pk)]}]
    assert "free if asked alone: statement 1 (epsilon 1.000000)" in preview["told"]
    assert submit(as_, dataset, program, "2")["state"] == "SUBMITTED"


def test_an_older_version_still_says_what_it_was_asked(as_, dataset, crew):
    factories.released(crew, dataset, program="mean(age) by arm", epsilon="2")
    type(dataset).objects.filter(pk=dataset.pk).update(state="SUPERSEDED")
    assert submit(as_, dataset, "sd(age) by arm")["state"] == "RELEASED"


def test_the_policy_still_decides_what_may_be_asked(as_, crew):
    narrow = factories.dataset(book=factories.codebook(statistics=["mean"]))
    factories.released(crew, narrow, program="mean(age) by arm", epsilon="2")
    answer = as_("analyst").post("queries/", asked(narrow, "sd(age) by arm"))
    assert 400 <= answer.status_code < 500
