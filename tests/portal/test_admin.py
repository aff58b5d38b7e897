"""The operator's pages: all that a decision needs on one page, and nothing anywhere that edits the past."""

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from portal.absence.models import Consent, LostParty
from portal.accounts.models import Role, User
from portal.audit.models import Event
from portal.budgets.models import Account, Line
from portal.operations import pauses
from portal.operations.models import Pause
from portal.queries.models import Query, QueryEvent, Report, Result, WaitingQuery
from portal.registry.models import Dataset, PartyState
from portal.webhooks.models import Delivery, Webhook

from . import factories

pytestmark = pytest.mark.django_db
READ_ONLY = [
    Event,
    Account,
    Line,
    Query,
    WaitingQuery,
    QueryEvent,
    Report,
    Result,
    Dataset,
    PartyState,
    Pause,
]
READ_ONLY += [LostParty, Consent]
READ_ONLY += [Webhook, Delivery]  # which an operator may disable
WAITING = "/admin/queries/waitingquery/"


def logged_in(name):
    """A browser session of one of the accounts, or of a superuser without a role."""
    client = Client()
    if name == "superuser":
        client.force_login(User.objects.create_superuser("root", password=factories.PASSWORD))
    else:
        client.force_login(factories.account(name))
    return client


@pytest.fixture
def operator():
    return logged_in("operator")


def test_the_page_says_all_that_a_decision_needs(operator):
    dataset = factories.dataset()
    query = factories.query(dataset, program='mean("age") by arm  # <b>how old?</b>', epsilon="1.5")
    page = operator.get(WAITING).content.decode()
    for text in (
        str(query.pk),
        "mean(&quot;age&quot;) by arm",
        "&lt;b&gt;how old?&lt;/b&gt;",
        "analyst",
        "mean of age (years), for each arm",
        "Noise scale",
        "Expected error",
        "±",
        "1.500000",
        "3.000000 reserved for 2 attempts",
        "10.000000",
        "7.000000",
        "Rounds",
        "Bytes per party",
        'value="approve"',
        'value="refuse"',
    ):
        assert text in page, text
    assert "<b>how old?</b>" not in page


def test_the_list_of_datasets_shows_each_one_s_chain_and_version(operator):
    dataset = factories.dataset()
    page = operator.get("/admin/registry/dataset/").content.decode()
    assert 'class="field-chain"' in page and 'class="field-version"' in page and dataset.chain in page
    shown = operator.get(f"/admin/registry/dataset/{dataset.pk}/change/").content.decode()
    assert "Superseded by" in shown


def test_the_page_needs_no_inline_style_or_script(operator):
    factories.query()
    answer = operator.get(WAITING)
    page = answer.content.decode()
    assert "style=" not in page and "<style" not in page and "onclick" not in page
    assert all("src=" in tag for tag in page.split("<script")[1:])
    assert "'unsafe-inline'" not in answer["Content-Security-Policy"]


def test_approving_on_the_page_reserves_and_signs(operator):
    query = factories.query()
    answer = operator.post(
        f"{WAITING}{query.pk}/decide/", {"decision": "approve", "reason": "good"}, follow=True
    )
    assert f"Query {query.pk} is approved." in answer.content.decode()
    query.refresh_from_db()
    assert (query.state, query.approved_by, query.order.max_attempts) == ("APPROVED", "operator", 2)


def test_refusing_on_the_page_needs_a_reason(operator):
    query = factories.query()
    address = f"{WAITING}{query.pk}/decide/"
    page = operator.post(address, {"decision": "refuse", "reason": " "}, follow=True).content.decode()
    assert "a refusal needs a reason" in page
    query.refresh_from_db()
    assert query.state == "SUBMITTED"
    operator.post(address, {"decision": "refuse", "reason": "too broad"})
    query.refresh_from_db()
    assert (query.state, query.reason) == ("REFUSED", "too broad")


@pytest.mark.parametrize("decision", ["", "delete", "APPROVE"])
def test_another_decision_changes_nothing(operator, decision):
    query = factories.query()
    operator.post(f"{WAITING}{query.pk}/decide/", {"decision": decision, "reason": "\x00"})
    query.refresh_from_db()
    assert query.state == "SUBMITTED"


def test_a_budget_that_does_not_reach_is_said_before_and_after(operator):
    dataset = factories.dataset(book=factories.codebook(epsilon="1", epsilon_per_query="1"))
    Account.objects.filter(pk=dataset.pk).update(total=500_000)
    query = factories.query(dataset)
    assert "does not cover this query" in operator.get(WAITING).content.decode()
    page = operator.post(
        f"{WAITING}{query.pk}/decide/", {"decision": "approve"}, follow=True
    ).content.decode()
    assert "Nothing was changed" in page and "0.500000" in page
    query.refresh_from_db()
    assert query.state == "SUBMITTED"


