"""A table goes in: announced, uploaded in sealed chunks, acknowledged by four parties."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import Client

from analytics.query.approval import sign
from analytics.query.model import digest
from portal.audit.models import Event
from portal.registry.models import Dataset

from . import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(as_):
    return as_("provider")


def put(caller, dataset, party, chunk, content, chunks=1):
    return caller.call(
        "put",
        f"datasets/{dataset}/bundles/{party}/{chunk}/?chunks={chunks}",
        content=content,
        content_type="application/octet-stream",
    )


def uploaded(provider):
    """The id of a dataset whose bundles are complete."""
    body = factories.announcement()
    dataset = body["manifest"]["dataset"]
    assert provider.post("datasets/", body).status_code == 201
    for party in range(4):
        for chunk in range(2):
            assert put(provider, dataset, party, chunk, f"{party}{chunk}".encode(), 2).status_code == 201
    assert provider.post(f"datasets/{dataset}/complete/").status_code == 200
    return dataset


def receipt(party, dataset, kind="receipt", **fields):
    manifest_hash = Dataset.objects.get(pk=dataset).manifest_hash
    return party.signed(kind, dataset=dataset, manifest_hash=manifest_hash, **fields)


def state(dataset):
    return Dataset.objects.get(pk=dataset).state


def test_the_whole_way_of_a_table(provider, as_, crew):
    dataset = uploaded(provider)
    assert state(dataset) == "CHECKING"
    assert as_("analyst").get(f"datasets/{dataset}/").status_code == 404
    for party in crew:
        path = f"/api/parties/{party.number}/datasets/{dataset}/"
        told = party.get(path).json()
        assert told["chunks"] == 2
        assert digest(told["manifest"]) == Dataset.objects.get(pk=dataset).manifest_hash
        sealed = [party.get(f"{path}bundles/{n}/").content for n in range(told["chunks"])]
        assert sealed == [f"{party.number}0".encode(), f"{party.number}1".encode()]
        assert state(dataset) == "CHECKING"
        assert party.post(receipt(party, dataset)).json() == {"accepted": True}
    body = as_("analyst").get(f"datasets/{dataset}/").json()
    assert body["state"] == "READY"
    assert [r["party"] for r in body["receipts"]] == [0, 1, 2, 3]
    assert set(body["receipts"][0]) == {"party", "manifest_hash", "signature", "time"}


def test_the_catalogue_shows_public_facts_and_no_number_of_patients(provider, as_, crew):
    factories.dataset()
    body = as_("analyst").get("datasets/").json()["results"][0]
    assert body["columns"] == ["arm", "age"] and body["capacity"] == 256
    assert not any(key == "n" or "patients" in key or "rows" in key for key in body)


def test_the_same_announcement_again_changes_nothing(provider):
    body = factories.announcement()
    first, again = provider.post("datasets/", body), provider.post("datasets/", body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert Dataset.objects.count() == 1


def test_the_same_chunk_again_changes_nothing_and_other_bytes_are_refused(provider):
    body = factories.announcement()
    provider.post("datasets/", body)
    dataset = body["manifest"]["dataset"]
    assert put(provider, dataset, 0, 0, b"sealed").status_code == 201
    assert put(provider, dataset, 0, 0, b"sealed").status_code == 200
    assert put(provider, dataset, 0, 0, b"other").json()["code"] == "chunk_differs"
    assert put(provider, dataset, 0, 0, b"sealed", 2).status_code == 409
    assert put(provider, dataset, 0, 1, b"more", 2).json()["code"] == "chunk_differs"


@pytest.mark.parametrize(
    ("party", "chunk", "chunks", "content", "status"),
    [
        (4, 0, 1, b"x", 409),
        (0, 1, 1, b"x", 409),
        (0, 0, 0, b"x", 409),
        (0, 0, 5000, b"x", 409),
        (0, 0, 1, b"", 409),
        (0, 0, "", b"x", 400),
        (0, 0, "x", b"x", 400),
        (0, 0, "9" * 30, b"x", 400),
        (0, 0, -1, b"x", 400),
        (0, 0, 1, b"x" * (1024 * 1024 + 4097), 413),
    ],
)
def test_a_chunk_out_of_bounds_is_refused(provider, party, chunk, chunks, content, status):
    body = factories.announcement()
    provider.post("datasets/", body)
    assert put(provider, body["manifest"]["dataset"], party, chunk, content, chunks).status_code == status


def test_an_upload_is_complete_only_with_every_chunk(provider):
    body = factories.announcement()
    dataset = body["manifest"]["dataset"]
    provider.post("datasets/", body)
    for party in range(3):
        put(provider, dataset, party, 0, b"sealed")
    answer = provider.post(f"datasets/{dataset}/complete/")
    assert answer.json()["code"] == "incomplete" and "party 3" in answer.json()["detail"]
    put(provider, dataset, 3, 0, b"sealed", 2)
    assert provider.post(f"datasets/{dataset}/complete/").status_code == 409
    assert state(dataset) == "UPLOADING"


def test_after_completion_nothing_is_added(provider):
    dataset = uploaded(provider)
    assert put(provider, dataset, 0, 7, b"late", 9).json()["code"] == "not_uploading"
    assert put(provider, dataset, 0, 0, b"00", 2).status_code == 200
    assert provider.post(f"datasets/{dataset}/complete/").status_code == 200


WRONG = {
    "another dataset id": {"dataset": "x" * 32},
    "an upper-case id": {"dataset": "A" * 32},
    "a version without a chain": {"version": 2},
    "a predecessor": {"previous": "a" * 64},
    "no title": {"title": ""},
    "a long title": {"title": "x" * 201},
    "another codebook": {"codebook_hash": "a" * 64},
    "another capacity": {"capacity": 512},
    "a capacity of nothing": {"capacity": 0},
    "a true capacity": {"capacity": True},
    "another layout": {"layout_hash": "a" * 64},
    "other parties": {"party_set": []},
    "another portal": {"portal": {"sign": "a" * 64}},
    "another policy": {"policy": {"micro_epsilon": 10**9}},
    "no policy": {"policy": None},
    "three commitments": {"commitments": ["c" * 64] * 3},
    "odd commitments": {"commitments": [1, 2, 3, 4]},
    "two rows a patient": {"max_rows_per_patient": 2},
    "another unit": {"patient_unit": "visit"},
    "a late creation": {"created": 2**50},
    "a key that is none": {"provider_key": "zz"},
    "another type": {"type": "fourfold/1/order"},
    "an unknown key": {"colour": "red"},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_manifest_that_contradicts_itself_is_refused(provider, what):
    answer = provider.post("datasets/", factories.announcement(**WRONG[what]))
    assert answer.status_code == 400, answer.content
    assert answer.json()["code"] in ("manifest_refused", "bad_signature")
    assert not Dataset.objects.exists()


def test_a_manifest_lacking_a_key_is_refused(provider):
    body = factories.announcement()
    del body["manifest"]["commitments"]
    assert provider.post("datasets/", body).json()["code"] == "manifest_refused"


def test_a_manifest_that_was_changed_after_signing_is_refused(provider):
    body = factories.announcement()
    body["manifest"]["title"] = "Another trial"
    assert provider.post("datasets/", body).json()["code"] == "bad_signature"


def test_a_manifest_signed_by_another_key_is_refused(provider):
    body = factories.announcement()
    body["signature"] = sign(body["manifest"], Ed25519PrivateKey.generate())
    assert provider.post("datasets/", body).json()["code"] == "bad_signature"


def test_a_provider_key_belongs_to_one_organisation(provider, as_):
    key = Ed25519PrivateKey.generate()
    assert provider.post("datasets/", factories.announcement(key)).status_code == 201
    answer = as_("provider2").post("datasets/", factories.announcement(key))
    assert answer.status_code == 409 and answer.json()["code"] == "key_taken"


def test_an_unfinished_upload_starts_again_with_a_fresh_manifest(provider):
    key = Ed25519PrivateKey.generate()
    first = factories.announcement(key, dataset="1" * 32)
    provider.post("datasets/", first)
    put(provider, "1" * 32, 0, 0, b"sealed")
    second = factories.announcement(key, dataset="1" * 32, created=1_800_000_001)
    assert provider.post("datasets/", second).status_code == 201
    dataset = Dataset.objects.get()
    assert dataset.manifest_hash == digest(second["manifest"]) and not dataset.chunks.exists()
    assert put(provider, "1" * 32, 0, 0, b"other").status_code == 201


def test_another_table_never_takes_a_dataset_s_id(provider):
    key = Ed25519PrivateKey.generate()
    provider.post("datasets/", factories.announcement(key, dataset="1" * 32))
    other = factories.announcement(key, dataset="1" * 32, commitments=["d" * 64] * 4)
    assert provider.post("datasets/", other).json()["code"] == "manifest_differs"


def test_a_complaint_rejects_the_dataset_and_names_both_sides(provider, crew):
    dataset = uploaded(provider)
    crew[0].post(receipt(crew[0], dataset))
    assert crew[1].post(receipt(crew[1], dataset, "complaint", code="commitment")).status_code == 200
    assert state(dataset) == "REJECTED"
    body = provider.get(f"datasets/{dataset}/").json()
    assert [(c["party"], c["code"]) for c in body["complaints"]] == [(1, "commitment")]
    assert Event.objects.filter(kind="complaint", by="party 1", subject=f"dataset {dataset}").exists()
    assert Event.objects.filter(kind="dataset announced", by="provider").exists()


def test_a_rejected_dataset_may_be_sealed_again_three_times(provider, crew):
    key = Ed25519PrivateKey.generate()
    for round_ in range(5):
        body = factories.announcement(key, dataset="2" * 32, created=1_800_000_000 + round_)
        answer = provider.post("datasets/", body)
        assert answer.status_code == (201 if round_ < 4 else 409), answer.content
        if round_ == 4:
            assert answer.json()["code"] == "rejected"
            return
        for party in range(4):
            put(provider, "2" * 32, party, 0, b"sealed")
        provider.post(f"datasets/{'2' * 32}/complete/")
        crew[1].post(receipt(crew[1], "2" * 32, "complaint", code="commitment"))


def test_a_receipt_again_changes_nothing(provider, crew):
    dataset = uploaded(provider)
    said = receipt(crew[2], dataset)
    assert crew[2].post(said).json() == {"accepted": True}
    assert crew[2].post(said).json() == {"accepted": False}
    assert crew[2].post(receipt(crew[2], dataset, time=1_700_000_000)).json() == {"accepted": False}


def test_three_receipts_are_not_four(provider, crew):
    dataset = uploaded(provider)
    for party in crew[:3]:
        party.post(receipt(party, dataset))
    crew[0].post(receipt(crew[0], dataset))
    assert state(dataset) == "CHECKING"


def test_a_receipt_for_another_manifest_or_before_completion_counts_nothing(provider, crew):
    dataset = uploaded(provider)
    wrong = crew[0].signed("receipt", dataset=dataset, manifest_hash="a" * 64)
    assert crew[0].post(wrong).status_code == 409
    absent = crew[0].signed("receipt", dataset="e" * 32, manifest_hash="a" * 64)
    assert crew[0].post(absent).status_code == 409
    early = factories.announcement()
    provider.post("datasets/", early)
    assert crew[0].post(receipt(crew[0], early["manifest"]["dataset"])).status_code == 409


def test_parties_cannot_fetch_what_is_not_complete(provider, crew):
    body = factories.announcement()
    provider.post("datasets/", body)
    dataset = body["manifest"]["dataset"]
    put(provider, dataset, 0, 0, b"sealed")
    assert crew[0].get(f"/api/parties/0/datasets/{dataset}/").status_code == 404
    assert crew[0].get(f"/api/parties/0/datasets/{dataset}/bundles/0/").status_code == 404


def test_a_party_fetches_its_own_bundle_and_no_other(provider, crew):
    dataset = uploaded(provider)
    path = f"/api/parties/0/datasets/{dataset}/bundles/0/"
    assert crew[0].get(path).content == b"00"
    stolen = crew[1].authorization("GET", path)
    assert Client().get(path, headers={"Authorization": stolen}).status_code == 403


def test_sealed_bytes_lie_in_files_that_others_cannot_list(provider, settings):
    uploaded(provider)
    folders = [p for p in settings.FOURFOLD_BUNDLES.rglob("*") if p.is_dir()]
    assert folders and all(p.stat().st_mode & 0o077 == 0 for p in folders)
    assert len([p for p in settings.FOURFOLD_BUNDLES.rglob("*") if p.is_file()]) == 8


def test_decimals_of_a_codebook_are_served_as_they_are_hashed(provider):
    book = factories.codebook()
    book["fields"].append(
        {
            "name": "bmi",
            "type": "number",
            "constraints": {"minimum": 10.0, "maximum": 60.0},
            "resolution": 0.1,
        }
    )
    text = json.dumps(book)
    from decimal import Decimal

    exact = json.loads(text, parse_float=Decimal)
    body = factories.announcement(book=exact)
    content = json.dumps({**body, "codebook": book}).encode()
    answer = provider.post("datasets/", content=content)
    assert answer.status_code == 201, answer.content
    from analytics.query.schema import parse_codebook

    assert parse_codebook(answer.json()["codebook"]).hash == body["manifest"]["codebook_hash"]


def test_the_public_list_of_parties_shows_keys_and_how_they_are(crew):
    from portal.keys import portal_public

    crew[1].post(
        crew[1].signed("heartbeat", code_version="1.0", ledger={"length": 0, "head": ""}, busy=False)
    )
    body = Client().get("/api/parties/").json()
    assert body["portal"] == portal_public()
    assert [p["sign"] for p in body["parties"]] == [p.public["sign"] for p in crew]
    assert [p["state"] for p in body["parties"]] == ["never seen", "ok", "never seen", "never seen"]


@pytest.mark.parametrize("age", [-100_000, 100_000])
def test_a_replayed_heartbeat_does_not_wake_the_dead(crew, age):
    import time

    beat = {"code_version": "1.0", "ledger": {"length": 0, "head": ""}, "busy": False}
    crew[1].post(crew[1].signed("heartbeat", **beat, time=int(time.time()) + age))
    assert Client().get("/api/parties/").json()["parties"][1]["state"] == "never seen"


def test_an_older_heartbeat_never_replaces_a_newer_one(crew):
    import time

    now = int(time.time())
    for when, length in ((now, 5), (now - 30, 2)):
        beat = {"code_version": "1.0", "ledger": {"length": length, "head": "h"}, "busy": False}
        assert crew[0].post(crew[0].signed("heartbeat", **beat, time=when)).status_code == 200
    from portal.registry.models import PartyState

    assert PartyState.objects.get().ledger_length == 5
