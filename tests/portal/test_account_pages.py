"""Everybody's own account, and the page of people: passwords and tokens shown once, and who may change whom."""

import re

import pytest
from axes.models import AccessAttempt
from django.test import Client
from knox.models import AuthToken

from portal.accounts import people
from portal.accounts.actions import ensure_account
from portal.accounts.models import User
from portal.audit.models import Event

from . import factories

pytestmark = pytest.mark.django_db
NEW = "a quite different passphrase"


def session(name):
    client = Client()
    client.force_login(factories.account(name))
    return client


def text(answer):
    return answer.content.decode()


@pytest.fixture
def operator():
    return session("operator")


class TestOwnAccount:
    @pytest.mark.parametrize("name", ["provider", "analyst", "operator", "auditor"])
    @pytest.mark.parametrize("page", ["", "password/", "tokens/", "second-factor/"])
    def test_everybody_has_one_and_strangers_log_in_first(self, name, page):
        answer = session(name).get(f"/account/{page}")
        assert answer.status_code == 200 and "style=" not in text(answer)
        assert Client().get(f"/account/{page}")["Location"].startswith("/login/?next=/account/")

    def change(self, client, old=factories.PASSWORD, new=NEW, **more):
        form = {"old_password": old, "new_password1": new, "new_password2": new, **more}
        return client.post("/account/password/", form)

    def test_a_changed_password_ends_the_other_sessions_and_keeps_this_one(self):
        here, elsewhere = session("analyst"), session("analyst")
        assert self.change(here).status_code == 302
        assert here.get("/account/").status_code == 200
        assert elsewhere.get("/account/").status_code == 302
        assert User.objects.get(username="analyst").check_password(NEW)
        event = Event.objects.filter(kind="password changed").get()
        assert event.by == "analyst" and NEW not in str(event.detail)

    @pytest.mark.parametrize(("chosen", "left"), [({}, 1), ({"tokens": "yes"}, 0)])
    def test_tokens_end_with_it_if_so_chosen(self, chosen, left):
        factories.token("analyst")
        self.change(session("analyst"), **chosen)
        assert AuthToken.objects.count() == left

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"old": "wrong"}, "id_old_password"),
            ({"new": "short"}, "id_new_password2"),
            ({"new": "123456789012345"}, "id_new_password2"),
        ],
    )
    def test_what_is_wrong_stands_at_its_field(self, change, field):
        answer = self.change(session("analyst"), **change)
        assert answer.status_code == 400 and f'id="{field}-wrong"' in text(answer)
        assert User.objects.get(username="analyst").check_password(factories.PASSWORD)

    def test_a_token_is_shown_once_works_and_is_revoked(self):
        client = session("analyst")
        page = text(client.post("/account/tokens/", {"lifetime": "7d"}))
        (token,) = re.findall(r'<code id="made">([^<]+)</code>', page)
        bearer = {"Authorization": f"Token {token}"}
        assert Client().get("/api/me/", headers=bearer).json()["username"] == "analyst"
        assert token not in text(client.get("/account/tokens/"))
        client.post("/account/tokens/", {"revoke": AuthToken.objects.get().digest})
        assert Client().get("/api/me/", headers=bearer).status_code == 401

    def test_nobody_revokes_another_s_token(self):
        factories.token("analyst2")
        session("analyst").post("/account/tokens/", {"revoke": AuthToken.objects.get().digest})
        assert AuthToken.objects.count() == 1

    def test_a_token_lasts_as_long_as_the_list_offers(self):
        assert session("analyst").post("/account/tokens/", {"lifetime": "forever"}).status_code == 400
        assert not AuthToken.objects.exists()


