"""How a party is, in plain words: what is said of it is what it, or a named peer, signed."""

import time
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from portal.operations.models import PartyHealth
from portal.registry import parties
from portal.registry.models import PartyState

from . import factories
from .test_admin import logged_in

pytestmark = pytest.mark.django_db
HEADS = [f"{n:x}" * 64 for n in range(10)]


def words(party, *, lines=0, head=HEADS[0], store=None, version="1", **changes):
    """A heartbeat as a party of today's code sends it; `changes` are names of its health."""
    whole = {
        "readable": True,
        "writable": True,
        "free_bytes": 10**11,
        "datasets": 2,
        "columns": 30,
        "last_error": "",
        **(store or {}),
    }
    said = {
        "store": whole,
        "constants": HEADS[1],
        "fingerprint": party.public["fingerprint"][:32],
        "started": 1_800_000_000,
        "redis_us": 300,
        "peers": [],
        "audit": {"number": 0, "hash": "0" * 64, "wrong": False},
        **changes,
    }
    return party.signed(
        "heartbeat", code_version=version, ledger={"length": lines, "head": head}, busy=False, health=said
    )


def say(party, **how):
    answer = party.post(words(party, **how))
    assert answer.status_code == 200, answer.content


def of(number):
    return Client().get("/api/parties/").json()["parties"][number]


@pytest.fixture(autouse=True)
def fingerprints(crew, settings):
    """The pinned fingerprints as long as a party's own program makes them."""
    import json

    entries = [{**p.public, "fingerprint": p.public["fingerprint"][:32]} for p in crew]
    settings.FOURFOLD_PARTIES_FILE.write_text(json.dumps(entries))


def test_a_party_without_complaints_is_ok(crew):
    for party in crew:
        say(party)
    assert {(p["state"], tuple(p["reasons"])) for p in parties.listing()} == {("ok", ())}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"store": {"readable": False, "last_error": "EACCES"}}, "its store cannot be read (EACCES)"),
        ({"store": {"writable": False, "last_error": "EROFS"}}, "its store cannot be written (EROFS)"),
        ({"store": {"free_bytes": 5 * 2**20}}, "5 MiB are free on its disk"),
        ({"redis_us": None}, "Redis does not answer it"),
        ({"redis_us": 450_000}, "Redis answers it in 450 ms"),
        ({"fingerprint": "0" * 32}, "its keys are not those that are pinned here"),
    ],
)
def test_what_a_party_says_against_itself_degrades_it(crew, how, reason):
    say(crew[2], **how)
    assert (of(2)["state"], of(2)["reasons"]) == ("degraded", [reason])


def test_a_clock_that_is_off_is_named(crew):
    said = words(crew[1])["report"]
    crew[1].post(crew[1].signed(**{"kind": "heartbeat", **_fields(said), "time": said["time"] - 200}))
    assert of(1)["state"] == "degraded" and "its clock is 20" in of(1)["reasons"][0]
    assert of(1)["reasons"][0].endswith("s behind")


def _fields(report):
    return {name: value for name, value in report.items() if name not in ("type", "party", "time")}


def test_a_silent_party_is_silent_since_its_last_word(crew):
    say(crew[0])
    then = timezone.now() - timedelta(hours=2)
    PartyState.objects.update(last_seen=then, said_at=int(then.timestamp()))
    assert of(0)["state"] == "silent"
    assert of(0)["reasons"] == [f"silent since {then:%Y-%m-%d %H:%M:%S} UTC"]


def test_other_code_among_parties_is_named_at_each_of_them(crew):
    for party in crew:
        say(party, version="0.2" if party.number == 3 else "0.1")
    assert of(3)["reasons"] == ["runs 0.2, other code than parties 0, 1, 2"]
    assert of(0)["reasons"] == ["runs 0.1, other code than party 3"]


def test_the_code_of_a_silent_party_disturbs_nobody(crew):
    say(crew[3], version="0.2")
    PartyState.objects.update(last_seen=timezone.now() - timedelta(hours=1))
    for party in crew[:3]:
        say(party, version="0.1")
    assert [p["state"] for p in parties.listing()] == ["ok", "ok", "ok", "silent"]


def test_other_constants_among_parties_are_named(crew):
    for party in crew:
        say(party, constants=HEADS[2 if party.number == 1 else 1])
    assert of(1)["reasons"] == ["computes other constants than parties 0, 2, 3"]


def test_a_ledger_that_is_shorter_than_it_was_is_named(crew):
    say(crew[1], lines=9, head=HEADS[9])
    say(crew[1], lines=5, head=HEADS[5])
    (reason,) = of(1)["reasons"]
    assert reason == "its ledger has 5 lines, this portal saw 9: it was set back, and peers refuse it"
    say(crew[1], lines=10, head=HEADS[8])
    assert of(1)["reasons"][0].startswith("its ledger has 10 lines, this portal saw 9"), "it only grew again"
    assert {"by": "portal", "length": 9, "head": HEADS[9]} in of(1)["ledger_seen"]
    say(crew[1], lines=9, head=HEADS[9])
    assert of(1)["state"] == "ok", "the newest backup was found after all"
    say(crew[1], lines=10, head=HEADS[1])
    assert of(1)["state"] == "ok"


