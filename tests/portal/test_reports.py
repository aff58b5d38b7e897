"""What parties say of an attempt: signed, counted once, released when three agree."""

import json
from contextlib import suppress

import pytest

from analytics.query.approval import sign
from analytics.query.model import digest
from portal.audit.models import Event
from portal.budgets.models import Account, Kind, Line
from portal.queries import attempts
from portal.queries.models import Attempt, Query, Report

from . import factories
from .factories import zeros

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset():
    return factories.dataset()


@pytest.fixture
def run(dataset):
    return factories.running(dataset)


def account(dataset):
    row = Account.objects.get(pk=dataset.pk)
    return row.spent, row.reserved


def state(query):
    return Query.objects.get(pk=query.pk).state


def hashed(integers):
    return digest({"type": "fourfold/1/integers", "integers": integers})


class TestThreeOfFour:
    def test_four_equal_results_release_at_once(self, crew, dataset, run):
        query, _ = run
        for party in crew[:3]:
            party.post(party.result(query))
        assert state(query) == "RUNNING"
        crew[3].post(crew[3].result(query))
        assert state(query) == "RELEASED"
        assert account(dataset) == (1_000_000, 0)
        assert [(x.attempt, x.kind) for x in Line.objects.exclude(kind=Kind.RESERVED)] == [
            (1, "SPENT"),
            (2, "RETURNED"),
        ]

    def test_three_release_when_the_fourth_stays_silent(self, crew, settings, run):
        settings.FOURFOLD_RELEASE_GRACE = 0
        query, _ = run
        for party in crew[:2]:
            party.post(party.result(query))
            assert state(query) == "RUNNING"
        crew[3].post(crew[3].result(query))
        assert state(query) == "RELEASED"

    @pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
    def test_one_party_that_differs_is_outvoted(self, crew, run, order):
        query, _ = run
        for number in order:
            wrong = {"integers": zeros(query, 41)} if number == 2 else {}
            crew[number].post(crew[number].result(query, **wrong))
        assert state(query) == "RELEASED"
        body = json.loads(Query.objects.get(pk=query.pk).result.body)
        assert [s["party"] for s in body["signatures"]] == [0, 1, 3]
        assert body["integers"] == zeros(query)

    def test_one_party_that_aborts_does_not_stop_the_three(self, crew, run):
        query, _ = run
        crew[2].post(crew[2].word("abort", query, code="timeout", ready=True))
        for number in (0, 1, 3):
            crew[number].post(crew[number].result(query))
        assert state(query) == "RELEASED"

    def test_two_against_two_release_nothing_and_are_charged(self, crew, dataset, run):
        query, _ = run
        for party in crew:
            wrong = {"integers": zeros(query, 41)} if party.number >= 2 else {}
            party.post(party.result(query, **wrong))
        query.refresh_from_db()
        assert (query.state, query.code) == ("ABORTED", "no_agreement")
        assert account(dataset) == (1_000_000, 0)

    def test_equal_integers_of_different_sessions_are_not_equal(self, crew, run):
        query, _ = run
        for party in crew:
            party.post(party.result(query, session=("5" if party.number < 2 else "6") * 64))
        assert state(query) == "ABORTED"

    def test_a_result_again_changes_nothing(self, crew, run):
        query, _ = run
        said = crew[0].result(query)
        assert crew[0].post(said).json() == {"accepted": True}
        assert crew[0].post(said).json() == {"accepted": False}
        assert crew[0].post(crew[0].result(query, time=7)).json() == {"accepted": False}
        assert Report.objects.count() == 1

    def test_the_same_party_thrice_is_one_voice(self, crew, settings, run):
        settings.FOURFOLD_RELEASE_GRACE = 0
        query, _ = run
        for n in range(3):
            crew[0].post(crew[0].result(query, time=1_700_000_000 + n))
        assert state(query) == "RUNNING"

    def test_a_party_never_says_two_things(self, crew, run):
        query, _ = run
        crew[0].post(crew[0].result(query))
        for other in (
            crew[0].result(query, integers=zeros(query, 41)),
            crew[0].word("abort", query, code="timeout", ready=True),
        ):
            answer = crew[0].post(other)
            assert answer.status_code == 409 and answer.json()["code"] == "report_conflict"
        assert Event.objects.filter(kind="contradiction", by="party 0").count() == 2

    def test_nothing_more_happens_after_the_release(self, crew, dataset, run):
        query, attempt = run
        for party in crew:
            party.post(party.result(query))
        attempt.refresh_from_db()
        attempts.tend(attempt)
        attempts.end(attempt, [])
        assert state(query) == "RELEASED" and account(dataset) == (1_000_000, 0)


