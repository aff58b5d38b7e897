"""Privacy counted like money: never over the total, never lost, never changed afterwards."""

import threading
import uuid
from random import Random

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from analytics.privacy.filters import Loss
from portal.budgets.actions import (
    BudgetExhausted,
    LedgerConflict,
    affordable_attempts,
    charged,
    decimal_text,
    give_back,
    give_back_unsettled,
    released,
    reserve,
    spend,
)
from portal.budgets.models import Account, Kind, Line

from . import factories


def with_budget(total):
    dataset = factories.dataset()
    Account.objects.filter(pk=dataset.pk).update(total=total)
    return dataset.pk


def sums(dataset):
    account = Account.objects.get(pk=dataset)
    return account.spent, account.reserved, account.left


def test_a_hundred_threads_reserving_one_of_ten_get_exactly_ten(unguarded):
    dataset = with_budget(10)
    outcomes = []
    start = threading.Barrier(100)

    def one():
        start.wait(60)
        try:
            reserve(query=uuid.uuid4(), datasets=[dataset], micro_epsilon=1, attempts=1)
            outcomes.append("got")
        except BudgetExhausted:
            outcomes.append("none left")
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(outcomes) == ["got"] * 10 + ["none left"] * 90
    assert sums(dataset) == (0, 10, 0)
    assert Line.objects.filter(account_id=dataset, kind=Kind.RESERVED).count() == 10


@pytest.mark.django_db
class TestAnAccount:
    def test_reserves_every_attempt_and_settles_each_on_its_own(self):
        dataset, query = with_budget(10), uuid.uuid4()
        reserve(query=query, datasets=[dataset], micro_epsilon=3, attempts=2)
        assert sums(dataset) == (0, 6, 4)
        give_back(query=query, attempts=[1])
        assert sums(dataset) == (0, 3, 7)
        spend(query=query, attempt=2)
        assert sums(dataset) == (3, 0, 7)
        assert charged(query, dataset) == 3

    def test_settling_again_changes_nothing(self):
        dataset, query = with_budget(10), uuid.uuid4()
        reserve(query=query, datasets=[dataset], micro_epsilon=3, attempts=2)
        for _ in range(3):
            spend(query=query, attempt=1)
            give_back(query=query, attempts=[2])
        assert sums(dataset) == (3, 0, 7)

    def test_what_was_spent_does_not_come_back(self):
        dataset, query = with_budget(10), uuid.uuid4()
        reserve(query=query, datasets=[dataset], micro_epsilon=3, attempts=1)
        spend(query=query, attempt=1)
        with pytest.raises(LedgerConflict):
            give_back(query=query, attempts=[1])

    def test_a_debit_reported_after_the_return_is_taken_anew(self):
        dataset, query = with_budget(10), uuid.uuid4()
        reserve(query=query, datasets=[dataset], micro_epsilon=3, attempts=1)
        give_back(query=query, attempts=[1])
        spend(query=query, attempt=1)
        assert sums(dataset) == (3, 0, 7)

    def test_a_late_debit_never_exceeds_the_total(self):
        dataset, query = with_budget(5), uuid.uuid4()
        reserve(query=query, datasets=[dataset], micro_epsilon=3, attempts=1)
        give_back(query=query, attempts=[1])
        reserve(query=uuid.uuid4(), datasets=[dataset], micro_epsilon=4, attempts=1)
        with pytest.raises(BudgetExhausted):
            spend(query=query, attempt=1)
        assert sums(dataset) == (0, 4, 1)

    def test_two_datasets_are_reserved_together_or_not_at_all(self):
        rich, poor = with_budget(100), with_budget(1)
        with pytest.raises(BudgetExhausted) as refused:
            reserve(query=uuid.uuid4(), datasets=[rich, poor], micro_epsilon=2, attempts=2)
        assert (refused.value.dataset, refused.value.asked, refused.value.left) == (poor, 4, 1)
        assert sums(rich) == (0, 0, 100)
        assert not Line.objects.exists()

    def test_nothing_is_spent_without_a_reservation(self):
        with pytest.raises(LedgerConflict):
            spend(query=uuid.uuid4(), attempt=1)

    def test_attempts_are_allowed_as_far_as_every_account_reaches(self):
        rich, poor = with_budget(100), with_budget(5)
        assert affordable_attempts([rich, poor], Loss(micro_epsilon=3), 2) == 1
        assert affordable_attempts([rich], Loss(micro_epsilon=3), 2) == 2
        assert affordable_attempts([rich, poor], Loss(micro_epsilon=6), 2) == 0
        assert affordable_attempts([rich, poor], Loss(), 2) == 2

    def test_exact_mode_writes_lines_of_nothing(self):
        dataset, query = with_budget(0), uuid.uuid4()
        reserve(query=query, datasets=[dataset], micro_epsilon=0, attempts=2)
        spend(query=query, attempt=1)
        give_back_unsettled(query=query)
        assert sums(dataset) == (0, 0, 0)
        assert [line.kind for line in Line.objects.all()] == ["RESERVED", "RESERVED", "SPENT", "RETURNED"]

    @pytest.mark.parametrize(
        "change",
        [{"spent": 11}, {"reserved": 11}, {"spent": 6, "reserved": 5}, {"spent": -1}, {"reserved": -1}],
    )
    def test_the_database_itself_keeps_the_sums_within_the_total(self, change):
        dataset = with_budget(10)
        with pytest.raises(IntegrityError), transaction.atomic():
            Account.objects.filter(pk=dataset).update(**change)

    @pytest.mark.parametrize("seed", range(5))
    def test_sums_are_what_the_lines_add_up_to_after_any_sequence(self, seed):
        rng = Random(seed)
        dataset = with_budget(50)
        queries = [uuid.uuid4() for _ in range(6)]
        for _ in range(60):
            query, attempt = rng.choice(queries), rng.choice([1, 2])
            try:
                with transaction.atomic():
                    match rng.choice(["reserve", "spend", "return", "rest"]):
                        case "reserve":
                            reserve(
                                query=query, datasets=[dataset], micro_epsilon=rng.randint(0, 9), attempts=2
                            )
                        case "spend":
                            spend(query=query, attempt=attempt)
                        case "return":
                            give_back(query=query, attempts=[attempt])
                        case "rest":
                            give_back_unsettled(query=query)
            except (BudgetExhausted, LedgerConflict, IntegrityError):
                pass
            spent, reserved, left = sums(dataset)
            lines = list(Line.objects.filter(account_id=dataset))
            by_kind = {k: sum(x.micro_epsilon for x in lines if x.kind == k) for k in Kind}
            late = sum(
                x.micro_epsilon
                for x in lines
                if x.kind == Kind.SPENT
                and any((y.query, y.attempt, y.kind) == (x.query, x.attempt, Kind.RETURNED) for y in lines)
            )
            assert spent == by_kind[Kind.SPENT]
            assert reserved == by_kind[Kind.RESERVED] - by_kind[Kind.SPENT] - by_kind[Kind.RETURNED] + late
            assert left >= 0


