"""Sealed bundles go once four receipts are old enough: not a day earlier, never silently, never half."""

import os
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from portal.audit.models import Event
from portal.operations import retention
from portal.registry import bundles
from portal.registry.models import Chunk, Dataset, Receipt

from . import factories

pytestmark = pytest.mark.django_db


def uploaded(parties=range(4), *, state="READY", days=31, codes=()):
    """A dataset with a chunk for each party, and receipts of some parties that are so many days old."""
    dataset = factories.dataset(state="UPLOADING")
    for party in range(4):
        bundles.store(dataset, party=party, number=0, of=1, content=b"sealed" * 10)
    Dataset.objects.filter(pk=dataset.pk).update(state=state)
    for party in parties:
        code = "bad" if party in codes else ""
        Receipt.objects.create(
            dataset=dataset, manifest_hash=dataset.manifest_hash, party=party, report="{}", signature="", time=0, code=code
        )  # fmt: skip
    Receipt.objects.filter(dataset=dataset).update(created=timezone.now() - timedelta(days=days))
    dataset.refresh_from_db()
    return dataset


def files(settings):
    return [name for _, _, names in os.walk(settings.FOURFOLD_BUNDLES) for name in names]


def test_bundles_go_when_four_receipts_are_older_than_the_days(settings):
    dataset = uploaded()
    assert len(files(settings)) == 4
    retention.tidy()
    assert files(settings) == [] and not Chunk.objects.exists()
    event = Event.objects.first()
    assert (event.kind, event.subject) == ("bundles deleted", f"dataset {dataset.pk}")
    assert event.detail == {"manifest_hash": dataset.manifest_hash, "chunks": 4, "bytes": 240}
    assert dataset.receipts.count() == 4
    retention.tidy()
    assert Event.objects.filter(kind="bundles deleted").count() == 1


@pytest.mark.parametrize(
    "how",
    [{"days": 29}, {"parties": range(3)}, {"parties": ()}, {"state": "CHECKING"}, {"state": "REJECTED"}, {"codes": (2,)}],
    ids=str,
)  # fmt: skip
def test_bundles_stay_while_a_receipt_is_missing_or_young(settings, how):
    uploaded(**how)
    retention.tidy()
    assert len(files(settings)) == 4 and Chunk.objects.count() == 4


def test_receipts_of_another_manifest_do_not_count(settings):
    dataset = uploaded(parties=())
    for party in range(4):
        Receipt.objects.create(
            dataset=dataset, manifest_hash="0" * 64, party=party, report="{}", signature="", time=0
        )
    Receipt.objects.update(created=timezone.now() - timedelta(days=99))
    assert retention.due() == []


def test_one_young_receipt_keeps_the_bundles():
    dataset = uploaded()
    Receipt.objects.filter(dataset=dataset, party=2).update(created=timezone.now())
    assert retention.due() == []


def test_the_days_are_a_setting(settings):
    uploaded(days=3)
    assert retention.due() == []
    settings.FOURFOLD_BUNDLE_DAYS = 2
    assert len(retention.due()) == 1


def test_a_folder_that_cannot_be_removed_is_due_again_and_nothing_is_recorded(settings, monkeypatch):
    uploaded()
    monkeypatch.setattr(bundles, "forget", lambda *_: None)
    retention.tidy()
    assert len(files(settings)) == 4 and Chunk.objects.count() == 4
    assert not Event.objects.filter(kind="bundles deleted").exists() and len(retention.due()) == 1
    with pytest.raises(CommandError, match="due again"):
        call_command("delete_bundles")


def test_a_run_that_was_killed_after_the_files_went_is_completed(settings):
    dataset = uploaded()
    bundles.forget(dataset.pk, dataset.manifest_hash)
    retention.tidy()
    assert not Chunk.objects.exists() and Event.objects.filter(kind="bundles deleted").exists()


def test_the_command_says_what_it_deletes_and_a_dry_run_deletes_nothing(settings, capsys):
    dataset = uploaded(days=5)
    call_command("delete_bundles", days=4, dry_run=True)
    assert f"{dataset.pk} is due" in capsys.readouterr().out and len(files(settings)) == 4
    call_command("delete_bundles", days=4)
    assert f"{dataset.pk} deleted, 240 bytes" in capsys.readouterr().out and files(settings) == []
    with pytest.raises(CommandError, match="from 0"):
        call_command("delete_bundles", days=-1)


def test_a_dataset_without_bundles_still_answers_and_uploading_it_again_changes_nothing(sender, crew, as_):
    """Also where the portal would have to serve a chunk that it no longer has."""
    dataset = uploaded()
    retention.tidy()
    path = f"/api/parties/1/datasets/{dataset.pk}/bundles/0/"
    assert crew[1].get(path).status_code == 404
    answer = as_("provider").get(f"datasets/{dataset.pk}/")
    assert answer.status_code == 200 and answer.json()["state"] == "READY"
    assert factories.query(dataset).state == "SUBMITTED"


def test_the_dispatcher_looks_by_itself(settings, sender, monkeypatch):
    import threading

    from portal.queries import dispatcher

    uploaded()
    stopped = threading.Event()
    dispatcher.run(sender, stopped=stopped, sleep=lambda _: stopped.set())
    assert files(settings) == []
