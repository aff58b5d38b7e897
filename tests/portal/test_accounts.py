"""People, tokens, log-ins: what opens, what does not, and what a stranger learns."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken

from portal.accounts.actions import ensure_account, ensure_token
from portal.accounts.models import User

from . import factories

pytestmark = pytest.mark.django_db


def login(name, password):
    return Client().post(
        "/api/tokens/", json.dumps({"username": name, "password": password}), content_type="application/json"
    )


def test_an_account_is_made_once_and_brought_up_to_date():
    first = ensure_account("ada", "analyst", "Institute", factories.PASSWORD)
    again = ensure_account("ada", "operator", "Platform", "another long password")
    assert first.pk == again.pk
    assert (again.role, again.organisation.name, again.is_staff) == ("operator", "Platform", True)
    assert again.check_password("another long password")


def test_an_unknown_role_is_refused():
    with pytest.raises(ValueError, match="unknown"):
        ensure_account("ada", "admin", "Institute", factories.PASSWORD)


@pytest.mark.parametrize("change", [{"role": "king"}, {"role": "provider", "organisation": None}])
def test_the_database_knows_the_roles_too(change):
    factories.account("analyst")
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(username="analyst").update(**change)


def test_a_lasting_token_does_not_expire_and_is_kept_as_a_hash():
    factories.account("analyst")
    token = ensure_token("analyst")
    row = AuthToken.objects.get()
    assert row.expiry is None
    assert token not in (row.digest, row.token_key) and len(token) == 64


def test_a_known_token_that_works_is_kept():
    factories.account("analyst")
    token = ensure_token("analyst")
    assert ensure_token("analyst", token) == token
    assert ensure_token("analyst", "a" * 64) != token
    other = factories.token("operator")
    assert ensure_token("analyst", other) != other


def test_a_password_opens_for_ten_hours(as_):
    factories.account("analyst")
    answer = login("analyst", factories.PASSWORD)
    assert answer.status_code == 201
    bearer = {"Authorization": f"Token {answer.json()['token']}"}
    assert Client().get("/api/me/", headers=bearer).json() == {
        "username": "analyst",
        "role": "analyst",
        "organisation": "Institute",
    }
    left = AuthToken.objects.get().expiry - timezone.now()
    assert timedelta(hours=9, minutes=59) < left <= timedelta(hours=10)
    AuthToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert Client().get("/api/me/", headers=bearer).status_code == 401


def test_a_token_that_was_given_back_opens_nothing(as_):
    caller = as_("analyst")
    assert caller.post("tokens/revoke/").status_code == 204
    assert caller.get("me/").status_code == 401


def test_a_stranger_learns_nothing_from_a_failed_log_in():
    factories.account("analyst")
    User.objects.create_user("closed", password=factories.PASSWORD, is_active=False)
    answers = [login("analyst", "wrong"), login("nobody", "wrong"), login("closed", factories.PASSWORD)]
    assert {a.status_code for a in answers} == {401}
    assert len({a.content for a in answers}) == 1


@pytest.mark.parametrize("name", ["analyst", "nobody"])
def test_after_five_failures_the_door_is_locked_for_a_while(name):
    factories.account("analyst")
    answers = [login(name, "wrong") for _ in range(6)]
    assert [a.status_code for a in answers[:4]] == [401] * 4
    assert answers[-1].status_code == 429
    assert answers[-1]["Content-Type"] == "application/problem+json"
    assert login("analyst", factories.PASSWORD).status_code == (429 if name == "analyst" else 201)


def test_one_person_s_failures_do_not_lock_out_another():
    factories.account("analyst")
    factories.account("operator")
    for _ in range(6):
        login("analyst", "wrong")
    assert login("operator", factories.PASSWORD).status_code == 201


def test_the_page_s_log_in_is_locked_as_well():
    factories.account("analyst")
    for _ in range(6):
        answer = Client().post("/login/", {"username": "analyst", "password": "wrong"})
    assert answer.status_code == 429
    answer = Client().post("/admin/login/", {"username": "analyst", "password": "wrong"})
    assert answer.status_code == 429


@pytest.mark.parametrize("body", [{"username": "\x00", "password": "x"}, {"username": "x" * 200, "password": "x"},
                                  {"username": ["x"], "password": {}}, {"username": "x"}])  # fmt: skip
def test_an_odd_log_in_is_the_caller_s_error(body):
    answer = Client().post("/api/tokens/", json.dumps(body), content_type="application/json")
    assert answer.status_code == 400


def test_accounts_are_made_from_the_command_line():
    out = StringIO()
    call_command("create_accounts", "ada:analyst:Institute", "olga:operator:Platform", stdout=out)
    made = json.loads(out.getvalue())
    assert set(made["tokens"]) == set(made["passwords"]) == {"ada", "olga"}
    assert login("ada", made["passwords"]["ada"]).status_code == 201
    with pytest.raises(CommandError, match="NAME:ROLE:ORGANISATION"):
        call_command("create_accounts", "ada", stdout=out)
    with pytest.raises(CommandError):
        call_command("create_accounts", "ada:king:Institute", stdout=out)
