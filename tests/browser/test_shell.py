"""What every page shares: it logs in, it fits a phone, axe has nothing serious to say in light and dark."""

from __future__ import annotations

import pytest

from tests.browser.conftest import overflow, serious
from tests.portal import factories


@pytest.mark.parametrize("path", ["/", "/login/", "/nothing-here/"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_for_strangers_has_no_serious_violation(open_page, watch, path, scheme):
    page = open_page(color_scheme=scheme)
    page.goto(path)
    if path == "/nothing-here/":
        watch.expected("404")
    assert serious(page) == []


@pytest.mark.parametrize("path", ["/", "/login/", "/nothing-here/"])
def test_a_page_for_strangers_fits_a_phone(open_page, watch, path):
    page = open_page(size="phone")
    page.goto(path)
    assert overflow(page) <= 0
    if path == "/nothing-here/":
        watch.expected("404")


@pytest.mark.parametrize("name", ["provider", "analyst", "operator", "auditor"])
def test_every_role_logs_in_with_the_keyboard_alone_and_out_again(open_page, name):
    factories.account(name)
    page = open_page()
    page.goto("/login/")
    page.wait_for_function("document.activeElement.name === 'username'")
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(factories.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda address: "/login/" not in address)
    assert name in page.locator("header").inner_text()
    assert serious(page) == []
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Log in").first.wait_for()


def test_the_first_stop_of_the_tab_key_leads_to_the_content(open_page):
    page = open_page()
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
