"""A question from submission to answer, as people see it through the REST interface."""

import json

import pytest

from analytics.query import order as orders
from analytics.query.model import canonical
from analytics.query.tree import Name
from portal.budgets.models import Account
from portal.keys import portal_public
from portal.queries import attempts
from portal.queries.models import Query
from portal.registry.models import Dataset

from . import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset():
    return factories.dataset()


def submit(as_, dataset, **changes):
    body = {"program": factories.PROGRAM, "datasets": [dataset.pk], "epsilon": "1", "mode": "dp", **changes}
    return as_(changes.pop("who", "analyst")).post("queries/", body)


def account(dataset):
    row = Account.objects.get(pk=dataset.pk)
    return row.spent, row.reserved


class TestSubmitting:
    def test_answers_with_the_contract_s_keys(self, as_, dataset):
        answer = submit(as_, dataset)
        assert answer.status_code == 201
        body = answer.json()
        assert {
            "id",
            "state",
            "program",
            "datasets",
            "epsilon",
            "mode",
            "plan",
            "created",
            "released",
        } <= set(body)
        assert (body["state"], body["program"], body["epsilon"], body["mode"], body["released"]) == (
            "SUBMITTED",
            factories.PROGRAM,
            "1.000000",
            "dp",
            None,
        )
        assert body["datasets"] == [dataset.pk]
        assert answer["Location"] == f"/api/queries/{body['id']}/"
        assert as_("analyst").get(f"queries/{body['id']}/").json() == body

    @pytest.mark.parametrize(
        ("given", "kept"),
        [("1.0", "1.000000"), (1, "1.000000"), (0.1, "0.100000"), ("0.0000001", "0.000001")],
    )
    def test_reads_epsilon_as_text_or_number_and_rounds_up(self, as_, dataset, given, kept):
        assert submit(as_, dataset, epsilon=given).json()["epsilon"] == kept

    def test_takes_the_json_form_and_keeps_its_text(self, as_, dataset):
        program = {"statements": [{"statistic": "mean", "columns": ["age"], "by": ["arm"]}]}
        body = submit(as_, dataset, program=program).json()
        text = submit(as_, dataset, program="mean(age) by arm").json()
        assert body["plan_hash"] == text["plan_hash"]
        assert isinstance(body["program"], str)

    def test_keeps_nothing_when_only_previewed(self, as_, dataset):
        body = {"program": "mean(age)", "datasets": [dataset.pk], "epsilon": "1"}
        answer = as_("analyst").post("queries/preview/", body)
        assert answer.status_code == 200
        assert answer.json()["plan"]["statements"][0]["expected_error"]["half_width"] > 0
        assert answer.json()["plan_hash"] == submit(as_, dataset, **body).json()["plan_hash"]
        assert Query.objects.count() == 1

    def test_needs_no_epsilon_in_exact_mode_and_charges_none(self, as_, dataset):
        answer = as_("analyst").post(
            "queries/", {"program": "count()", "datasets": [dataset.pk], "mode": "exact"}
        )
        assert answer.status_code == 201
        assert answer.json()["epsilon"] == "0.000000"

    def test_does_not_depend_on_the_order_of_datasets(self, as_, dataset):
        other = factories.dataset(provider="provider2")
        there = submit(as_, dataset, datasets=[dataset.pk, other.pk]).json()
        back = submit(as_, dataset, datasets=[other.pk, dataset.pk]).json()
        assert there["plan_hash"] == back["plan_hash"]

    def test_says_what_a_dataset_calls_its_columns(self, as_, dataset):
        book = factories.codebook(minimum_cohort=30)
        book["title"] = "Another trial"
        book["fields"][0] |= {
            "name": "group",
            "categories": [{"value": "c", "label": "control"}, {"value": "a"}],
        }
        other = factories.dataset(provider="provider2", book=book)
        asked = {"statements": [{"statistic": "mean", "columns": ["age"], "by": ["dataset", "arm"]}]}
        both = [dataset.pk, other.pk]
        refused = submit(as_, dataset, datasets=both, program=asked)
        assert refused.status_code == 400 and refused.json()["code"] == "datasets_differ"
        assert 'align "Another trial" (' in refused.json()["detail"]
        asked["align"] = [{"dataset": "another trial", "columns": [{"column": "group", "as": "arm"}]}]
        body = submit(as_, dataset, datasets=both, program=asked).json()
        assert body["program"] == 'align "another trial" (group = arm)\nmean(age) by dataset, arm'
        assert body["plan"]["align"] == [f"align {Name(other.pk)} (group = arm)"]
        assert body["plan"]["minimum_cohort"] == 30
        query = Query.objects.get(pk=body["id"])
        again = submit(as_, dataset, datasets=both, program=query.program).json()
        assert again["plan_hash"] == body["plan_hash"] == query.plan_hash

    @pytest.mark.parametrize("state", ["UPLOADING", "CHECKING", "REJECTED", "WITHDRAWN"])
    def test_is_only_about_datasets_that_are_ready(self, as_, state):
        unready = factories.dataset(state)
        answer, absent = submit(as_, unready), submit(as_, unready, datasets=["e" * 32])
        assert answer.status_code == absent.status_code == 400
        assert answer.json()["detail"].replace(unready.pk, "e" * 32) == absent.json()["detail"]

    def test_respects_the_modes_that_the_provider_signed(self, as_):
        careful = factories.dataset(book=factories.codebook(modes=["dp"]))
        assert submit(as_, careful, mode="exact").json()["code"] == "mode_not_allowed"

    def test_the_text_is_kept_as_it_was_written(self, as_, dataset):
        program = "# how many?\ncount()   # all\n"
        assert submit(as_, dataset, program=program).json()["program"] == program


