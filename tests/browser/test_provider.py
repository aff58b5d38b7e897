"""A provider sends the sample study from the browser: what arrives is what the command line makes, and nothing else left."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analytics.query.schema import load_codebook, parse_codebook
from portal.registry import bundles
from portal.registry.models import Dataset
from providers.__main__ import read_study
from providers.planes import to_planes
from providers.report import Report
from tests.browser import study
from tests.browser.conftest import overflow, serious
from tests.portal import factories


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    return study.sample(tmp_path_factory.mktemp("study"))


@pytest.fixture
def openers(settings, local):
    return study.fresh_parties(settings.FOURFOLD_PARTIES_FILE)


@pytest.fixture
def provider(open_page, openers):
    return open_page("provider")


def the_dataset(page, state):
    """The one dataset, once it is in `state`."""
    for _ in range(150):
        dataset = Dataset.objects.first()
        if dataset is not None and dataset.state == state:
            return dataset
        page.wait_for_timeout(100)
    raise AssertionError(
        f"not {state}: {dataset and dataset.state}; the page says {page.locator('main').inner_text()}"
    )


def sign_all(openers, dataset):
    for opener in openers:
        assert opener.post(opener.receipt(dataset)).status_code in (200, 201, 202)


def planes_of(path):
    schema = parse_codebook(load_codebook(study.CODEBOOK.read_bytes()))
    encoded = read_study(schema, [str(path)], Report())
    assert encoded is not None
    return to_planes(encoded, schema.plane_names, schema.capacity)


def test_what_arrives_reconstructs_to_the_codes_of_the_command_line_and_no_cell_left(
    provider, openers, tables
):
    page, table = provider, tables[0]
    sent = []
    page.on("request", lambda request: sent.append((request.url, request.post_data_buffer or b"")))
    page.goto("/data/new/")
    study.give(page, table)
    assert page.locator("#file-list tbody tr").inner_text().split("\t")[:2] == ["1", table.name]
    study.verify(page)
    study.submit(page)
    dataset = the_dataset(page, "CHECKING")
    words = planes_of(table)
    assert np.array_equal(study.opened(dataset, openers, bundles.read, words.shape), words)
    sign_all(openers, dataset)
    page.get_by_text("Your data is there").wait_for()
    the_dataset(page, "READY")
    keys = [line.split(",")[0].strip('"') for line in table.read_text("utf-8-sig").splitlines()[1:200]]
    assert len(sent) > 5 and any(len(body) > 30_000 for _, body in sent)
    for url, body in sent:
        for cell in (*keys, table.name):
            assert cell.encode() not in body and cell not in url


def test_a_wrong_file_and_a_wrong_header_are_named_with_a_remedy(provider, tables):
    page = provider
    page.goto("/data/new/")
    study.drop(page, ("photo.png", b"\x89PNG\r\n\x1a\n" + bytes(200)))
    page.locator("#file-list").get_by_text("cannot be read").wait_for()
    page.get_by_role("button", name="Remove photo.png").click()
    page.locator("#file-list table").wait_for(state="detached")
    header, _, rest = tables[0].read_bytes().partition(b"\n")
    study.drop(page, ("study.csv", header.replace(b"age", b"aeg") + b"\n" + rest))
    page.locator("#codebook-file").set_input_files(study.CODEBOOK)
    row = page.locator("#problems tr.error", has_text="study.csv").first
    row.wait_for()
    assert "age" in row.inner_text()
    assert page.get_by_role("button", name="Verify and submit").is_disabled()


def test_a_closed_tab_in_the_middle_of_an_upload_loses_nothing(provider, openers, tables, watch):
    page = provider
    page.goto("/data/new/")
    study.give(page, tables[0])
    study.verify(page)
    page.route("**/bundles/2/**", lambda route: route.abort())
    study.submit(page)
    page.get_by_text("no answer from the portal").wait_for()
    before = the_dataset(page, "UPLOADING")
    there = {(c.party, c.number): c.sha256 for c in before.chunks.all()}
    assert {party for party, _ in there} == {0, 1}
    fresh = page.context.new_page()
    page.close()
    fresh.goto("/data/")
    fresh.get_by_text("Not finished in this browser").wait_for()
    fresh.get_by_role("link", name="Go on").click()
    fresh.get_by_role("button", name="Go on").click()
    dataset = the_dataset(fresh, "CHECKING")
    assert dataset.manifest_hash == before.manifest_hash
    after = {(c.party, c.number): c.sha256 for c in dataset.chunks.all()}
    assert there.items() <= after.items() and {party for party, _ in after} == {0, 1, 2, 3}
    sign_all(openers, dataset)
    fresh.get_by_text("Your data is there").wait_for()
    watch.expected("ERR_FAILED")


def test_a_lost_network_is_waited_out(provider, openers, tables, watch):
    page = provider
    page.goto("/data/new/")
    study.give(page, tables[0])
    study.verify(page)
    page.context.set_offline(True)
    study.submit(page)
    page.get_by_text("no answer from the portal").wait_for()
    page.context.set_offline(False)
    sign_all(openers, the_dataset(page, "CHECKING"))
    page.get_by_text("Your data is there").wait_for()
    watch.expected("ERR_INTERNET_DISCONNECTED")


def test_an_ended_session_says_so_and_the_upload_goes_on_after_a_log_in(provider, openers, tables):
    page = provider
    page.goto("/data/new/")
    study.give(page, tables[0])
    study.verify(page)
    cookies = page.context.cookies()
    page.context.clear_cookies(name="sessionid")
    study.submit(page)
    page.get_by_text("Your session has ended").wait_for()
    assert not Dataset.objects.exists()
    page.context.add_cookies(cookies)
    page.get_by_role("button", name="Back").click()
    study.submit(page)
    sign_all(openers, the_dataset(page, "CHECKING"))
    page.get_by_text("Your data is there").wait_for()


def test_the_page_stays_responsive_while_twenty_megabytes_are_read(provider, tables):
    page = provider
    page.goto("/data/new/")
    page.get_by_text("Drop your files here").wait_for()
    page.evaluate("""() => { window.ticks = []; setInterval(() => ticks.push(performance.now()), 20) }""")
    page.evaluate("""() => {
      const lines = ["id,text,number"];
      for (let n = 0; n < 400000; n++) lines.push(`patient-${n},some text of a usual length ${n % 50},${n % 977}.${n % 10}`);
      const file = new File([lines.join("\\n")], "large.csv");
      window.size = file.size;
      const given = new DataTransfer();
      given.items.add(file);
      window.ticks.length = 0;
      document.querySelector("#drop").dispatchEvent(new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true}));
    }""")
    page.locator("#file-list tbody tr").wait_for(timeout=60_000)
    assert page.evaluate("size") > 20_000_000
    assert "400000" in page.locator("#file-list tbody tr").inner_text()
    gaps = page.evaluate("ticks.slice(1).map((at, n) => at - ticks[n])")
    # Reading takes a second at least: a page that waited for it would tick once or twice.
    assert len(gaps) > 10 and max(gaps) < 0.5 * sum(gaps)


def test_keys_of_parties_that_changed_stop_the_submission(provider, openers, tables, settings):
    page = provider
    page.goto("/data/new/")
    study.give(page, tables[0])
    study.verify(page)
    study.fresh_parties(settings.FOURFOLD_PARTIES_FILE)
    page.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Verify and submit").click()
    page.get_by_text("other keys than those that were pinned").wait_for()
    page.get_by_label("All data is verified and correct").check()
    assert page.get_by_role("button", name="Seal and submit").is_disabled()


def test_a_codebook_is_edited_in_the_form_and_checked_again(provider, tables):
    page = provider
    page.goto("/data/new/")
    study.give(page, tables[0])
    page.locator("details.column summary", has_text="bmi").click()
    page.locator("details.column[open]").get_by_label("Largest value").fill("12")
    page.locator("#problems tr.error", has_text="bmi").first.wait_for()
    page.locator("details.column[open]").get_by_label("Largest value").fill("61.1")
    page.get_by_text("patients fit the codebook").wait_for()
    text = page.evaluate("document.getElementById('codebook-text').value")
    assert (
        parse_codebook(json.loads(text)).hash
        == parse_codebook(load_codebook(study.CODEBOOK.read_bytes())).hash
    )


def test_a_draft_is_confirmed_column_by_column_before_anything_can_be_sent(provider, tables):
    page = provider
    page.goto("/data/new/")
    study.drop(page, (tables[0].name, tables[0].read_bytes()))
    page.get_by_role("button", name="Draft one from the files").click()
    page.locator("#problems", has_text="not_confirmed").wait_for()
    assert page.get_by_role("button", name="Verify and submit").is_disabled()
    for box in page.get_by_label("Read from your data").all():
        box.check()
    page.locator("#problems", has_text="not_confirmed").wait_for(state="detached")
    assert '"local"' not in page.evaluate("document.getElementById('codebook-text').value")


def test_a_new_version_follows_under_the_same_key_and_says_what_its_policy_allows_more(
    provider, openers, tables
):
    page = provider
    page.goto("/data/new/")
    study.give(page, tables[0])
    study.verify(page)
    study.submit(page)
    first = the_dataset(page, "CHECKING")
    sign_all(openers, first)
    page.get_by_text("Your data is there").wait_for()
    page.goto("/data/")
    page.get_by_role("link", name="New version").click()
    page.get_by_text("The codebook of the version before").wait_for()
    study.drop(page, (tables[0].name, tables[0].read_bytes().rsplit(b"\n", 2)[0] + b"\n"))
    page.get_by_text("patients fit the codebook").wait_for()
    page.get_by_label("Last day").fill("2036-01-01")
    assert page.get_by_role("button", name="Verify and submit").is_disabled()
    study.verify(page)
    page.get_by_text("last day from 2035-01-01 to 2036-01-01").wait_for()
    assert page.get_by_role("button", name="Seal and submit").is_disabled()
    page.get_by_label("I want it to allow more").check()
    study.submit(page)
    for _ in range(100):
        second = Dataset.objects.filter(version=2, state="CHECKING").first()
        if second:
            break
        page.wait_for_timeout(100)
    assert second is not None and second.chain == first.pk and second.provider_key == first.provider_key
    sign_all(openers, second)
    page.get_by_text("Your data is there").wait_for()
    page.goto("/data/")
    assert page.locator("tbody tr").count() == 2
    assert "superseded" in page.locator("tbody tr").nth(1).inner_text()


def tab_to(page, where):
    """Press the tab key until the element has the focus; which is what shows it."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate("place => document.activeElement.matches(place)", where):
            return
    raise AssertionError(f"the tab key never comes to {where}")


