"""A real browser before real pages. A CSP violation, an error on the console or a failed request fails the test.

`open_page(name)` gives a page that is logged in as the account of that name, on a portal whose database the test
fills with `factories`; tests of the whole way use a stack of their own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.portal import factories
from tests.portal.conftest import (  # noqa: F401  (fixtures)
    crew,
    django_db_modify_db_settings,
    local,
    unguarded,
)

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's loop runs in the thread of the test
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
AXE = Path(__file__).resolve().parents[2] / "frontend/node_modules/axe-core/axe.min.js"
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 360, "height": 740}}
# The browser says of itself what the page may not do.
LISTEN = """addEventListener("securitypolicyviolation", event =>
  console.error("CSP violation: " + event.violatedDirective + " " + event.blockedURI))"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(
                    pytest.mark.skip(reason="no Chromium on this machine (apt-get install chromium)")
                )


@pytest.fixture(scope="session", autouse=True)
def plain_http() -> Iterator[None]:
    """Before the live server reads its settings."""
    from django.test import override_settings

    with override_settings(SECURE_SSL_REDIRECT=False, SESSION_COOKIE_SECURE=False, CSRF_COOKIE_SECURE=False):
        yield


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


class Watch:
    """What went wrong in the pages of one test; a test that expects something takes it off the list."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def follow(self, page: Any) -> None:
        page.on("console", lambda said: said.type == "error" and self.wrong.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        page.on(
            "requestfailed",
            lambda request: (
                request.failure != "net::ERR_ABORTED"
                and self.wrong.append(f"{request.url}: {request.failure}")
            ),
        )

    def expected(self, part: str) -> None:
        """Take off the list what contains `part`; at least one thing must."""
        found = [line for line in self.wrong if part in line]
        assert found, f"nothing about {part!r} in {self.wrong}"
        self.wrong = [line for line in self.wrong if part not in line]


@pytest.fixture
def watch() -> Iterator[Watch]:
    watching = Watch()
    yield watching
    assert watching.wrong == []


@pytest.fixture
def new_page(browser: Any, watch: Watch) -> Iterator[Callable[..., Any]]:
    """A page in a profile of its own; `base` is the address that relative ones start from."""
    contexts = []

    def make(base: str, *, size: str = "desktop", **options: Any) -> Any:
        context = browser.new_context(base_url=base, viewport=SIZES[size], reduced_motion="reduce", **options)
        contexts.append(context)
        context.set_default_timeout(15_000)
        context.add_init_script(LISTEN)
        page = context.new_page()
        watch.follow(page)
        return page

    yield make
    for context in contexts:
        context.close()


def log_in(page: Any, name: str, password: str) -> None:
    """As a person does it."""
    page.goto("/login/")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(lambda address: "/login/" not in address)


@pytest.fixture
def open_page(unguarded: Any, live_server: Any, new_page: Any) -> Callable[..., Any]:  # noqa: F811
    """A page on a portal of this test's, logged in as `name` (None: a stranger)."""

    def make(name: str | None = None, **options: Any) -> Any:
        page = new_page(live_server.url, **options)
        if name is not None:
            factories.account(name)
            log_in(page, name, factories.PASSWORD)
        return page

    return make


def serious(page: Any) -> list[str]:
    """What axe finds serious or critical on a page: rule, and the first place. Skips where axe is not installed."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm ci in frontend)")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {violation['help']} at {violation['nodes'][0]['target']}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


def overflow(page: Any) -> int:
    """Pixels by which a page is wider than its window; at most 0 is right."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