@pytest.mark.django_db
@pytest.mark.parametrize("model", ["Line", "Event", "QueryEvent", "Report", "Result", "Order"])
def test_lines_are_added_and_never_changed_or_removed(model, crew):
    from portal.audit.models import Event
    from portal.queries.models import Order, QueryEvent, Report, Result

    factories.released(crew)
    table = {"Line": Line, "Event": Event, "QueryEvent": QueryEvent, "Report": Report}.get(model) or {
        "Result": Result,
        "Order": Order,
    }[model]
    assert table.objects.exists()
    column = {"Line": "micro_epsilon", "Event": "kind", "QueryEvent": "by", "Order": "hash"}.get(
        model, "body"
    )
    with pytest.raises(DatabaseError), transaction.atomic():
        table.objects.update(**{column: 0})
    with pytest.raises(DatabaseError), transaction.atomic():
        table.objects.all()._raw_delete("default")


@pytest.mark.parametrize(
    ("micro", "text"), [(0, "0.000000"), (1, "0.000001"), (1_500_000, "1.500000"), (-2_000_001, "-2.000001")]
)
def test_micro_epsilon_is_written_with_six_places(micro, text):
    assert decimal_text(micro) == text


@pytest.mark.django_db
class TestWhatABudgetSays:
    def shown(self, as_, dataset):
        (line,) = as_("provider").get(f"budget/?dataset={dataset.pk}").json()
        return line

    def test_the_sum_is_charged_and_two_others_are_for_information(self, as_, crew):
        dataset = factories.dataset()
        factories.released(crew, dataset, program="mean(age) by arm; count()", epsilon="2")
        line = self.shown(as_, dataset)
        composition = line["composition"]
        assert (composition["tables"], composition["sum"]) == (2, "2.000000") and line["spent"] == "2.000000"
        assert float(composition["pld"]) <= 2 and float(composition["zcdp"]) <= 2
        assert set(composition["means"]) == {"sum", "pld", "zcdp"}
        assert "e^10.000000" in line["means"] and "so far by at most e^2.000000" in line["means"]
        assert line["mode"] == "dp" and "none will be" in line["means"]

    def test_an_attempt_that_was_spent_twice_counts_its_tables_twice(self, crew):
        dataset = factories.dataset()
        query, _ = factories.running(dataset)
        spend(query=query.pk, attempt=1)
        spend(query=query.pk, attempt=2)
        assert released(Account.objects.get(pk=dataset.pk)) == [1_000_000, 1_000_000]

    def test_one_exact_answer_voids_the_statement_and_it_says_so(self, as_, crew):
        dataset = factories.dataset()
        assert "would void this" in self.shown(as_, dataset)["means"]
        factories.released(crew, dataset, mode="exact")
        line = self.shown(as_, dataset)
        assert line["mode"] == "exact" and "no epsilon protects its patients" in line["means"]
        assert line["composition"]["sum"] == "0.000000"

    def test_a_preview_says_what_its_tables_lose_together(self, as_):
        dataset = factories.dataset()
        asked = {"program": "mean(age) by arm; count()", "datasets": [dataset.pk], "epsilon": "2"}
        plan = as_("analyst").post("queries/preview/", asked).json()["plan"]
        assert (plan["composition"]["tables"], plan["composition"]["sum"]) == (2, "2.000000")
        exact = as_("analyst").post("queries/preview/", {**asked, "mode": "exact"}).json()["plan"]
        assert exact["composition"] is None