class TestPeople:
    @pytest.mark.parametrize("name", ["provider", "analyst", "auditor"])
    def test_it_is_for_operators(self, name):
        pk = factories.account("analyst2").pk
        for address in ("/people/", "/people/new/", f"/people/{pk}/"):
            assert session(name).get(address).status_code == 403
        assert session(name).post(f"/people/{pk}/", {"do": "close"}).status_code == 403

    def make(self, client, **how):
        form = {"name": "ada", "role": "analyst", "organisation": "New Institute", **how}
        return client.post("/people/new/", form)

    def test_a_new_person_gets_a_password_once_and_must_change_it(self, operator):
        (password,) = re.findall(r'<code id="password">([^<]+)</code>', text(self.make(operator)))
        ada = User.objects.get(username="ada")
        assert (ada.role, ada.organisation.name, ada.is_staff) == ("analyst", "New Institute", False)
        assert password not in str(list(Event.objects.values()))
        client = Client()
        client.post("/login/", {"username": "ada", "password": password})
        for address in ("/", "/account/tokens/"):
            assert client.get(address)["Location"] == "/account/password/"
        assert client.get("/api/queries/").status_code == 403
        client.post(
            "/account/password/", {"old_password": password, "new_password1": NEW, "new_password2": NEW}
        )
        assert client.get("/").status_code == 200

    def test_no_token_is_given_for_a_password_that_must_be_changed(self, operator):
        (password,) = re.findall(r'<code id="password">([^<]+)</code>', text(self.make(operator)))
        body = {"username": "ada", "password": password}
        answer = Client().post("/api/tokens/", body, content_type="application/json")
        assert answer.status_code == 403 and not AuthToken.objects.exists()

    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ({"name": "analyst"}, "already exists"),
            ({"name": ""}, "cannot be blank"),
            ({"name": "a b<c>"}, "valid username"),
            ({"role": "king"}, "Choose a role"),
            ({"role": "operator"}, "superuser"),
            ({"role": "provider", "organisation": " "}, "has an organisation"),
            ({"organisation": "x" * 151}, "at most 150"),
        ],
    )
    def test_what_cannot_be_made_says_why(self, operator, how, words):
        factories.account("analyst")
        before = User.objects.count()
        answer = self.make(operator, **how)
        assert answer.status_code == 400 and words in text(answer)
        assert User.objects.count() == before

    def test_a_role_and_an_organisation_are_changed_and_the_trail_says_what_they_were(self, operator):
        user = factories.account("analyst")
        operator.post(f"/people/{user.pk}/", {"do": "change", "role": "auditor", "organisation": "Office"})
        user.refresh_from_db()
        assert (user.role, user.organisation.name) == ("auditor", "Office")
        event = Event.objects.first()
        assert (event.by, event.detail["was_role"], event.detail["role"]) == (
            "operator",
            "analyst",
            "auditor",
        )

    def test_a_closed_account_opens_nothing_until_it_is_open_again(self, operator, as_):
        caller, client = as_("analyst"), session("analyst")
        user = User.objects.get(username="analyst")
        operator.post(f"/people/{user.pk}/", {"do": "close"})
        assert caller.get("me/").status_code == 401 and client.get("/account/").status_code == 302
        operator.post(f"/people/{user.pk}/", {"do": "reopen"})
        user.refresh_from_db()
        assert user.is_active and client.get("/account/").status_code == 302

    def test_a_new_password_ends_sessions_and_tokens(self, operator, as_):
        caller, client = as_("analyst"), session("analyst")
        user = User.objects.get(username="analyst")
        page = text(operator.post(f"/people/{user.pk}/", {"do": "password"}))
        (password,) = re.findall(r'<code id="password">([^<]+)</code>', page)
        user.refresh_from_db()
        assert user.check_password(password) and user.must_change_password
        assert caller.get("me/").status_code == 401 and client.get("/account/").status_code == 302
        assert password not in text(operator.get(f"/people/{user.pk}/"))

    def test_tokens_are_revoked(self, operator):
        user = factories.account("analyst")
        factories.token("analyst")
        operator.post(f"/people/{user.pk}/", {"do": "tokens"})
        assert not AuthToken.objects.exists()

    def test_who_is_locked_out_is_shown_and_let_in_again(self, operator):
        user = factories.account("analyst")
        for _ in range(6):
            Client().post("/login/", {"username": "analyst", "password": "wrong"})
        assert "locked out" in text(operator.get("/people/"))
        operator.post(f"/people/{user.pk}/", {"do": "unlock"})
        assert not AccessAttempt.objects.exists()
        answer = Client().post("/login/", {"username": "analyst", "password": factories.PASSWORD})
        assert answer.status_code == 302

    @pytest.mark.parametrize("do", ["close", "password", "tokens", "factor", "change", "unlock"])
    def test_an_operator_touches_neither_another_operator_nor_themselves(self, operator, do):
        other = ensure_account("operator2", "operator", "Platform", factories.PASSWORD)
        root = User.objects.create_superuser("root", password=factories.PASSWORD)
        for user in (other, User.objects.get(username="operator"), root):
            answer = operator.post(f"/people/{user.pk}/", {"do": do, "role": "analyst"})
            assert answer.status_code == 409, user
            user.refresh_from_db()
            assert user.is_active and user.check_password(factories.PASSWORD)
            assert 'name="do"' not in text(operator.get(f"/people/{user.pk}/"))

    def test_an_operator_who_is_a_superuser_makes_and_manages_operators(self, operator):
        User.objects.filter(username="operator").update(is_superuser=True)
        assert self.make(operator, role="operator").status_code == 200
        made = User.objects.get(username="ada")
        assert made.is_staff
        operator.post(f"/people/{made.pk}/", {"do": "close"})
        made.refresh_from_db()
        assert not made.is_active

    def test_nobody_but_an_operator_manages_by_any_way(self):
        user = factories.account("analyst2")
        for name in ("analyst", "auditor", "provider"):
            with pytest.raises(people.PeopleRefused):
                people.close(by=factories.account(name), user=user)
            with pytest.raises(people.PeopleRefused):
                people.create(by=factories.account(name), name="x", role="analyst", organisation="")

    def test_a_person_is_found_by_name_and_by_organisation(self, operator):
        factories.account("analyst")
        factories.account("provider")
        assert "provider</a>" not in text(operator.get("/people/?q=analys"))
        assert "provider</a>" in text(operator.get("/people/?q=hospital"))
        assert "Nobody of that name" in text(operator.get("/people/?q=zz%00zz"))

    def test_a_hostile_organisation_is_text(self, operator):
        self.make(operator, organisation="<script>alert(1)</script>")
        user = User.objects.get(username="ada")
        for address in ("/people/", f"/people/{user.pk}/", "/people/new/"):
            assert "<script>alert" not in text(operator.get(address))

    def test_many_people_cost_few_queries(self, operator, django_assert_max_num_queries):
        for number in range(40):
            ensure_account(f"p{number}", "analyst", f"Home {number}", factories.PASSWORD)
        with django_assert_max_num_queries(12):
            operator.get("/people/")