class TestDeciding:
    def test_approval_reserves_every_attempt_of_every_dataset(self, as_, dataset):
        other = factories.dataset(provider="provider2")
        query = submit(as_, dataset, datasets=[dataset.pk, other.pk]).json()["id"]
        answer = as_("operator").post(f"queries/{query}/approve/", {"reason": "fine"})
        assert answer.status_code == 200 and answer.json()["state"] == "APPROVED"
        assert answer.json()["approved_by"] == "operator"
        assert account(dataset) == account(other) == (0, 2_000_000)
        budget = as_("analyst").get(f"budget/?dataset={dataset.pk}").json()
        wanted = [
            {
                "dataset": dataset.pk,
                "chain": dataset.pk,
                "total": "10.000000",
                "spent": "0.000000",
                "reserved": "2.000000",
                "left": "8.000000",
            }
        ]
        assert [{key: line[key] for key in wanted[0]} for line in budget] == wanted

    def test_approval_without_a_body_is_a_yes_too(self, as_, dataset):
        query = submit(as_, dataset).json()["id"]
        assert as_("operator").post(f"queries/{query}/approve/").status_code == 200

    def test_one_attempt_is_allowed_where_the_budget_covers_one(self, as_):
        scarce = factories.dataset(book=factories.codebook(epsilon="1.5", epsilon_per_query="1"))
        query = submit(as_, scarce).json()["id"]
        assert as_("operator").post(f"queries/{query}/approve/", {}).status_code == 200
        assert Query.objects.get(pk=query).order.max_attempts == 1
        assert account(scarce) == (0, 1_000_000)

    def test_order_and_approval_are_what_parties_accept(self, as_, dataset, crew):
        query, _ = factories.running(dataset)
        for party in crew:
            envelope = party.get(f"/api/parties/{party.number}/orders/{query.pk}/").json()
            order, approval = orders.check(
                envelope, portal_public_hex=portal_public()["sign"], now=query.approved_at.timestamp()
            )
            assert (order.query, order.program, order.plan_hash) == (
                str(query.pk),
                query.program,
                query.plan_hash,
            )
            assert (order.micro_epsilon, order.max_attempts, order.analyst) == (1_000_000, 2, "analyst")
            assert (order.minimum_cohort, order.mode) == (11, "dp")
            assert [d.id for d in order.datasets] == [dataset.pk]
            assert (approval.by, envelope["attempt"]) == ("operator", 1)
            assert envelope["datasets"][0]["manifest"]["dataset"] == dataset.pk

    def test_no_order_is_served_before_it_runs(self, crew, dataset):
        query = factories.approved(dataset)
        assert crew[0].get(f"/api/parties/0/orders/{query.pk}/").status_code == 404

    def test_nobody_approves_a_query_of_their_own(self, as_, dataset):
        from portal.accounts.models import User
        from portal.queries.actions import NotAllowed, approve, refuse

        query = submit(as_, dataset).json()["id"]
        User.objects.filter(username="analyst").update(role="operator")
        asker = User.objects.get(username="analyst")
        for act in (lambda: approve(query=Query.objects.get(pk=query), by=asker),
                    lambda: refuse(query=Query.objects.get(pk=query), by=asker, reason="no")):  # fmt: skip
            with pytest.raises(NotAllowed):
                act()

    def test_a_refusal_says_why_and_costs_nothing(self, as_, dataset):
        query = submit(as_, dataset).json()["id"]
        for empty in ({}, {"reason": "  "}):
            assert as_("operator").post(f"queries/{query}/refuse/", empty).json()["code"] == "reason_needed"
        assert as_("operator").post(f"queries/{query}/refuse/", {"reason": "too broad"}).status_code == 200
        body = as_("analyst").get(f"queries/{query}/result/")
        assert body.status_code == 409
        assert (body.json()["code"], body.json()["detail"]) == ("refused", "too broad")
        assert account(dataset) == (0, 0)

    @pytest.mark.parametrize("decision", ["approve", "refuse"])
    def test_a_decision_is_made_once(self, as_, dataset, decision):
        query = submit(as_, dataset).json()["id"]
        operator = as_("operator")
        operator.post(f"queries/{query}/approve/", {})
        answer = operator.post(f"queries/{query}/{decision}/", {"reason": "again"})
        assert answer.status_code == 409 and answer.json()["code"] == "illegal_move"
        assert account(dataset) == (0, 2_000_000)

    def test_withdrawing_returns_what_was_reserved(self, as_, dataset):
        query = submit(as_, dataset).json()["id"]
        as_("operator").post(f"queries/{query}/approve/", {})
        assert as_("analyst").post(f"queries/{query}/withdraw/").json()["state"] == "WITHDRAWN"
        assert account(dataset) == (0, 0)
        assert as_("analyst").get(f"queries/{query}/result/").json()["code"] == "withdrawn"

    def test_what_runs_is_not_withdrawn(self, as_, dataset):
        query, _ = factories.running(dataset)
        assert as_("analyst").post(f"queries/{query.pk}/withdraw/").status_code == 409

    def test_a_dataset_withdrawn_meanwhile_stops_the_approval(self, as_, dataset):
        query = submit(as_, dataset).json()["id"]
        Dataset.objects.filter(pk=dataset.pk).update(state="WITHDRAWN")
        assert as_("operator").post(f"queries/{query}/approve/", {}).status_code == 409
        assert account(dataset) == (0, 0)

    def test_a_policy_that_ended_meanwhile_stops_the_approval(self, as_, dataset, monkeypatch):
        from portal.queries import actions

        query = submit(as_, dataset).json()["id"]
        monkeypatch.setattr(actions.time, "time", lambda: 5e9)
        answer = as_("operator").post(f"queries/{query}/approve/", {})
        assert answer.status_code == 409 and "policy ended" in answer.json()["detail"]
        assert account(dataset) == (0, 0)

    @pytest.mark.parametrize("reason", [7, ["x"], {"a": 1}, "x" * 4097])
    def test_a_reason_is_text_in_bounds(self, as_, dataset, reason):
        query = submit(as_, dataset).json()["id"]
        assert as_("operator").post(f"queries/{query}/refuse/", {"reason": reason}).status_code in (200, 400)


