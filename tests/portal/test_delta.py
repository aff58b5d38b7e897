"""Plans with delta at the portal: asked, shown in words, charged by both accountings, kept in a ledger that only grows."""

import json
import threading
import uuid
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.test import Client

from analytics.check import recomputed
from analytics.privacy.filters import Loss
from portal.budgets.actions import (
    BudgetExhausted,
    accounting,
    affordable_attempts,
    give_back,
    means,
    reserve,
    spend,
)
from portal.budgets.models import Account, Line
from portal.queries import actions, attempts
from portal.queries.models import Query

from . import factories
from .test_versions import ready

MICRO, MILLIONTH = 10**6, 10**12
PROGRAM = "\n".join(f"count() where age >= {k}" for k in range(40, 60))  # twenty tables


@pytest.fixture
def dataset(db):
    return factories.dataset(book=factories.codebook(delta="1e-6"))


def question(dataset, **changes):
    body = {"program": PROGRAM, "datasets": [dataset.pk], "epsilon": "1", "delta": "1e-7"}
    return {**body, **changes}


def asked(dataset, **changes):
    """A query that was submitted with delta."""
    return actions.submit(
        analyst=factories.account("analyst"), program=PROGRAM, datasets=[dataset],
        **{"epsilon": Decimal(1), "mode": "dp", "delta": "1e-7", **changes},
    )  # fmt: skip


# -- asking -----------------------------------------------------------------------------------------------------


def test_a_preview_says_what_the_plan_promises_and_what_less_noise_it_has(as_, dataset):
    body = as_("analyst").post("queries/preview/", question(dataset)).json()
    pure = as_("analyst").post("queries/preview/", question(dataset, delta=None)).json()
    assert (body["epsilon"], body["delta"], body["charge"], body["charge_delta"]) == (
        "1.000000", "1e-7", "1.000000", "1e-7"
    )  # fmt: skip
    assert (pure["delta"], pure["charge_delta"]) == ("0", "0")
    noise = [p["plan"]["statements"][0]["noise"]["standard_deviation"] for p in (body, pure)]
    assert noise[0] < noise[1]
    assert "except with a probability of about 1e-7" in body["plan"]["means"]
    assert body["plan"]["composition"]["charged"] == {"epsilon": "1.000000", "delta": "1e-7"}
    assert "over several plans epsilons and deltas add up" in body["plan"]["composition"]["means"]["charged"]
    assert "for information" in body["plan"]["composition"]["means"]["sum"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"program": "count()"}, "delta_not_offered"),
        ({"mode": "exact", "epsilon": None}, "delta_in_exact_mode"),
        ({"delta": "2e-6"}, "delta_above_policy"),
        ({"delta": "0.1"}, "delta_too_large"),
        ({"delta": "0"}, "delta_invalid"),
        ({"delta": "-1e-7"}, "delta_invalid"),
        ({"delta": "1e-7x"}, "delta_invalid"),
        ({"delta": True}, "invalid"),
        ({"delta": {"a": 1}}, "invalid"),
    ],
)
def test_a_delta_that_cannot_be_had_is_refused_with_its_reason(as_, dataset, changes, code):
    for path in ("queries/preview/", "queries/"):
        answer = as_("analyst").post(path, question(dataset, **changes))
        assert (answer.status_code, answer.json()["code"]) == (400, code), answer.content
    assert not Query.objects.exists()


def test_a_dataset_whose_provider_signed_epsilon_alone_gives_no_delta(as_, db):
    answer = as_("analyst").post("queries/", question(factories.dataset()))
    assert answer.json()["code"] == "delta_not_allowed"
    assert "without delta" in answer.json()["detail"]