def test_a_ledger_of_the_same_length_that_is_another_is_named(crew):
    say(crew[1], lines=5, head=HEADS[5])
    say(crew[1], lines=5, head=HEADS[6])
    assert "of 5 lines is not the one that this portal saw" in of(1)["reasons"][0]


def test_what_a_peer_saw_of_a_ledger_counts_once_the_party_had_time_to_say_so(crew):
    say(crew[1], lines=5, head=HEADS[5])
    say(crew[2], peers=[[1, 7, HEADS[7]]])
    assert of(1)["state"] == "ok"
    health_row = PartyHealth.objects.get(party=2)
    assert health_row.witnessed["1"][:2] == [7, HEADS[7]]
    health_row.witnessed["1"][2] -= 60
    health_row.save()
    assert of(1)["reasons"] == ["its ledger has 5 lines, party 2 saw 7: it was set back, and peers refuse it"]
    say(crew[1], lines=7, head=HEADS[7])
    assert of(1)["state"] == "ok"


def test_a_peer_that_saw_another_ledger_of_the_same_length_is_named_at_once(crew):
    say(crew[2], peers=[[1, 5, HEADS[7]]])
    say(crew[1], lines=5, head=HEADS[5])
    assert "of 5 lines is not the one that party 2 saw" in of(1)["reasons"][0]


def test_how_long_a_peer_has_said_so_is_not_forgotten_by_its_next_word(crew):
    say(crew[2], peers=[[1, 7, HEADS[7]]])
    row = PartyHealth.objects.get(party=2)
    row.witnessed["1"][2] = 1000
    row.save()
    say(crew[2], peers=[[1, 7, HEADS[7]]])
    assert PartyHealth.objects.get(party=2).witnessed["1"][2] == 1000
    say(crew[2], peers=[[1, 8, HEADS[8]]])
    assert PartyHealth.objects.get(party=2).witnessed["1"][2] > time.time() - 60


def test_an_older_word_changes_nothing(crew):
    say(crew[0], lines=4, head=HEADS[4])
    older = words(crew[0], lines=9, head=HEADS[9])["report"]
    crew[0].post(crew[0].signed(**{"kind": "heartbeat", **_fields(older), "time": older["time"] - 30}))
    assert PartyHealth.objects.get(party=0).longest == 4


def test_a_party_of_older_code_that_says_nothing_of_its_health_is_heard(crew):
    crew[0].post(
        crew[0].signed("heartbeat", code_version="1", ledger={"length": 1, "head": HEADS[1]}, busy=True)
    )
    assert of(0)["state"] == "ok" and of(0)["ledger"] == {"length": 1, "head": HEADS[1]}


@pytest.mark.parametrize(("name", "shown"), [("operator", True), ("auditor", True), ("analyst", False)])
def test_what_a_party_says_of_its_store_is_for_operators_and_auditors(crew, as_, name, shown):
    say(crew[0])
    entry = as_(name).get("parties/").json()["parties"][0]
    assert (entry["health"] is not None) is shown
    if shown:
        assert entry["health"]["store"]["columns"] == 30 and entry["health"]["redis_us"] == 300
    assert of(0)["health"] is None


def test_the_admin_says_how_each_party_is_and_why(crew):
    say(crew[0], redis_us=None)
    page = logged_in("operator").get("/admin/registry/partystate/").content.decode()
    assert "degraded" in page and "Redis does not answer it" in page
    assert "free_bytes" in logged_in("superuser").get("/admin/registry/partystate/0/change/").content.decode()


@pytest.mark.parametrize(
    "change",
    [{"store": {"readable": 1}}, {"store": {"free_bytes": -1}}, {"store": {"more": 1}}, {"constants": "x"},
     {"store": {"last_error": "x" * 41}}, {"fingerprint": "A" * 32}, {"started": 1.5}, {"redis_us": True},
     {"redis_us": -1}, {"peers": [[1, 2]]}, {"peers": [[4, 1, HEADS[1]]]}, {"peers": {}}, {"cohort": 12},
     {"peers": [[n % 4, 1, HEADS[1]] for n in range(5)]}, {"peers": [[0, 2**63, HEADS[1]]]}],
)  # fmt: skip
def test_a_health_of_another_shape_is_refused(crew, change):
    from contextlib import suppress

    body = words(crew[0])
    with suppress(TypeError, ValueError):  # our own signer refuses floats already
        body = words(crew[0], **change)
    if body["report"]["health"] == words(crew[0])["report"]["health"]:
        body["report"]["health"]["started"] = 1.5
    assert crew[0].post(body).status_code == 400
    assert not PartyHealth.objects.exists()


def test_nothing_is_started_while_a_party_cannot_write(crew, sender):
    from portal.queries import dispatcher

    query = factories.approved()
    for party in crew:
        say(party, store={"writable": party.number != 2, "last_error": "ENOSPC"})
    dispatcher.tick(sender)
    assert sender.of("run") == []
    say(crew[2])
    dispatcher.tick(sender)
    assert sender.of("run") == [(str(query.pk), 1)]