class TestARefusedPost:
    def test_is_one_with_another_party_s_signature(self, crew, run):
        query, _ = run
        said = crew[0].result(query)
        said["signature"] = sign(said["report"], crew[1].key)
        assert crew[0].post(said).json()["code"] == "bad_signature"

    def test_is_one_at_another_party_s_address(self, crew, run):
        query, _ = run
        said = crew[0].result(query)
        answer = crew[1].post(said)
        assert answer.status_code == 400
        assert not Report.objects.exists()

    def test_is_one_with_integers_that_were_not_signed(self, crew, run):
        query, _ = run
        said = crew[0].result(query)
        said["integers"] = zeros(query, 41)
        assert crew[0].post(said).json()["code"] == "result_hash"

    @pytest.mark.parametrize(
        "integers",
        [
            [],
            [[1, 2, 3]],
            [[1.5]],
            [["1"]],
            [[True]],
            [[None]],
            [[2**63]],
            [[-(2**63) - 1]],
            [[10**300]],
            "1",
            {},
            [7],
        ],
    )
    def test_is_one_whose_integers_do_not_fit_the_plan(self, crew, run, integers):
        query, _ = run
        said = crew[0].result(query)
        said["integers"] = integers
        assert crew[0].post(said).status_code == 400
        assert not Report.objects.exists()

    @pytest.mark.parametrize("edge", [2**63 - 1, -(2**63)])
    def test_is_not_one_with_integers_at_the_edge_of_the_ring(self, crew, run, edge):
        query, _ = run
        assert crew[0].post(crew[0].result(query, integers=zeros(query, edge))).status_code == 200

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"plan_hash": "a" * 64}, 409),
            ({"order_hash": "a" * 64}, 409),
            ({"attempt": 2}, 409),
            ({"query": "00000000-0000-4000-8000-000000000000"}, 409),
            ({"attempt": 0}, 400),
            ({"attempt": True}, 400),
            ({"attempt": 10**30}, 400),
            ({"query": 7}, 400),
            ({"query": "x"}, 400),
            ({"session": "short"}, 400),
            ({"result_hash": None}, 400),
            ({"time": -1}, 400),
            ({"time": 10**30}, 400),
            ({"party": 1}, 400),
            ({"party": False}, 400),
            ({"type": "fourfold/1/order"}, 400),
            ({"type": "result"}, 400),
            ({"type": ["fourfold/1/result"]}, 400),
            ({"log": "x" * 20_000}, 400),
            ({f"k{n}": n for n in range(30)}, 400),
        ],
        ids=str,
    )
    def test_is_one_out_of_bounds_even_when_it_is_signed(self, crew, run, change, status):
        query, _ = run
        said = crew[0].result(query)
        said["report"] |= change
        with suppress(ValueError):  # our own signer refuses some types already
            said["signature"] = sign(said["report"], crew[0].key)
        assert crew[0].post(said).status_code == status
        assert not Report.objects.exists()

    @pytest.mark.parametrize(
        "body",
        [{}, {"report": {}}, {"report": {}, "signature": ""}, {"report": [], "signature": 7}, {"report": None, "signature": None},
         {"report": {"type": "fourfold/1/heartbeat", "party": 0}, "signature": "a" * 128, "more": 1}],
    )  # fmt: skip
    def test_is_one_of_another_shape(self, crew, body):
        assert crew[0].post(body).status_code == 400

    @pytest.mark.parametrize(
        ("kind", "fields"),
        [
            ("abort", {"code": "timeout"}),
            ("abort", {"code": "timeout", "ready": "yes"}),
            ("abort", {"code": "the patient of row 7 is 93", "ready": True}),
            ("abort", {"code": "", "ready": True}),
            ("refusal", {}),
            ("refusal", {"code": "x" * 41}),
        ],
    )
    def test_is_one_with_a_detail_in_place_of_a_code(self, crew, run, kind, fields):
        assert crew[0].post(crew[0].word(kind, run[0], **fields)).status_code == 400

    @pytest.mark.parametrize(
        "change",
        [{"ledger": {}}, {"ledger": {"length": -1, "head": ""}}, {"ledger": 7}, {"busy": 1}, {"code_version": ""},
         {"ledger": {"length": 2**64, "head": ""}}, {"code_version": "x" * 100}],
    )  # fmt: skip
    def test_is_an_odd_heartbeat(self, crew, change):
        beat = {"code_version": "1", "ledger": {"length": 0, "head": ""}, "busy": False, **change}
        assert crew[0].post(crew[0].signed("heartbeat", **beat)).status_code == 400

    def test_integers_belong_to_results_alone(self, crew, run):
        query, _ = run
        lacking = crew[0].result(query)
        del lacking["integers"]
        assert crew[0].post(lacking).status_code == 400
        extra = crew[0].word("started", query) | {"integers": [[1]]}
        assert crew[0].post(extra).status_code == 400


