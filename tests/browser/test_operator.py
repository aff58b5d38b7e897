"""The pages of operators, auditors and accounts in a real browser: axe, phone, keyboard, second factor, error states."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from portal.accounts.models import User
from portal.audit import chain
from portal.audit.actions import record
from portal.operations import pauses
from portal.registry.models import PartyState
from tests.browser.conftest import log_in, overflow, serious
from tests.portal import factories

OPERATOR = ["/approvals/", "/operations/", "/people/", "/people/new/", "/notices/"]
ACCOUNT = ["/account/", "/account/password/", "/account/tokens/", "/account/second-factor/"]


def fill(crew: Any) -> Any:
    """A portal with something of everything; the query that waits."""
    dataset = factories.dataset(title="Knee replacements in two clinics, 2019 to 2024")
    factories.released(crew, dataset)
    factories.running(dataset, program="count() where age >= 70")
    waiting = factories.query(
        dataset,
        program='mean("age") by arm\ncount() where age >= 65 by arm  # who is older',
        epsilon="1.5",
    )
    beat = {"code_version": "1.0", "ledger": {"length": 1203, "head": ""}, "busy": True}
    for party in crew[:3]:
        party.post(party.signed("heartbeat", **beat))
    PartyState.objects.filter(party=2).update(last_seen=timezone.now() - timedelta(hours=3))
    record("query refused", by="operator", subject="query 1", detail={"reason": "too broad"})
    return waiting


def six_digits(name: str) -> str:
    device = TOTPDevice.objects.get(user__username=name)
    TOTPDevice.objects.filter(pk=device.pk).update(last_t=-1, throttling_failure_count=0)
    return f"{totp(device.bin_key, drift=device.drift):06d}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_of_an_operator_has_no_serious_violation(open_page, crew, scheme):
    page = open_page("operator", color_scheme=scheme)
    waiting = fill(crew)
    person = User.objects.get(username="analyst")
    for path in [*OPERATOR, *ACCOUNT, f"/approvals/{waiting.pk}/", f"/people/{person.pk}/"]:
        page.goto(path)
        assert page.locator("h1").count() == 1, path
        assert serious(page) == [], path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_audit_trail_has_no_serious_violation(open_page, crew, watch, scheme):
    page = open_page("auditor", color_scheme=scheme)
    fill(crew)
    for path in ("/audit/", "/audit/?by=nobody", "/audit/?since=yesterday"):
        page.goto(path)
        page.locator("summary").focus()
        page.keyboard.press("Enter")
        page.get_by_text("checks every line and every signature").wait_for()
        assert serious(page) == [], path
    watch.expected("400")


def test_every_page_fits_a_phone(open_page, crew):
    page = open_page("operator", size="phone")
    waiting = fill(crew)
    person = User.objects.get(username="analyst")
    for path in [*OPERATOR, *ACCOUNT, f"/approvals/{waiting.pk}/", f"/people/{person.pk}/"]:
        page.goto(path)
        assert overflow(page) <= 0, path
    other = open_page("auditor", size="phone")
    chain.seal()
    other.goto("/audit/")
    other.locator("summary").click()
    assert overflow(other) <= 0


def test_a_query_is_decided_with_the_keyboard_alone(open_page, crew):
    page = open_page("operator")
    waiting = fill(crew)
    page.goto("/")
    page.get_by_role("link", name="Approvals").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/approvals/")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.href || ''").endswith(f"/approvals/{waiting.pk}/"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/approvals/{waiting.pk}/")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "reason":
            break
    page.keyboard.type("by arm alone, please")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Approve"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/approvals/")
    assert "is refused" in page.get_by_role("status").inner_text()
    waiting.refresh_from_db()
    assert (waiting.state, waiting.reason) == ("REFUSED", "by arm alone, please")


def test_a_refusal_without_a_comment_is_announced_and_keeps_the_page(open_page, crew, watch):
    page = open_page("operator")
    waiting = fill(crew)
    page.goto(f"/approvals/{waiting.pk}/")
    page.get_by_role("button", name="Refuse").click()
    assert "needs a reason" in page.get_by_role("alert").inner_text()
    watch.expected("409")
    assert serious(page) == []


def test_an_operator_pauses_and_resumes(open_page, crew):
    page = open_page("operator")
    fill(crew)
    page.goto("/operations/")
    page.get_by_label("Reason of a pause").fill("a new disk")
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("a new disk").wait_for()
    assert pauses.current() is not None
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("Running.").wait_for()
    assert pauses.current() is None


def test_enrolling_and_logging_in_with_a_code(open_page, new_page, live_server):
    page = open_page("operator")
    page.goto("/account/second-factor/")
    picture = page.get_by_role("img", name="QR code of the key below")
    assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    page.get_by_label("Code").fill(six_digits("operator"))
    page.get_by_role("button", name="Switch it on").click()
    page.get_by_text("recovery codes are shown this once").wait_for()
    assert page.locator("ul.codes li").count() == 10
    assert serious(page) == [] and overflow(page) <= 0

    again = new_page(live_server.url)
    again.goto("/login/")
    again.get_by_label("User name").fill("operator")
    again.get_by_label("Password").fill(factories.PASSWORD)
    again.get_by_role("button", name="Log in").click()
    again.wait_for_url("**/login/code/")
    assert serious(again) == []
    again.get_by_label("Code").fill("000000x")
    again.keyboard.press("Enter")
    assert "wrong" in again.get_by_role("alert").inner_text()
    again.get_by_label("Code").fill(six_digits("operator"))
    again.keyboard.press("Enter")
    again.wait_for_url(lambda address: "/login/" not in address)
    assert "operator" in again.locator("header").inner_text()


def test_a_first_password_is_shown_once_and_leads_to_a_change(open_page, new_page, live_server):
    page = open_page("operator")
    page.goto("/people/new/")
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Role").select_option("analyst")
    page.get_by_label("Organisation").fill("New Institute")
    page.get_by_role("button", name="Make the account").click()
    password = page.locator("#password").inner_text()
    assert serious(page) == []
    other = new_page(live_server.url)
    log_in(other, "ada", password)
    assert other.url.endswith("/account/password/")
    assert serious(other) == [] and overflow(other) <= 0


def test_a_notice_is_counted_opened_and_read(open_page):
    page = open_page("operator")
    query = factories.query()
    page.goto("/")
    page.get_by_role("link", name="Notices 1 unread").click()
    page.get_by_role("button", name="A query waits for a decision").click()
    page.wait_for_url(f"**/approvals/{query.pk}/")
    assert page.get_by_role("link", name="Notices", exact=True).count() == 1


def test_after_its_session_has_ended_a_decision_leads_to_the_log_in_and_changes_nothing(open_page, crew):
    page = open_page("operator")
    waiting = fill(crew)
    page.goto(f"/approvals/{waiting.pk}/")
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url("**/login/?next=**")
    waiting.refresh_from_db()
    assert waiting.state == "SUBMITTED"


def test_a_page_of_another_role_says_whose_it_is(open_page, watch):
    page = open_page("analyst")
    page.goto("/approvals/")
    assert "This page is for operators and auditors." in page.locator("main").inner_text()
    watch.expected("403")
    assert serious(page) == []