class TestTheModeOfADataset:
    def test_is_fixed_by_the_first_order_that_runs(self, as_, dataset, crew):
        waiting = factories.query(dataset, mode="exact")
        factories.running(dataset)
        assert Dataset.objects.get(pk=dataset.pk).mode == "dp"
        assert submit(as_, dataset, mode="exact").json()["code"] == "mode_fixed"
        assert as_("operator").post(f"queries/{waiting.pk}/approve/", {}).status_code == 409

    def test_stops_an_order_of_the_other_mode_that_was_approved_before(self, dataset):
        from portal.queries import attempts

        exact = factories.approved(dataset, mode="exact")
        factories.running(dataset)
        assert attempts.begin(exact) is None
        exact.refresh_from_db()
        assert (exact.state, exact.code) == ("ABORTED", "mode_fixed")

    def test_is_free_until_then(self, as_, dataset):
        factories.approved(dataset)
        assert submit(as_, dataset, mode="exact").status_code == 201


class TestTheAnswer:
    @pytest.mark.parametrize("advance", ["query", "approved", "running"])
    def test_is_waited_for_with_retry_after(self, as_, dataset, advance):
        made = getattr(factories, advance)(dataset)
        query = made[0] if isinstance(made, tuple) else made
        answer = as_("analyst").get(f"queries/{query.pk}/result/")
        assert answer.status_code == 202 and int(answer["Retry-After"]) >= 1
        assert answer.json() == {"query": str(query.pk), "state": query.state}

    def test_has_the_contract_s_keys_and_charges_what_was_used(self, as_, dataset, crew):
        query = factories.released(crew, dataset, program="mean(age) by arm; count()")
        body = as_("analyst").get(f"queries/{query.pk}/result/").json()
        assert {"query", "mode", "epsilon", "datasets", "statements", "integers", "signatures"} <= set(body)
        assert (body["query"], body["charged"]) == (str(query.pk), "1.000000")
        assert [s["text"] for s in body["statements"]] == ["mean(age) by arm", "count()"]
        assert [g["by"] for g in body["statements"][0]["groups"]] == [{"arm": "a"}, {"arm": "control"}]
        assert [s["party"] for s in body["signatures"]] == [0, 1, 2, 3]
        assert account(dataset) == (1_000_000, 0)

    def test_is_the_same_bytes_every_time_with_an_etag(self, as_, dataset, crew):
        query = factories.released(crew, dataset)
        path = f"queries/{query.pk}/result/"
        first, second = as_("analyst").get(path), as_("analyst").get(path)
        assert first.content == second.content and first["ETag"] == second["ETag"]
        known = as_("analyst").get(path, headers={"If-None-Match": first["ETag"]})
        assert known.status_code == 304 and not known.content
        weak = as_("analyst").get(path, headers={"If-None-Match": f"W/{first['ETag']}"})
        assert weak.status_code == 304
        assert as_("analyst").get(path, headers={"If-None-Match": '"x"'}).status_code == 200

    def test_verifies_against_the_parties_keys(self, as_, dataset, crew):
        from analytics.check import agreed

        query = factories.released(crew, dataset)
        body = as_("analyst").get(f"queries/{query.pk}/result/").json()
        assert sorted(agreed(body, [p.public for p in crew])) == [0, 1, 2, 3]

    def test_of_an_exact_question_is_charged_nothing(self, as_, dataset, crew):
        query = factories.released(crew, dataset, mode="exact")
        body = as_("analyst").get(f"queries/{query.pk}/result/").json()
        assert (body["mode"], body["epsilon"], body["charged"]) == ("exact", "0.000000", "0.000000")
        assert account(dataset) == (0, 0)

    def test_of_an_aborted_query_is_a_conflict_with_a_code(self, as_, dataset, crew):
        query, _ = factories.running(dataset)
        for party in crew:
            party.post(party.word("refusal", query, code="policy"))
        answer = as_("analyst").get(f"queries/{query.pk}/result/")
        assert answer.status_code == 409
        assert (answer.json()["code"], answer.json()["abort_code"]) == ("aborted", "policy")


