"""The second factor: enrolment, the second step of logging in, fresh codes, recovery codes, and who must have one."""

import json
import re
import time
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from knox.models import AuthToken

from portal.accounts import second_factor
from portal.accounts.models import RecoveryCode
from portal.audit.models import Event

from . import factories

pytestmark = pytest.mark.django_db


def now_shown(name):
    """What the authenticator of an account shows, with no earlier code or failure in its way."""
    device = TOTPDevice.objects.get(user__username=name)
    TOTPDevice.objects.filter(pk=device.pk).update(
        last_t=-1, throttling_failure_count=0, throttling_failure_timestamp=None
    )
    return f"{totp(device.bin_key, drift=device.drift):06d}"


def enrol(name):
    """An account with a second factor, and its recovery codes."""
    user = factories.account(name)
    second_factor.begin(user)
    return second_factor.confirm(user, now_shown(name))


def first_step(name="operator", client=None, **more):
    client = client or Client()
    return client, client.post("/login/", {"username": name, "password": factories.PASSWORD, **more})


def logged_in(name="operator"):
    client, _ = first_step(name)
    assert client.post("/login/code/", {"code": now_shown(name)}).status_code == 302
    return client


def age_code(client, seconds):
    session = client.session
    session[second_factor.GIVEN] = int(time.time()) - seconds
    session.save()


def text(answer):
    return answer.content.decode()


class TestEnrolment:
    def test_the_picture_and_the_key_lead_to_a_code_and_ten_recovery_codes(self):
        factories.account("operator")
        client, _ = first_step()
        page = text(client.get("/account/second-factor/"))
        assert 'src="data:image/svg+xml;base64,' in page and "style=" not in page
        answer = text(
            client.post("/account/second-factor/", {"do": "confirm", "code": now_shown("operator")})
        )
        codes = re.findall(r"<code>([A-Z2-7]{4}(?:-[A-Z2-7]{4}){3})</code>", answer)
        assert len(set(codes)) == 10
        page = text(client.get("/account/second-factor/"))
        assert codes[0] not in page and "data:image" not in page and "10 recovery codes" in page
        assert Event.objects.filter(kind="second factor", by="operator").count() == 1

    def test_a_wrong_code_enrols_nobody(self):
        factories.account("operator")
        client, _ = first_step()
        client.get("/account/second-factor/")
        answer = client.post("/account/second-factor/", {"do": "confirm", "code": "12345x"})
        assert answer.status_code == 400 and "The code is wrong" in text(answer)
        assert first_step()[1]["Location"] == "/"

    def test_every_other_session_ends(self):
        factories.account("operator")
        (here, _), (elsewhere, _) = first_step(), first_step()
        here.get("/account/second-factor/")
        here.post("/account/second-factor/", {"do": "confirm", "code": now_shown("operator")})
        assert here.get("/account/").status_code == 200
        assert elsewhere.get("/account/").status_code == 302

    def test_recovery_codes_are_kept_as_hashes(self):
        codes = enrol("operator")
        kept = set(RecoveryCode.objects.values_list("digest", flat=True))
        assert len(kept) == 10 and not any(code in digest for code in codes for digest in kept)

    def test_no_page_of_the_admin_shows_a_key(self):
        enrol("operator")
        from portal.accounts.models import User

        client = Client()
        client.force_login(User.objects.create_superuser("root", password=factories.PASSWORD))
        assert client.get("/admin/otp_totp/totpdevice/").status_code == 404

    def test_switching_it_off_takes_a_fresh_code(self):
        enrol("operator")
        client = logged_in()
        age_code(client, 3600)
        assert client.post("/account/second-factor/", {"do": "remove"}).status_code == 400
        client.post("/account/second-factor/", {"do": "remove", "code": now_shown("operator")})
        assert not TOTPDevice.objects.exists() and not RecoveryCode.objects.exists()
        assert first_step()[1]["Location"] == "/"

    def test_other_recovery_codes_replace_the_old_ones(self):
        old = enrol("operator")
        logged_in().post("/account/second-factor/", {"do": "codes"})
        client, _ = first_step()
        assert client.post("/login/code/", {"code": old[0]}).status_code == 200


