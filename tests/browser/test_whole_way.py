"""The whole way in a real browser, against a whole stack: a provider sends a table, and what follows from it.

Each step is a function of a page and what came before, so that a later step (asking, approving, reading the answer)
adds its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import study
from tests.browser.conftest import log_in
from tests.end_to_end.running import Running

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One stack for the steps of this file."""
    running = Running(tmp_path_factory.mktemp("whole_way"))
    try:
        yield running.wait_ready()
    finally:
        running.end_somehow()


@pytest.fixture
def enter(stack: Running, new_page: Callable[..., Any]) -> Callable[[str], Any]:
    """A page of the stack, logged in as one of its accounts."""

    def make(name: str) -> Any:
        page = new_page(stack.url)
        log_in(page, name, stack.access["passwords"][name])
        return page

    return make


def send_table(page: Any, table: Path) -> str:
    """The provider's step: the table is there and ready. The dataset's id."""
    page.goto("/data/new/")
    study.give(page, table)
    study.verify(page)
    study.submit(page)
    page.get_by_text("Your data is there").wait_for(timeout=60_000)
    page.get_by_role("link", name="Open the dataset").click()
    page.get_by_role("heading", name="Receipts", exact=True).wait_for()
    return str(page.url.rstrip("/").rpartition("/")[2])


def test_a_table_sent_in_the_browser_is_ready_at_four_real_parties(
    stack: Running, enter: Callable[[str], Any], tmp_path: Path
) -> None:
    page = enter("provider")
    dataset = send_table(page, study.sample(tmp_path)[0])
    assert page.get_by_text("signed", exact=True).count() == 4
    with stack.client("provider") as client:
        known = client.get(f"datasets/{dataset}/").json()
    assert known["state"] == "READY" and sorted(r["party"] for r in known["receipts"]) == [0, 1, 2, 3]
