"""A provider's pages: its own tables and nobody else's, every state, hostile words, few queries."""

import json

import pytest
from django.test import Client

from portal.registry.models import Dataset, DatasetState, Receipt
from portal.web.provider import words

from . import factories

HOSTILE = '<script>alert("x")</script>'


def client(name):
    made = Client()
    made.force_login(factories.account(name), backend="django.contrib.auth.backends.ModelBackend")
    return made


def text(response):
    return response.content.decode()


@pytest.mark.parametrize("name", ["analyst", "operator", "auditor"])
@pytest.mark.parametrize("path", ["/data/", "/data/new/"])
def test_a_providers_pages_are_refused_to_other_roles(db, name, path):
    assert client(name).get(path).status_code == 403


def test_a_stranger_is_asked_to_log_in(db):
    assert Client().get("/data/").headers["Location"] == "/login/?next=/data/"


def test_nobody_sees_the_dataset_of_another_organisation(db):
    dataset = factories.dataset()
    for path in ("", "summary/"):
        assert client("provider2").get(f"/data/{dataset.pk}/{path}").status_code == 404
    assert client("provider2").get(f"/data/new/?version-of={dataset.pk}").status_code == 404
    assert dataset.title not in text(client("provider2").get("/data/"))


def test_an_empty_history_says_how_to_begin(db):
    page = text(client("provider").get("/data/"))
    assert "Nothing sent yet" in page and "/data/new/" in page


@pytest.mark.parametrize("state", DatasetState.values)
def test_every_state_of_a_dataset_has_its_page(db, state):
    dataset = factories.dataset(state)
    ours = client("provider")
    for path in ("/data/", f"/data/{dataset.pk}/", f"/data/{dataset.pk}/summary/"):
        answer = ours.get(path)
        assert answer.status_code == 200 and state.lower() in text(answer)


def test_only_a_ready_dataset_offers_a_new_version(db):
    ours = client("provider")
    for state in DatasetState.values:
        dataset = factories.dataset(state)
        link = f"/data/new/?version-of={dataset.pk}"
        assert (link in text(ours.get(f"/data/{dataset.pk}/"))) is (state == "READY")
        assert ('id="start"' in text(ours.get(link))) is (state == "READY")


def test_a_rejected_upload_names_the_party_and_its_reason(db):
    dataset = factories.dataset("REJECTED")
    Receipt.objects.create(
        dataset=dataset, party=2, manifest_hash=dataset.manifest_hash, code="bundle_unopened", report="{}", signature="0", time=1
    )  # fmt: skip
    page = text(client("provider").get(f"/data/{dataset.pk}/"))
    assert "party 2 says <code>bundle_unopened</code>" in page


def test_receipts_of_an_older_manifest_are_not_counted(db):
    dataset = factories.dataset("CHECKING")
    for party, manifest in ((0, dataset.manifest_hash), (1, "e" * 64)):
        Receipt.objects.create(
            dataset=dataset, party=party, manifest_hash=manifest, report="{}", signature="0", time=1
        )
    assert "1 of 4" in text(client("provider").get("/data/"))


def test_what_was_asked_is_shown_and_not_what_was_answered(db, crew, sender):
    query = factories.released(crew)
    dataset = Dataset.objects.get()
    page = text(client("provider").get(f"/data/{dataset.pk}/"))
    assert "count() where age" in page and "released" in page
    assert json.loads(query.result.body)["statements"] and query.result.etag not in page
    assert "noise_scale" not in page


def test_words_of_a_codebook_are_escaped(db):
    book = factories.codebook()
    book["title"] = "A trial"
    book["facts"] = {"purpose": HOSTILE, "legal_basis": HOSTILE}
    book["fields"][0]["title"] = HOSTILE
    dataset = factories.dataset(book=book, title=HOSTILE)
    ours = client("provider")
    for path in (
        "/data/",
        f"/data/{dataset.pk}/",
        f"/data/{dataset.pk}/summary/",
        f"/data/new/?version-of={dataset.pk}",
    ):
        page = text(ours.get(path))
        assert HOSTILE not in page and "alert(" in page


def test_the_summary_says_purpose_basis_worst_case_and_who_decides(db):
    book = factories.codebook(modes=["dp"])
    book["facts"] = {"purpose": "Relapse after surgery", "legal_basis": "GDPR article 9(2)(j)"}
    dataset = factories.dataset(book=book)
    page = text(client("provider").get(f"/data/{dataset.pk}/summary/"))
    for said in (
        "Relapse after surgery",
        "GDPR article 9(2)(j)",
        "99.996 % sure",
        "Any two parties together",
        "Who decides",
    ):
        assert said in page
    assert "exact answers" not in page


def test_a_summary_without_purpose_leaves_a_line_to_fill_in(db):
    page = text(client("provider").get(f"/data/{factories.dataset().pk}/summary/"))
    assert page.count('class="blank"') == 2


@pytest.mark.parametrize(
    "micro, said",
    [(0, "50 % sure"), (100_000, "53 % sure"), (1_000_000, "74 % sure"), (5_000_000, "99.4 % sure"), (40_000_000, "practically certain")],
)  # fmt: skip
def test_the_worst_belief_is_never_rounded_down(micro, said):
    assert words.worst_belief(micro) == said


def test_the_history_takes_as_few_queries_for_many_tables_as_for_one(db, django_assert_max_num_queries):
    ours = client("provider")
    for _ in range(6):
        factories.dataset()
    with django_assert_max_num_queries(9):
        ours.get("/data/")


def test_the_page_of_a_dataset_takes_few_queries(db, django_assert_max_num_queries):
    dataset = factories.dataset()
    for _ in range(3):
        factories.query(dataset)
    ours = client("provider")
    with django_assert_max_num_queries(16):
        ours.get(f"/data/{dataset.pk}/")


def test_the_page_for_a_new_version_hands_over_the_signed_manifest(db):
    dataset = factories.dataset()
    page = text(client("provider").get(f"/data/new/?version-of={dataset.pk}"))
    start = page.split('<script id="start" type="application/json">')[1].split("</script>")[0]
    assert json.loads(start)["before"]["manifest"] == json.loads(dataset.manifest)
