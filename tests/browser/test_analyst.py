"""An analyst's way in a real browser: type a question, see its cost and its errors, submit, wait, read, save."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import expect

from portal.queries import actions, attempts
from portal.queries.models import Query
from tests.browser.conftest import overflow, serious
from tests.portal import factories

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "samples/questions.txt").read_text()
MORE = LINES + "survival(time_till_death) by arm\nboxplot(bmi) by arm\ncrosstab(region, ecog)\n"
EDITOR = "#editor .cm-content"


def trial():
    book = json.loads((ROOT / "samples/codebook.json").read_text(), parse_float=Decimal)
    return factories.dataset(book=book, title="Imatinib after surgery")


def twin_integers(query):
    """What four parties would sign of the dummy twin."""
    from analytics import reference, twin
    from portal.queries.release import recompiled
    from portal.registry.facts import facts

    plan = recompiled(query)
    known = [facts(d) for d in query.datasets.all()]
    totals = reference.evaluate(plan, known, [twin.table(f, twin.patients(f)) for f in known])
    return [
        twin._noised(release, own, f"{k}")
        for k, (release, own) in enumerate(zip(plan.releases, totals, strict=True))
    ]


def release(crew, query):
    """Approve it and let all four parties sign."""
    actions.approve(query=query, by=factories.account("operator"))
    query.refresh_from_db()
    assert attempts.begin(query) is not None
    integers = twin_integers(query)
    for party in crew:
        assert party.post(party.result(query, integers=integers)).status_code == 200


def write(page, text):
    page.locator(EDITOR).click()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(text)


def test_the_four_lines_are_typed_priced_submitted_followed_and_read(open_page, watch, crew, tmp_path):
    trial()
    page = open_page("analyst")
    page.goto("/queries/new/")
    page.locator("#cost .big").wait_for()
    assert "average" in page.locator(EDITOR).inner_text()
    page.locator("#cost table tbody tr").nth(3).wait_for()
    write(page, 'average("time_till_deth", "northeast")')
    page.locator("#editor .cm-lintRange-error").wait_for()
    assert "time_till_death" in page.locator("#program-wrong").inner_text()
    page.locator("#editor .cm-lintRange-error").hover()
    page.locator("#editor .cm-diagnosticAction").first.click()
    expect(page.locator("#program-wrong")).to_have_text("")
    watch.expected("400")
    assert "time_till_death" in page.locator("#program").input_value()
    write(page, MORE)
    page.locator("#cost table tbody tr").nth(6).wait_for()
    page.get_by_label("Epsilon").fill("4")
    expect(page.locator("#cost .big")).to_have_text("epsilon 4")
    page.get_by_role("button", name="Submit for approval").click()
    expect(page.get_by_label("Title")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Title").fill("Survival in the north")
    page.get_by_label("Purpose").fill("The registry's yearly report")
    page.get_by_role("button", name="Submit for approval").click()
    page.wait_for_url("**/queries/*-*/")
    assert "waiting for approval" in page.locator("[aria-current=step]").inner_text()
    query = Query.objects.get()
    assert query.title == "Survival in the north" and query.purpose
    release(crew, query)
    page.locator("html[data-drawn]").wait_for(state="attached", timeout=30_000)
    assert page.locator(".drawing svg").count() == page.locator("figure.chart").count() >= 5
    assert page.get_by_text("comes from the noise that protects patients").count() > 0
    assert serious(page) == []
    page.screenshot(path=tmp_path / "answer.png", full_page=True)
    with page.expect_download() as csv:
        page.get_by_role("link", name="CSV").click()
    assert "statement,question" in Path(csv.value.path()).read_text()
    with page.expect_download() as exact:
        page.get_by_role("link", name="JSON").click()
    assert Path(exact.value.path()).read_text() == query.__class__.objects.get().result.body
    for kind, start in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as picture:
            page.get_by_role("button", name=f"Save as {kind}").first.click()
        assert Path(picture.value.path()).read_bytes().startswith(start)
    page.get_by_role("link", name="Report").click()
    page.locator("html[data-drawn]").wait_for(state="attached")
    assert str(query.pk) in page.locator("#citation").inner_text()
    assert serious(page) == []


def test_the_price_says_what_it_leaves_of_the_budget_and_when_it_is_too_much(open_page):
    dataset = factories.dataset()  # of epsilon 10
    query = factories.approved(dataset, program="mean(age)", epsilon="4")  # two attempts are reserved
    page = open_page("analyst")
    page.goto(f"/queries/new/?clone={query.pk}")
    expect(page.locator("#cost")).to_contain_text(
        "A trial has only epsilon 2 left: this could not be approved."
    )
    page.get_by_label("Epsilon").fill("1.5")
    expect(page.locator("#cost")).to_contain_text("A trial: epsilon 2 left, 0.5 after this.")


def test_completion_knows_statistics_columns_and_levels(open_page):
    trial()
    page = open_page("analyst")
    page.goto("/queries/new/")
    page.locator("#cost .big").wait_for()
    for typed, wanted in (
        ("surv", "survival"),
        ("mean(tumo", "tumour_size"),
        ("count() where region == Northe", "Northeast"),
    ):
        write(page, "")
        page.locator(EDITOR).press_sequentially(typed, delay=20)
        page.locator("#editor .cm-completionLabel", has_text=wanted).first.wait_for()
        page.keyboard.press("Escape")


def test_a_draft_is_kept_found_and_submitted_no_more_than_once(open_page):
    trial()
    page = open_page("analyst")
    page.goto("/queries/new/")
    page.locator("#cost .big").wait_for()
    page.get_by_label("Title").fill("Half done")
    page.get_by_role("button", name="Keep as a draft").click()
    page.get_by_text("The draft is kept").wait_for()
    page.goto("/queries/")
    page.get_by_role("link", name="Half done").click()
    assert page.get_by_label("Title").input_value() == "Half done"
    page.get_by_label("Purpose").fill("To see")
    page.get_by_label("Epsilon").fill("2")
    page.get_by_role("button", name="Submit for approval").click()
    page.wait_for_url("**/queries/*-*/")
    assert not factories.account("analyst").drafts.exists()


def test_a_lost_network_is_said_and_the_text_stays(open_page, watch):
    trial()
    page = open_page("analyst")
    page.goto("/queries/new/")
    page.locator("#cost .big").wait_for()
    page.get_by_label("Title").fill("T")
    page.get_by_label("Purpose").fill("P")
    page.context.set_offline(True)
    page.get_by_role("button", name="Submit for approval").click()
    page.get_by_role("alert").filter(has_text="cannot be reached").wait_for()
    assert "average" in page.locator("#program").input_value()
    page.context.set_offline(False)
    watch.expected("ERR_INTERNET_DISCONNECTED")
    page.get_by_role("button", name="Submit for approval").click()
    page.wait_for_url("**/queries/*-*/")


def test_an_expired_session_is_said_and_the_text_stays(open_page, watch):
    trial()
    page = open_page("analyst")
    page.goto("/queries/new/")
    page.locator("#cost .big").wait_for()
    page.context.clear_cookies(name="sessionid")
    page.get_by_label("Title").fill("T")
    page.get_by_label("Purpose").fill("P")
    page.get_by_role("button", name="Submit for approval").click()
    page.get_by_role("alert").filter(has_text="session has ended").wait_for()
    assert "average" in page.locator("#program").input_value()
    watch.expected("401")


def paths(crew):
    dataset = trial()
    waiting = factories.query(dataset, program=LINES, epsilon="2")
    answered = factories.query(dataset, program=MORE, epsilon="4")
    release(crew, answered)
    return {
        "index": "/",
        "catalogue": "/datasets/?q=tumour",
        "dataset": f"/datasets/{dataset.pk}/",
        "queries": "/queries/",
        "new": "/queries/new/",
        "waiting": f"/queries/{waiting.pk}/",
        "answer": f"/queries/{answered.pk}/",
        "report": f"/queries/{answered.pk}/report/",
    }


@pytest.mark.parametrize(("scheme", "size"), [("light", "desktop"), ("dark", "phone")])
def test_every_page_has_no_serious_violation_and_fits(open_page, crew, scheme, size, tmp_path):
    page = open_page("analyst", color_scheme=scheme, size=size)
    for name, path in paths(crew).items():
        page.goto(path)
        if name == "new":
            page.locator("#cost .big").wait_for()
        if name in ("index", "answer", "report"):
            page.locator("html[data-drawn]").wait_for(state="attached")
        page.screenshot(path=tmp_path / f"{name}-{scheme}.png", full_page=True)
        assert serious(page) == [], name
        assert overflow(page) <= 0, name


def test_a_stranger_chooses_an_epsilon_on_the_first_page(open_page):
    page = open_page()
    page.goto("/")
    page.locator("html[data-drawn]").wait_for(state="attached")
    assert page.locator(".drawing svg").count() == 1
    before = page.locator(".noise").last.inner_text()
    page.get_by_label("Epsilon").select_option("0.25")
    page.get_by_role("button", name="Show its noise").click()
    page.wait_for_url("**/?epsilon=0.25*")
    assert page.locator(".noise").last.inner_text() != before


def test_the_keyboard_alone_leaves_the_editor_and_submits(open_page):
    trial()
    page = open_page("analyst")
    page.goto("/queries/new/")
    page.locator("#cost .big").wait_for()
    page.get_by_label("Title").focus()
    page.keyboard.type("T")
    page.keyboard.press("Tab")
    page.keyboard.type("P")
    page.locator(EDITOR).focus()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "epsilon"
    page.keyboard.press("Enter")
    page.wait_for_url("**/queries/*-*/")