class TestAnIdenticalPlan:
    def test_gets_the_stored_answer_at_once_and_free(self, as_, dataset, crew):
        first = factories.released(crew, dataset, program="mean(age) by arm")
        before = account(dataset)
        again = submit(as_, dataset, program="  MEAN( 'Age' )  by   ARM # again\n", who="analyst2")
        assert again.json()["state"] == "RELEASED"
        assert account(dataset) == before
        old = as_("analyst").get(f"queries/{first.pk}/result/").json()
        new = as_("analyst2").get(f"queries/{again.json()['id']}/result/").json()
        assert json.dumps(old["statements"]) == json.dumps(new["statements"])
        assert canonical(old["integers"]) == canonical(new["integers"])
        assert new["charged"] == "0.000000" and new["stored_from"] == str(first.pk)
        assert old["signatures"] == new["signatures"]
        from analytics.check import agreed

        assert agreed(new, [p.public for p in crew]) == [0, 1, 2, 3]

    def test_says_so_in_its_events(self, as_, dataset, crew):
        first = factories.released(crew, dataset)
        body = submit(as_, dataset).json()
        assert [e["now"] for e in body["events"]] == ["SUBMITTED", "APPROVED", "RUNNING", "RELEASED"]
        assert all(str(first.pk) in e["reason"] for e in body["events"][1:])

    def test_that_was_approved_before_the_release_is_not_run_again(self, dataset, crew):
        from portal.queries import attempts

        rival = factories.approved(dataset)
        factories.released(crew, dataset)
        assert account(dataset) == (1_000_000, 2_000_000)
        assert attempts.begin(rival) is None
        rival.refresh_from_db()
        assert rival.state == "RELEASED" and account(dataset) == (1_000_000, 0)

    def test_that_waits_is_released_by_the_operator_s_yes_without_a_charge(self, as_, dataset, crew):
        rival = factories.query(dataset)
        factories.released(crew, dataset)
        answer = as_("operator").post(f"queries/{rival.pk}/approve/", {})
        assert answer.json()["state"] == "RELEASED" and account(dataset) == (1_000_000, 0)

    @pytest.mark.parametrize(
        "changes", [{"epsilon": "1.1"}, {"program": "count() where age >= 61"}, {"program": "count()"}]
    )
    def test_is_another_plan_with_another_epsilon_or_filter(self, as_, dataset, crew, changes):
        factories.released(crew, dataset)
        assert submit(as_, dataset, **changes).json()["state"] == "SUBMITTED"

    def test_of_other_datasets_is_another_plan(self, as_, dataset, crew):
        factories.released(crew, dataset)
        assert submit(as_, factories.dataset()).json()["state"] == "SUBMITTED"

    def test_is_announced_by_the_preview(self, as_, dataset, crew):
        body = {"program": factories.PROGRAM, "datasets": [dataset.pk], "epsilon": "1"}
        assert as_("analyst").post("queries/preview/", body).json()["stored"] is False
        factories.released(crew, dataset)
        assert as_("analyst").post("queries/preview/", body).json()["stored"] is True


