"""The portal's disk is full while a table comes in: the provider is told, no half chunk stays, and the rest follows."""

from __future__ import annotations

import pytest

from tests.faults.disk import small_disk
from tests.portal import factories
from tests.portal.conftest import as_, crew, django_db_modify_db_settings, local  # noqa: F401  (fixtures)


@pytest.fixture
def disk(tmp_path, settings):
    settings.FOURFOLD_BUNDLES = tmp_path / "bundles"
    with small_disk(settings.FOURFOLD_BUNDLES) as made:
        yield made


@pytest.mark.django_db
def test_a_chunk_that_does_not_fit_on_the_portals_disk_is_refused_and_comes_in_later(disk, as_):  # noqa: F811
    """Number 11, at the portal."""
    provider = as_("provider")
    body = factories.announcement()
    assert provider.post("datasets/", body).status_code == 201
    path = f"datasets/{body['manifest']['dataset']}/bundles/0/0/?chunks=1"

    def put():
        return provider.call("put", path, content=bytes(300_000), content_type="application/octet-stream")

    disk.fill()
    answer = put()
    assert answer.status_code == 507 and answer.json()["code"] == "disk_full", answer.content
    assert [p for p in disk.place.rglob("*") if p.is_file() and p != disk.filler] == []
    disk.empty()
    assert put().status_code == 201
    (kept,) = [p for p in disk.place.rglob("*") if p.is_file()]
    assert kept.stat().st_size == 300_000