class TestAnAttemptThatFails:
    def test_before_any_ready_costs_nothing_and_is_tried_again(self, crew, dataset, run):
        query, first = run
        for party in crew:
            party.post(party.word("abort", query, code="timeout", ready=False))
        first.refresh_from_db()
        assert (first.state, first.code, state(query)) == ("FAILED", "timeout", "RUNNING")
        assert account(dataset) == (0, 1_000_000)

    def test_after_one_ready_is_charged(self, crew, dataset, run):
        query, _ = run
        for party in crew:
            party.post(party.word("abort", query, code="timeout", ready=party.number == 3))
        assert account(dataset) == (1_000_000, 1_000_000)
        assert state(query) == "RUNNING"

    def test_twice_aborts_the_query_for_good(self, crew, dataset, run, settings):
        settings.FOURFOLD_PARTY_WAIT = 0
        from django.utils import timezone

        query, _ = run
        for number in (1, 2):
            for party in crew:
                said = party.word("abort", query, attempt=number, code="timeout", ready=False)
                assert party.post(said).status_code == 200
            query.refresh_from_db()
            if number == 1:
                assert attempts.begin_next(query, timezone.now()).number == 2
        assert (query.state, query.code, query.reason) == (
            "ABORTED",
            "timeout",
            "attempt 2 ended with timeout",
        )
        assert account(dataset) == (0, 0)

    def test_with_a_refusal_is_not_tried_again(self, crew, dataset, run):
        query, _ = run
        crew[1].post(crew[1].word("refusal", query, code="budget_exhausted"))
        for number in (0, 2, 3):
            crew[number].post(crew[number].word("abort", query, code="timeout", ready=False))
        query.refresh_from_db()
        assert (query.state, query.code) == ("ABORTED", "budget_exhausted")
        assert "party 1" in query.reason
        assert account(dataset) == (0, 0)

    def test_with_one_signed_result_is_not_tried_again(self, crew, dataset, run):
        query, _ = run
        crew[1].post(crew[1].result(query))
        for number in (0, 2, 3):
            crew[number].post(crew[number].word("abort", query, code="timeout", ready=True))
        query.refresh_from_db()
        assert (query.state, query.code) == ("ABORTED", "no_agreement")
        assert account(dataset) == (1_000_000, 0)

    def test_is_debited_late_when_a_ready_comes_to_light(self, crew, dataset, run):
        query, first = run
        for party in crew[:3]:
            party.post(party.word("abort", query, code="timeout", ready=False))
        attempts.end(first, list(first.reports.all()))
        assert account(dataset) == (0, 1_000_000)
        crew[3].post(crew[3].word("abort", query, code="cancelled", ready=True))
        assert account(dataset) == (1_000_000, 1_000_000)
        assert Event.objects.filter(kind="late debit").count() == 1

    def test_never_releases_a_late_result(self, crew, dataset, run):
        query, first = run
        attempts.end(first, [])
        for party in crew:
            assert party.post(party.result(query)).status_code == 200
        assert state(query) == "RUNNING"
        assert account(dataset) == (1_000_000, 1_000_000)

    def test_shows_its_code_and_no_more_to_the_analyst(self, as_, crew, run):
        query, _ = run
        for party in crew:
            party.post(party.word("abort", query, code="mismatch", ready=False))
        body = as_("analyst").get(f"queries/{query.pk}/").json()
        assert body["attempts"] == [{"number": 1, "state": "FAILED", "code": "mismatch"}]


def test_the_database_allows_one_running_attempt_and_one_last_word(run, crew):
    from django.db import IntegrityError, transaction

    query, attempt = run
    with pytest.raises(IntegrityError), transaction.atomic():
        Attempt.objects.create(query=query, number=2)
    crew[0].post(crew[0].word("abort", query, code="timeout", ready=False))
    with pytest.raises(IntegrityError), transaction.atomic():
        Report.objects.create(attempt=attempt, party=0, kind="result", body="{}", signature="")


def test_simultaneous_last_reports_release_once(unguarded, crew):
    import threading

    from django.db import connection

    query, _ = factories.running(factories.dataset())
    bodies = [(party, party.result(query)) for party in crew]
    gate = threading.Barrier(4)
    codes = []

    def post(party, body):
        gate.wait(60)
        codes.append(party.post(body).status_code)
        connection.close()

    threads = [threading.Thread(target=post, args=pair) for pair in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert codes == [200] * 4
    query.refresh_from_db()
    assert query.state == "RELEASED"
    assert Line.objects.filter(kind=Kind.SPENT).count() == 1
    assert query.events.filter(now="RELEASED").count() == 1
