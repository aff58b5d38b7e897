"""Notices: who is told of what, once, in the page; nobody of what is not theirs, and no text of data."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts import people
from portal.accounts.actions import ensure_account
from portal.accounts.models import User
from portal.notices import telling
from portal.notices.models import Notice
from portal.queries import actions
from portal.registry.actions import receive
from portal.registry.models import PartyState

from . import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def everybody():
    for name in factories.NAMES:
        factories.account(name)


def told(name, unread_only=False):
    """The kinds of what an account was told, oldest first."""
    notices = Notice.objects.filter(user__username=name).order_by("pk")
    return list((notices.filter(read_at=None) if unread_only else notices).values_list("kind", flat=True))


def session(name):
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client


def text(answer):
    return answer.content.decode()


class TestOfQueries:
    def test_an_operator_is_told_that_one_waits_until_somebody_has_decided(self):
        ensure_account("operator2", "operator", "Platform", factories.PASSWORD)
        query = factories.query()
        assert told("operator") == told("operator2") == ["query waits"]
        actions.refuse(query=query, by=User.objects.get(username="operator"), reason="too broad")
        assert told("operator2", unread_only=True) == []

    def test_its_analyst_is_told_how_it_goes_on_and_the_other_one_nothing(self, crew):
        factories.released(crew)
        assert told("analyst") == ["query approved", "query released"]
        assert told("analyst2") == []

    @pytest.mark.parametrize(("do", "kind"), [("refuse", "query refused"), ("cancel", "query aborted")])
    def test_its_analyst_is_told_of_a_bad_end(self, do, kind):
        query = factories.query() if do == "refuse" else factories.running()[0]
        getattr(actions, do)(query=query, by=User.objects.get(username="operator"), reason="why")
        assert told("analyst")[-1] == kind

    def test_the_dataset_s_provider_is_told_when_it_begins_and_the_other_one_nothing(self):
        query, _ = factories.running()
        notice = Notice.objects.get(kind="dataset asked")
        assert (notice.user.username, notice.subject) == ("provider", query.datasets.get().pk)
        assert told("provider2") == []

    def test_of_a_stored_answer_nobody_is_asked_to_decide(self, crew):
        dataset = factories.dataset()
        factories.released(crew, dataset)
        Notice.objects.all().delete()
        factories.query(dataset)
        assert told("operator") == told("provider") == [] and told("analyst") == ["query released"]

    def test_after_the_first_of_two_approvals_the_other_operators_are_told(self, settings):
        settings.FOURFOLD_TWO_APPROVALS = True
        ensure_account("operator2", "operator", "Platform", factories.PASSWORD)
        query = factories.query()
        actions.approve(query=query, by=User.objects.get(username="operator"))
        assert told("operator", unread_only=True) == []
        assert told("operator2", unread_only=True) == ["query waits for second"]
        actions.approve(query=query, by=User.objects.get(username="operator2"))
        assert told("operator2", unread_only=True) == []

    def test_what_did_not_happen_is_told_to_nobody(self):
        query = factories.query()
        Notice.objects.all().delete()
        with pytest.raises(actions.ReasonNeeded):
            actions.refuse(query=query, by=User.objects.get(username="operator"), reason=" ")
        assert not Notice.objects.exists()

    def test_a_closed_account_is_told_nothing(self):
        User.objects.filter(username="operator").update(is_active=False)
        factories.query()
        assert told("operator") == []


class TestOfDatasets:
    def report(self, dataset, party, code=""):
        receive(
            dataset=dataset,
            party=party,
            report={"manifest_hash": dataset.manifest_hash, "time": 1},
            signature="",
            code=code,
        )

    def test_a_provider_is_told_when_all_four_parties_hold_it(self):
        dataset = factories.dataset(state="CHECKING")
        for party in range(4):
            assert told("provider") == []
            self.report(dataset, party)
        assert told("provider") == ["dataset ready"] and told("provider2") == []

    def test_a_provider_is_told_when_a_party_rejects_it(self):
        self.report(factories.dataset(state="CHECKING"), 2, code="cannot_open")
        assert told("provider") == ["dataset rejected"]


class TestOfParties:
    def heard(self, seconds_ago):
        PartyState.objects.update_or_create(
            party=1,
            defaults={
                "last_seen": timezone.now() - timedelta(seconds=seconds_ago),
                "said_at": 1,
                "code_version": "1",
                "ledger_length": 0,
                "ledger_head": "",
                "busy": False,
            },
        )

    def test_operators_are_told_once_of_each_silence(self):
        self.heard(30)
        telling.watch_parties()
        assert told("operator") == []
        self.heard(70)
        telling.watch_parties()
        telling.watch_parties()
        assert told("operator") == ["party silent"] and told("auditor") == told("analyst") == []
        Notice.objects.update(time=timezone.now() - timedelta(hours=2))
        self.heard(90)
        telling.watch_parties()
        assert told("operator") == ["party silent"] * 2

    def test_the_dispatcher_looks_and_forgets_what_is_old(self, monkeypatch, settings, sender):
        import threading

        from portal.queries import dispatcher

        settings.FOURFOLD_PARTY_WAIT = 0
        self.heard(3600)
        factories.query()
        Notice.objects.update(time=timezone.now() - timedelta(days=91))
        stopped = threading.Event()
        dispatcher.run(sender, stopped=stopped, sleep=lambda seconds: stopped.set())
        assert told("operator") == ["party silent"]


def test_who_was_given_a_new_password_is_told_by_whom():
    people.reset_password(by=User.objects.get(username="operator"), user=User.objects.get(username="analyst"))
    notice = Notice.objects.get(user__username="analyst")
    assert (notice.kind, notice.subject) == ("account changed", "operator")


class TestThePage:
    def test_the_frame_counts_what_is_unread_on_every_page(self):
        factories.query()
        client = session("operator")
        for address in ("/", "/approvals/", "/account/"):
            assert '1<span class="unseen"> unread</span>' in text(client.get(address))
        assert "unread" not in text(session("auditor").get("/"))
        assert "/notices/" not in text(Client().get("/"))

    def test_the_count_costs_one_query(self, django_assert_num_queries):
        user = User.objects.get(username="operator")
        with django_assert_num_queries(1):
            telling.unread(user)

    def test_opening_one_marks_it_and_leads_to_its_page(self):
        query = factories.query()
        client, notice = session("operator"), Notice.objects.get(user__username="operator")
        page = text(client.get("/notices/"))
        assert "A query waits for a decision" in page and str(query.pk) in page and "style=" not in page
        answer = client.post("/notices/", {"open": notice.pk})
        assert answer["Location"] == f"/approvals/{query.pk}/"
        assert "unread" not in text(client.get("/notices/"))

    def test_all_are_marked_at_once_and_only_one_s_own(self):
        ensure_account("operator2", "operator", "Platform", factories.PASSWORD)
        factories.query()
        session("operator").post("/notices/", {"do": "all"})
        assert told("operator", unread_only=True) == []
        assert told("operator2", unread_only=True) == ["query waits"]

    def test_another_s_notice_is_not_there(self):
        factories.query()
        notice = Notice.objects.get(user__username="operator")
        for asked in (notice.pk, "x", "9" * 40, "１"):
            assert session("analyst").post("/notices/", {"open": asked})["Location"] == "/notices/"
        assert told("operator", unread_only=True) == ["query waits"]

    @pytest.mark.parametrize("name", ["provider", "analyst", "operator", "auditor"])
    def test_an_empty_page_says_what_will_be_there(self, name):
        assert "You will be told here" in text(session(name).get("/notices/"))

    def test_a_full_page_costs_few_queries(self, django_assert_max_num_queries):
        dataset = factories.dataset()
        for age in range(60, 75):
            factories.query(dataset, program=f"count() where age >= {age}", epsilon="0.1")
        client = session("operator")
        with django_assert_max_num_queries(8):
            client.get("/notices/")