class TestLoggingIn:
    @pytest.mark.parametrize("door", ["/login/", "/admin/login/"])
    def test_the_password_alone_opens_nothing(self, door):
        enrol("operator")
        client = Client()
        answer = client.post(door, {"username": "operator", "password": factories.PASSWORD})
        assert answer["Location"] == "/login/code/"
        for address in ("/account/", "/approvals/", "/admin/queries/waitingquery/"):
            assert client.get(address).status_code == 302
        assert client.get("/api/me/").status_code in (401, 403)

    def test_a_code_completes_it_and_leads_where_one_was_going(self):
        enrol("operator")
        client, _ = first_step(next="/operations/")
        answer = client.post("/login/code/", {"code": now_shown("operator")})
        assert answer["Location"] == "/operations/"
        assert client.get("/operations/").status_code == 200

    def test_a_code_never_leads_elsewhere(self):
        enrol("operator")
        client, _ = first_step(next="https://evil.example/")
        assert client.post("/login/code/", {"code": now_shown("operator")})["Location"] == "/"

    def test_a_code_is_taken_once(self):
        enrol("operator")
        code = now_shown("operator")
        (one, _), (two, _) = first_step(), first_step()
        assert one.post("/login/code/", {"code": code}).status_code == 302
        assert two.post("/login/code/", {"code": code}).status_code == 200
        assert two.get("/account/").status_code == 302

    def test_after_a_wrong_code_even_a_right_one_must_wait(self):
        enrol("operator")
        right = now_shown("operator")
        client, _ = first_step()
        client.post("/login/code/", {"code": f"{(int(right) + 1) % 10**6:06d}"})
        answer = client.post("/login/code/", {"code": right})
        assert answer.status_code == 200 and "wait a little" in text(answer)

    def test_after_five_wrong_codes_one_begins_again(self):
        enrol("operator")
        client, _ = first_step()
        for _ in range(5):
            client.post("/login/code/", {"code": "x"})
        assert client.post("/login/code/", {"code": now_shown("operator")})["Location"] == "/login/"

    @pytest.mark.parametrize("late", [301, -5])
    def test_five_minutes_after_the_password_one_begins_again(self, late):
        enrol("operator")
        client, _ = first_step()
        session = client.session
        session["log_in"] = session["log_in"] | {"time": int(time.time()) - late}
        session.save()
        assert client.post("/login/code/", {"code": now_shown("operator")})["Location"] == "/login/"

    def test_a_password_that_changed_in_between_opens_nothing(self):
        enrol("operator")
        client, _ = first_step()
        user = factories.account("operator")
        user.set_password("another long password")
        user.save()
        assert client.post("/login/code/", {"code": now_shown("operator")})["Location"] == "/login/"

    @pytest.mark.parametrize("code", ["", " ", "\x00", "１２３４５６", "-1", "9" * 300])
    def test_an_odd_code_is_a_wrong_one(self, code):
        enrol("operator")
        client, _ = first_step()
        assert client.post("/login/code/", {"code": code}).status_code == 200
        assert client.get("/account/").status_code == 302

    def test_a_recovery_code_opens_once(self):
        code = enrol("operator")[0]
        (one, _), (two, _) = first_step(), first_step()
        assert one.post("/login/code/", {"code": code.lower()}).status_code == 302
        assert two.post("/login/code/", {"code": code}).status_code == 200
        assert Event.objects.filter(kind="recovery code used", by="operator").count() == 1

    def test_one_person_s_code_opens_nobody_else_s_account(self):
        enrol("operator")
        enrol("auditor")
        client, _ = first_step("operator")
        code = now_shown("auditor")
        TOTPDevice.objects.filter(user__username="operator").update(key="ab" * 20)
        assert client.post("/login/code/", {"code": code}).status_code == 200