def test_the_keyboard_alone_sends_a_table(provider, openers, tables):
    page = provider
    page.goto("/data/new/")
    page.get_by_text("Drop your files here").wait_for()
    for field, path in (("#files", tables[0]), ("#codebook-file", study.CODEBOOK)):
        tab_to(page, field)
        style = (
            "place => getComputedStyle(document.querySelector(`label[for=${place.slice(1)}]`)).outlineStyle"
        )
        assert page.evaluate(style, field) == "solid"
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Space")
        chooser.value.set_files(path)
        page.locator("#file-list tbody tr").wait_for()
    page.get_by_text("patients fit the codebook").wait_for()
    for place, key in (
        ("#to-verify", "Enter"),
        ("#party-keys input", "Space"),
        ("#own-key button", "Enter"),
        ("#own-key button", "Enter"),
        ("#own-key button + button", "Enter"),
        ("#correct", "Space"),
        ("#submit", "Enter"),
    ):
        page.locator(place).first.wait_for()
        tab_to(page, place)
        page.keyboard.press(key)
        page.wait_for_timeout(200)
    sign_all(openers, the_dataset(page, "CHECKING"))
    page.get_by_text("Your data is there").wait_for()


def test_the_page_is_forbidden_to_an_analyst(open_page, watch):
    page = open_page("analyst")
    page.goto("/data/new/")
    page.get_by_text("Not your page").wait_for()
    watch.expected("403")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_every_page_of_a_provider_is_accessible_and_fits(open_page, openers, tables, scheme, size):
    page = open_page("provider", color_scheme=scheme, size=size)
    dataset = factories.dataset()
    factories.query(dataset)
    for path in (
        "/data/",
        f"/data/{dataset.pk}/",
        f"/data/{dataset.pk}/summary/",
        f"/data/new/?version-of={dataset.pk}",
        "/data/new/",
    ):
        page.goto(path)
        assert serious(page) == [], path
        assert overflow(page) <= 0, path
    study.give(page, tables[0])
    assert serious(page) == []
    assert overflow(page) <= 0
    study.verify(page)
    assert serious(page) == []
    assert overflow(page) <= 0