@pytest.mark.parametrize("delta", ["1e-7", "0.0000001", 1e-7])
def test_delta_is_text_or_number(as_, dataset, delta):
    body = as_("analyst").post("queries/", question(dataset, delta=delta)).json()
    assert (body["delta"], Query.objects.get().atto_delta) == ("1e-7", MILLIONTH // 10)


def test_two_datasets_are_asked_with_delta_only_if_both_policies_have_one(as_, dataset):
    other = factories.dataset(provider="provider2")
    both = question(dataset, datasets=[dataset.pk, other.pk])
    assert as_("analyst").post("queries/", both).json()["code"] == "delta_not_allowed"


# -- charging ---------------------------------------------------------------------------------------------------


def test_a_plan_with_delta_is_ordered_charged_and_answered_with_it(as_, dataset, crew):
    query = asked(dataset)
    actions.approve(query=query, by=factories.account("operator"))
    query.refresh_from_db()
    order = json.loads(query.order.body)
    assert (order["micro_epsilon"], order["atto_delta"], order["squares"]) == (
        MICRO, MILLIONTH // 10, query.loss.squares
    )  # fmt: skip
    assert order["squares"] == sum(r["micro_epsilon"] ** 2 for r in query.plan["releases"])
    account = Account.objects.get(pk=dataset.pk)
    assert account.held == query.loss.times(2)

    attempts.begin(query)
    query.refresh_from_db()
    for party in crew:
        assert party.post(party.result(query)).status_code == 200
    result = as_("analyst").get(f"queries/{query.pk}/result/").json()
    assert (result["epsilon"], result["delta"]) == ("1.000000", "1e-7")
    assert (result["charged"], result["charged_delta"]) == ("1.000000", "1e-7")
    assert "except with a probability of about 1e-7" in result["means"]
    account.refresh_from_db()
    assert account.held == query.loss
    body = as_("analyst").get(f"datasets/{dataset.pk}/").json()
    recomputed(result, PROGRAM, "1", "dp", [body], "1e-7")
    for other in (None, "2e-7"):
        with pytest.raises(Exception, match="another plan"):
            recomputed(result, PROGRAM, "1", "dp", [body], other)


def test_the_same_question_again_costs_nothing_and_one_of_its_tables_is_at_hand(as_, dataset, crew):
    first = asked(dataset)
    actions.approve(query=first, by=factories.account("operator"))
    first.refresh_from_db()
    attempts.begin(first)
    first.refresh_from_db()
    for party in crew:
        party.post(party.result(first))
    again = asked(dataset)
    assert (again.state, again.stored_from_id) == ("RELEASED", first.pk)
    told = as_("analyst").get(f"queries/{again.pk}/result/").json()
    assert (told["charged"], told["charged_delta"], told["delta"]) == ("0.000000", "0", "1e-7")
    part = actions.submit(
        analyst=factories.account("analyst"), program="count() where age >= 41", datasets=[dataset],
        epsilon=Decimal("0.05"), mode="dp",
    )  # fmt: skip
    assert part.state == "RELEASED"
    kept = as_("analyst").get(f"queries/{part.pk}/result/").json()
    assert [source["delta"] for source in kept["sources"]] == ["1e-7"]
    body = as_("analyst").get(f"datasets/{dataset.pk}/").json()
    recomputed(kept, "count() where age >= 41", "0.05", "dp", [body])


def test_an_order_on_epsilon_alone_is_what_it_always_was(db):
    query = factories.approved(factories.dataset())
    assert {"atto_delta", "squares"}.isdisjoint(json.loads(query.order.body))


def test_an_order_without_delta_on_a_policy_with_one_still_says_what_it_costs_by_zcdp(dataset):
    query = factories.approved(dataset)
    body = json.loads(query.order.body)
    assert "atto_delta" not in body and body["squares"] == MICRO**2


def test_the_budget_shows_both_accountings_in_words(as_, dataset):
    actions.approve(query=asked(dataset), by=factories.account("operator"))
    [told] = as_("analyst").get(f"budget/?dataset={dataset.pk}").json()
    assert told["reserved"] == "2.000000" and told["left"] == "8.000000"
    assert told["accounting"]["delta"] == {
        "total": "1e-6", "for_sums": "5e-7", "spent": "0", "reserved": "2e-7"
    }  # fmt: skip
    assert told["accounting"]["left"]["sum"] == "8.000000"
    assert 1.6 < float(told["accounting"]["left"]["zcdp"]) < 1.72
    assert set(told["accounting"]["means"]) == {"sum", "zcdp"}
    assert (
        "except with a probability of about 1e-6; so far by at most e^2.000000 but for 2e-7" in told["means"]
    )
    pure = factories.dataset()
    [told] = as_("analyst").get(f"budget/?dataset={pure.pk}").json()
    assert told["accounting"] is None and "except" not in told["means"]


def test_the_operator_reads_what_a_plan_with_delta_promises_and_costs(dataset):
    asked(dataset)
    page = Client()
    page.force_login(factories.account("operator"))
    told = page.get("/admin/queries/waitingquery/").content.decode()
    assert "1.000000 and delta 1e-7" in told
    assert "2.000000 and delta 2e-7 reserved for 2 attempts" in told
    assert "What it promises" in told and "except with a probability of about 1e-7" in told
    assert "8.000000" in told
    actions.approve(query=Query.objects.get(), by=factories.account("operator"))
    for address in (f"account/{dataset.pk}/change/", f"line/{Line.objects.first().pk}/change/"):
        shown = page.get(f"/admin/budgets/{address}").content.decode()
        assert "1e-7" in shown or "2e-7" in shown


# -- the ledger -------------------------------------------------------------------------------------------------


def hold(dataset, *epsilons, delta=0, charged=None, attempts=1):
    query = uuid.uuid4()
    reserve(
        query=query, datasets=[dataset.pk], micro_epsilon=charged or sum(epsilons), attempts=attempts,
        atto_delta=delta, squares=sum(e * e for e in epsilons),
    )  # fmt: skip
    return query


def test_epsilons_and_deltas_of_mixed_plans_add_up(dataset):
    hold(dataset, 5 * MICRO)
    hold(dataset, *[150_000] * 20, charged=2 * MICRO, delta=MILLIONTH // 4)
    hold(dataset, *[150_000] * 20, charged=2 * MICRO, delta=MILLIONTH // 4)
    account = Account.objects.get(pk=dataset.pk)
    assert account.held.micro_epsilon == 9 * MICRO and account.held.atto_delta == MILLIONTH // 2
    with pytest.raises(BudgetExhausted) as refused:
        hold(dataset, *[1_500_000] * 13, charged=MICRO, delta=10**8)
    assert "asked for delta 1e-10, 0 left by the sum" in str(refused.value)
    hold(dataset, MICRO)
    with pytest.raises(BudgetExhausted):
        hold(dataset, 1)


def test_many_small_plans_pass_the_total_by_zcdp_and_stop_there(dataset):
    account = Account.objects.get(pk=dataset.pk)
    fit = account.squares_total // (20 * 50_000**2)
    for _ in range(fit):
        hold(dataset, *[50_000] * 20)
    account.refresh_from_db()
    assert account.reserved == fit * MICRO > account.total == 10 * MICRO
    with pytest.raises(BudgetExhausted):
        hold(dataset, *[50_000] * 20)
    assert "by zCDP" in means(account) and accounting(account)["left"]["sum"] == "0.000000"
    hold(dataset, account.left)
    account.refresh_from_db()
    with pytest.raises(BudgetExhausted):
        hold(dataset, account.left + 1)


def test_attempts_are_allowed_as_far_as_either_accounting_reaches(dataset):
    for _ in range(4):
        hold(dataset, *[50_000] * 20, charged=2_500_000)
    small = Loss(micro_epsilon=MICRO, squares=20 * 50_000**2)
    assert affordable_attempts([dataset.pk], small, 2) == 2  # by zCDP alone
    large = Loss(micro_epsilon=2 * MICRO, squares=4 * MICRO**2)
    assert affordable_attempts([dataset.pk], large, 2) == 0


def test_what_returns_and_what_is_taken_anew_keeps_all_three_counts(dataset):
    query = hold(dataset, 1000, 1000, charged=1500, delta=7, attempts=2)
    give_back(query=query, attempts=[1])
    spend(query=query, attempt=1)
    give_back(query=query, attempts=[2])
    account = Account.objects.get(pk=dataset.pk)
    assert (account.delta_spent, account.delta_reserved, account.squares_spent) == (7, 0, 2_000_000)
    assert (account.spent, account.reserved, account.squares_reserved) == (1500, 0, 0)


def test_a_race_of_plans_with_delta_never_passes_both_accountings(unguarded):
    dataset = factories.dataset(book=factories.codebook(delta="1e-6"))
    passed, start = [], threading.Barrier(40)

    def one(number):
        start.wait(60)
        try:
            if number % 2:
                hold(dataset, *[100_000] * 13, charged=MICRO, delta=MILLIONTH // 20)
            else:
                hold(dataset, 1_300_000)
            passed.append(number)
        except BudgetExhausted:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    account = Account.objects.get(pk=dataset.pk)
    odd = sum(number % 2 for number in passed)
    assert account.held.micro_epsilon == odd * MICRO + (len(passed) - odd) * 1_300_000
    assert account.held.atto_delta == odd * MILLIONTH // 20
    assert account.allowance.covers(account.held)
    assert not account.allowance.covers(account.held + Loss(micro_epsilon=1_300_000, squares=1_300_000**2))


@pytest.mark.parametrize(
    "change",
    [
        {"spent": 10 * MICRO + 1, "squares_spent": 10**13},
        {"delta_spent": MILLIONTH // 2 + 1, "squares_reserved": 10**13},
        {"delta_spent": -1},
        {"squares_reserved": -1},
    ],
)
def test_the_database_itself_stops_what_neither_accounting_lets_pass(dataset, change):
    with pytest.raises(IntegrityError), transaction.atomic():
        Account.objects.filter(pk=dataset.pk).update(**change)


@pytest.mark.parametrize("change", [{"spent": 10 * MICRO + 1}, {"delta_spent": 1}])
def test_an_account_of_epsilon_alone_is_never_helped_by_zcdp(db, change):
    with pytest.raises(IntegrityError), transaction.atomic():
        Account.objects.filter(pk=factories.dataset().pk).update(**change)


# -- versions and what was before -------------------------------------------------------------------------------


def following(key, before, **policy):
    places = {"version": before.version + 1, "previous": before.manifest_hash, "chain": before.chain}
    return factories.announcement(key, factories.codebook(**policy), **places)


def test_a_new_version_brings_no_more_delta_and_may_bring_less(as_, crew):
    key = Ed25519PrivateKey.generate()
    one = factories.dataset(key=key, book=factories.codebook(delta="1e-6"))
    more = as_("provider").post("datasets/", following(key, one, delta="2e-6"))
    assert (more.status_code, more.json()["code"]) == (409, "budget_raised")
    hold(one, *[150_000] * 20, charged=2 * MICRO, delta=MILLIONTH // 4)
    two = ready(as_("provider"), crew, following(key, one, delta="1e-7"))
    account = Account.objects.get(pk=one.pk)
    assert (account.total, account.delta_total) == (10 * MICRO, MILLIONTH // 10)
    assert account.allowance.by_zcdp(account.held)
    three = ready(as_("provider"), crew, following(key, two))
    account.refresh_from_db()
    assert (
        account.left == 0 and account.held.atto_delta == MILLIONTH // 4
    )  # what was spent stays, nothing is left
    assert as_("provider").post("datasets/", following(key, three, delta="1e-7")).status_code == 409


def test_accounts_and_lines_of_before_go_on_as_they_were(unguarded):
    executor = MigrationExecutor(connection)
    leaves = executor.loader.graph.leaf_nodes()
    changed = {"budgets": "0002_append_only", "queries": "0004_query_tests"}
    before = [(app, changed.get(app, name)) for app, name in leaves]
    executor.migrate(before)
    try:
        old = executor.loader.project_state(before).apps
        home = old.get_model("accounts", "Organisation").objects.create(name="Hospital")
        dataset = old.get_model("registry", "Dataset").objects.create(
            id="0" * 32, title="t", provider=home, capacity=64, manifest_hash="1" * 64, chain="0" * 32
        )
        account = old.get_model("budgets", "Account").objects.create(
            dataset=dataset, total=10, spent=3, reserved=2
        )
        for kind in ("RESERVED", "SPENT"):
            old.get_model("budgets", "Line").objects.create(
                account=account, query=uuid.uuid4(), attempt=1, kind=kind, micro_epsilon=3
            )
    finally:
        MigrationExecutor(connection).migrate(leaves)
    account = Account.objects.get()
    assert (account.total, account.spent, account.reserved, account.delta_total) == (10, 3, 2, 0)
    assert [line.loss for line in Line.objects.all()] == [Loss(micro_epsilon=3)] * 2
    reserve(query=uuid.uuid4(), datasets=["0" * 32], micro_epsilon=5, attempts=1, squares=25)
    with pytest.raises(BudgetExhausted):
        reserve(query=uuid.uuid4(), datasets=["0" * 32], micro_epsilon=1, attempts=1, squares=1)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        Line.objects.update(micro_epsilon=0)  # the guard is back after the table was made anew
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        Line.objects.all()._raw_delete("default")
    with connection.cursor() as cursor:  # so that the test's rows can go
        for verb in ("update", "delete"):
            on = " ON budgets_line" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER budgets_line_no_{verb}{on}")