class TestFreshCodes:
    def test_an_approval_takes_a_fresh_code_and_a_refusal_none(self):
        enrol("operator")
        client = logged_in()
        query, other = factories.query(), factories.query()
        age_code(client, 16 * 60)
        assert "Code of your second factor" in text(client.get(f"/approvals/{query.pk}/"))
        answer = client.post(f"/approvals/{query.pk}/", {"decision": "approve"})
        assert answer.status_code == 409 and "Enter a code" in text(answer)
        client.post(f"/approvals/{query.pk}/", {"decision": "approve", "code": now_shown("operator")})
        query.refresh_from_db()
        assert query.state == "APPROVED"
        age_code(client, 16 * 60)
        client.post(f"/approvals/{other.pk}/", {"decision": "refuse", "reason": "too broad"})
        other.refresh_from_db()
        assert other.state == "REFUSED"

    def test_a_code_of_a_moment_ago_is_enough(self):
        enrol("operator")
        client, query = logged_in(), factories.query()
        client.post(f"/approvals/{query.pk}/", {"decision": "approve"})
        query.refresh_from_db()
        assert query.state == "APPROVED"

    def test_the_admin_and_a_session_over_rest_take_one_too(self):
        enrol("operator")
        client, query = logged_in(), factories.query()
        age_code(client, 16 * 60)
        address = f"/admin/queries/waitingquery/{query.pk}/decide/"
        assert "Enter a code" in text(client.post(address, {"decision": "approve"}, follow=True)).replace(
            "enter", "Enter"
        )
        answer = client.post(f"/api/queries/{query.pk}/approve/", "{}", content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (403, "code_needed")
        query.refresh_from_db()
        assert query.state == "SUBMITTED"

    def test_a_token_is_not_asked(self, as_):
        caller, query = as_("operator"), factories.query()
        enrol("operator")
        assert caller.post(f"queries/{query.pk}/approve/", {}).status_code == 200

    def test_making_a_token_takes_one(self):
        enrol("operator")
        client = logged_in()
        age_code(client, 16 * 60)
        assert client.post("/account/tokens/", {"lifetime": "7d"}).status_code == 400
        client.post("/account/tokens/", {"lifetime": "7d", "code": now_shown("operator")})
        assert AuthToken.objects.filter(user__username="operator").count() == 1

    def test_over_rest_a_token_takes_password_and_code(self):
        enrol("operator")

        def ask(**more):
            body = {"username": "operator", "password": factories.PASSWORD, **more}
            return Client().post("/api/tokens/", json.dumps(body), content_type="application/json")

        assert (ask().status_code, ask().json()["code"]) == (403, "code_needed")
        assert ask(code="000000x").json()["code"] == "code_wrong"
        assert ask(code=now_shown("operator")).status_code == 201
        assert ask(password="wrong", code=now_shown("operator")).status_code == 401


class TestWhereOperatorsMustHaveOne:
    @pytest.fixture(autouse=True)
    def must(self, settings):
        settings.FOURFOLD_SECOND_FACTOR = True

    def test_an_operator_without_one_is_led_to_it_from_everywhere(self):
        factories.account("operator")
        client, _ = first_step()
        for address in ("/", "/approvals/", "/admin/", "/account/tokens/"):
            assert client.get(address)["Location"] == "/account/second-factor/", address
        assert client.get("/api/queries/").status_code == 403
        client.get("/account/second-factor/")
        client.post("/account/second-factor/", {"do": "confirm", "code": now_shown("operator")})
        assert client.get("/approvals/").status_code == 200

    def test_no_token_is_given_for_a_password_alone(self):
        factories.account("operator")
        body = json.dumps({"username": "operator", "password": factories.PASSWORD})
        answer = Client().post("/api/tokens/", body, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (403, "second_factor")

    def test_a_session_of_before_the_rule_begins_anew(self):
        enrol("operator")
        client = Client()
        client.force_login(factories.account("operator"))
        assert client.get("/approvals/")["Location"].startswith("/login/")

    @pytest.mark.parametrize("name", ["analyst", "provider", "auditor"])
    def test_others_may_and_need_not(self, name):
        factories.account(name)
        client, _ = first_step(name)
        assert client.get("/account/").status_code == 200
        assert "Enrol a second factor" in text(client.get("/account/"))

    def test_a_token_goes_on_working(self, as_):
        assert as_("operator").get("queries/").status_code == 200


def test_the_command_helps_whom_no_page_can():
    enrol("operator")
    call_command("remove_second_factor", "operator", by="ann", stdout=StringIO())
    assert first_step()[1]["Location"] == "/"
    assert Event.objects.filter(kind="second factor removed", by="ann", subject="account operator").exists()
    for name in ("operator", "nobody"):
        with pytest.raises(CommandError, match=name):
            call_command("remove_second_factor", name, by="ann")