def test_of_two_operators_approving_at_once_one_decides(unguarded, crew):
    import threading

    from django.db import connection

    from portal.queries.actions import approve
    from portal.queries.states import IllegalMove

    dataset = factories.dataset()
    query, operator = factories.query(dataset), factories.account("operator")
    gate, outcomes = threading.Barrier(8), []

    def decide():
        gate.wait(60)
        try:
            approve(query=Query.objects.get(pk=query.pk), by=operator)
            outcomes.append("approved")
        except IllegalMove:
            outcomes.append("too late")
        finally:
            connection.close()

    threads = [threading.Thread(target=decide) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(outcomes) == ["approved"] + ["too late"] * 7
    assert account(dataset) == (0, 2_000_000)


class TestNotUseful:
    """Public facts say that noise would drown the figure: the analyst confirms, or asks otherwise."""

    @pytest.fixture
    def known(self):
        return factories.dataset(book={**factories.codebook(), "facts": {"n": 200}})

    def ask(self, as_, dataset, **changes):
        return submit(as_, dataset, program="count()", epsilon="0.01", **changes)

    def test_is_refused_with_what_to_send_and_keeps_nothing(self, as_, known):
        answer = self.ask(as_, known)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_useful")
        assert answer.json()["confirm"] == ["not_useful"]
        assert "statement 1, count()" in answer.json()["detail"]
        assert Query.objects.count() == 0

    def test_is_asked_all_the_same_when_confirmed(self, as_, known):
        answer = self.ask(as_, known, confirm=["not_useful"])
        assert answer.status_code == 201
        assert answer.json()["plan"]["statements"][0]["precision"]["useful"] is False

    def test_nothing_else_can_be_confirmed(self, as_, known):
        assert self.ask(as_, known, confirm=["everything"]).json()["code"] == "invalid"

    def test_is_not_asked_where_nobody_registered_how_many_there_are(self, as_, dataset):
        assert self.ask(as_, dataset).status_code == 201

    def test_is_not_asked_in_exact_mode_or_for_a_useful_figure(self, as_, known):
        assert self.ask(as_, known, mode="exact").status_code == 201
        assert submit(as_, known, program="count()").status_code == 201

    def test_a_stored_answer_needs_no_confirmation(self, as_, known, crew):
        query = Query.objects.get(pk=self.ask(as_, known, confirm=["not_useful"]).json()["id"])
        as_("operator").post(f"queries/{query.pk}/approve/", {})
        query.refresh_from_db()
        assert attempts.begin(query) is not None
        assert [party.post(party.result(query)).status_code for party in crew] == [200] * 4
        assert self.ask(as_, known).json()["state"] == "RELEASED"


class TestPreviewOfPrecision:
    def test_tells_widths_power_and_the_cheapest_epsilon(self, as_, dataset):
        body = {
            "program": "mean(age) by arm primary\ncount()",
            "datasets": [dataset.pk],
            "epsilon": "2",
            "assumptions": {"1": {"sd": "10", "n": 100, "effect": 5, "width": "4"}},
        }
        plan = as_("analyst").post("queries/preview/", body).json()["plan"]
        first, second = plan["statements"]
        assert (first["label"], second["label"]) == ("primary", "exploratory")
        assert first["precision"]["half_width"]["total"] > first["precision"]["half_width"]["sampling"] > 0
        assert 0 < first["precision"]["power"]["power"] < 1
        assert float(first["precision"]["cheapest"]["epsilon"]) > 0
        assert [table["share"] for table in plan["tables"]] == [0.4, 0.6]
        assert set(plan["seconds"]) and plan["rounds"] > 0

    @pytest.mark.parametrize(
        "wrong", [{"1": {"sd": -1}}, {"7": {"sd": 1}}, {"all": {"colour": 1}}, {"all": 1}]
    )
    def test_refuses_what_cannot_be_supposed(self, as_, dataset, wrong):
        body = {"program": "count()", "datasets": [dataset.pk], "epsilon": "1", "assumptions": wrong}
        answer = as_("analyst").post("queries/preview/", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "assumptions")

    def test_the_operator_s_page_shows_labels_widths_and_shares(self, as_, dataset, client):
        assert submit(as_, dataset, program="mean(age) by arm primary\ncount()").status_code == 201
        client.force_login(factories.account("operator"))
        page = client.get("/admin/queries/waitingquery/").content.decode()
        for text in ("primary", "exploratory", "40.0 %", "60.0 %", "Seconds", "in all at"):
            assert text in page, text