def test_a_decision_is_no_link_and_needs_its_token(operator):
    query = factories.query()
    assert operator.get(f"{WAITING}{query.pk}/decide/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="operator"))
    assert strict.post(f"{WAITING}{query.pk}/decide/", {"decision": "approve"}).status_code == 403
    query.refresh_from_db()
    assert query.state == "SUBMITTED"


@pytest.mark.parametrize("name", ["provider", "analyst", "auditor"])
def test_others_are_sent_away(name):
    query = factories.query()
    client = logged_in(name)
    for address in (WAITING, "/admin/", "/admin/budgets/line/"):
        assert client.get(address).status_code == 302
    assert client.post(f"{WAITING}{query.pk}/decide/", {"decision": "approve"}).status_code == 302
    query.refresh_from_db()
    assert query.state == "SUBMITTED"


def test_a_superuser_who_is_no_operator_decides_nothing():
    query = factories.query()
    client = logged_in("superuser")
    assert 'value="approve"' not in client.get(WAITING).content.decode()
    page = client.post(f"{WAITING}{query.pk}/decide/", {"decision": "approve"}, follow=True).content.decode()
    assert "only an operator decides" in page


@pytest.mark.parametrize("name", ["operator", "superuser"])
@pytest.mark.parametrize("model", READ_ONLY, ids=lambda m: m.__name__)
def test_the_past_is_read_and_never_edited(name, model, crew):
    factories.webhook()
    query = factories.released(crew)
    crew[0].post(crew[0].signed("heartbeat", code_version="1", ledger={"length": 0, "head": ""}, busy=False))
    if model is WaitingQuery:
        query = factories.query()
    pauses.begin(by="operator")
    LostParty.objects.create(party=2, reason="its disk burnt", declared_by="operator")
    Consent.objects.create(
        query=query, dataset=query.datasets.get(), body="{}", signature="", expires=1, by="p"
    )
    client = logged_in(name)
    base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    row = query if model is WaitingQuery else model.objects.first()
    if model is Event and name == "operator":
        assert client.get(reverse(f"{base}_changelist")).status_code == 403
        assert client.get(reverse(f"{base}_change", args=[row.pk])).status_code == 403
        return
    assert client.get(reverse(f"{base}_changelist")).status_code == 200
    shown = client.get(reverse(f"{base}_change", args=[row.pk]))
    assert shown.status_code == 200
    assert 'name="_save"' not in shown.content.decode()
    assert client.post(reverse(f"{base}_change", args=[row.pk]), {"state": "RELEASED"}).status_code == 403
    assert client.get(reverse(f"{base}_add")).status_code == 403
    assert client.post(reverse(f"{base}_add"), {}).status_code == 403
    assert client.post(reverse(f"{base}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    before = model.objects.count()
    client.post(
        reverse(f"{base}_changelist"),
        {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"},
    )
    assert model.objects.count() == before
    assert not LogEntry.objects.exists()


def test_every_page_of_the_admin_is_either_accounts_or_read_only():
    writable = {m.__name__ for m in admin.site._registry if m not in READ_ONLY}
    assert writable == {"User", "Group", "Organisation", "AccessAttempt", "AccessLog", "AccessFailureLog",
                        "AuthToken"}  # fmt: skip


@pytest.mark.parametrize(
    "address",
    ["accounts/user/", "accounts/organisation/", "auth/group/", "knox/authtoken/", "axes/accessattempt/"],
)
def test_an_operator_manages_no_accounts(operator, address):
    assert operator.get(f"/admin/{address}").status_code == 403


def test_an_exact_answer_is_not_shown_to_operators(operator, crew):
    query = factories.released(crew, factories.dataset(), mode="exact")
    page = operator.get(f"/admin/queries/result/{query.pk}/change/").content.decode()
    assert "An exact answer is for who asked" in page and "integers" not in page


def test_a_noised_answer_is_shown(operator, crew):
    query = factories.released(crew)
    assert "integers" in operator.get(f"/admin/queries/result/{query.pk}/change/").content.decode()


def test_operators_have_the_admin_and_nobody_else_does():
    staff = {name for name in factories.NAMES if factories.account(name).is_staff}
    assert staff == {Role.OPERATOR.value}


def test_what_a_superuser_does_to_an_account_is_in_the_audit_trail():
    client, user = logged_in("superuser"), factories.account("analyst")
    page = client.get(f"/admin/accounts/user/{user.pk}/change/")
    fields = {k: "" if v is None else v for k, v in page.context["adminform"].form.initial.items()}
    fields |= {"role": "operator", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    answer = client.post(f"/admin/accounts/user/{user.pk}/change/", fields)
    assert answer.status_code == 302, answer.context["errors"]
    event = Event.objects.first()
    assert (event.kind, event.by, event.subject, event.detail["role"]) == (
        "account",
        "root",
        "account analyst",
        "operator",
    )


def test_the_admin_says_when_it_is_a_demonstration(operator, settings):
    assert "Demo deployment" not in operator.get("/admin/").content.decode()
    settings.FOURFOLD_DEMO = True
    assert "Demo deployment" in operator.get("/admin/").content.decode()
    assert "Demo deployment" in Client().get("/admin/login/").content.decode()
