"""The audit trail is a chain that parties sign: what is changed, removed, reordered or cut is named by its line."""

import json
import time
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from analytics.query.trail import START, extended
from portal.audit import chain
from portal.audit.actions import record
from portal.audit.models import Event, Line, Witnessed

pytestmark = pytest.mark.django_db
HEALTH = {
    "store": {"readable": True, "writable": True, "free_bytes": 2**40, "datasets": 0, "columns": 0, "last_error": ""},
    "constants": "c" * 64,
    "started": 1,
    "redis_us": 300,
    "peers": [],
}  # fmt: skip


def written(count):
    for number in range(count):
        record("account", by="setup", subject=f"account {number}", detail={"n": number, "part": 0.5})
    chain.seal()


def beat(party, number=0, head=START, wrong=False):
    """A party's heartbeat, as it posts it; the answer."""
    health = HEALTH | {
        "fingerprint": party.public["fingerprint"],
        "audit": {"number": number, "hash": head, "wrong": wrong},
    }
    body = party.signed(
        "heartbeat",
        code_version="1",
        ledger={"length": 0, "head": START},
        busy=False,
        health=health,
        time=int(time.time()),
    )
    answer = Client().post(
        f"/api/parties/{party.number}/reports/", json.dumps(body), content_type="application/json"
    )
    assert answer.status_code in (200, 201), answer.content
    return answer.json()["audit"]


def verify(*args):
    out = StringIO()
    call_command("verify_audit", *args, stdout=out)
    return out.getvalue()


def raw(sql, *args):
    """What somebody with the database's password does: the triggers are in the way, so they go."""
    with connection.cursor() as cursor:
        on = " ON {}" if connection.vendor == "postgresql" else ""
        for table in ("audit_event", "audit_line", "audit_witnessed"):
            for verb in ("update", "delete"):
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}{on.format(table)}")
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA defer_foreign_keys = ON")
        cursor.execute(sql, args)


def test_lines_are_numbered_without_gaps_and_sealing_again_adds_nothing():
    written(5)
    before = Line.objects.count()
    assert list(Line.objects.values_list("number", flat=True)) == list(range(1, before + 1))
    assert chain.seal() == 0
    written(1)
    assert Line.objects.count() == before + 1
    assert "holds" in verify()


def test_a_party_follows_the_trail_by_digests_alone(crew):
    written(4)
    answer = beat(crew[1])
    assert extended(0, START, answer["events"]) == (answer["number"], answer["hash"])
    assert Witnessed.objects.count() == 0  # nothing was seen yet
    written(2)
    then = beat(crew[1], answer["number"], answer["hash"])
    assert len(then["events"]) == 2
    assert extended(answer["number"], answer["hash"], then["events"]) == (then["number"], then["hash"])
    beat(crew[1], answer["number"], answer["hash"])
    assert Witnessed.objects.count() == 1
    assert "holds" in verify()


def test_a_long_trail_is_told_in_parts(crew, monkeypatch):
    monkeypatch.setattr(chain, "MOST", 3)
    written(8)
    number, head, answers = 0, START, 0
    while (answer := beat(crew[0], number, head))["events"]:
        number, head = extended(number, head, answer["events"])
        assert (number, head) == (answer["number"], answer["hash"])
        answers += 1
    assert number == Line.objects.count() and answers >= 3


@pytest.mark.parametrize("column", ["kind", "by", "subject", "detail"])
def test_a_changed_event_is_named_by_its_line(column):
    written(6)
    row = Line.objects.order_by("number")[3]
    value = '{"n":99}' if column == "detail" else "somebody else"
    raw(f'UPDATE audit_event SET "{column}" = %s WHERE id = %s', value, row.event_id)
    with pytest.raises(CommandError, match=f"line {row.number} is not what was sealed"):
        verify()


@pytest.mark.parametrize("at", [0, 2, 4])
def test_a_removed_line_is_named(at):
    written(6)
    number = Line.objects.order_by("number")[at].number
    raw("DELETE FROM audit_line WHERE number = %s", number)
    with pytest.raises(CommandError, match=f"line {number} is missing"):
        verify()


def test_two_lines_that_changed_places_are_named():
    written(5)
    first, second = Line.objects.order_by("number")[1:3]
    ids = first.event_id, second.event_id
    raw("UPDATE audit_line SET event_id = -event_id WHERE number IN (%s, %s)", first.number, second.number)
    raw("UPDATE audit_line SET event_id = %s WHERE number = %s", ids[1], first.number)
    raw("UPDATE audit_line SET event_id = %s WHERE number = %s", ids[0], second.number)
    with pytest.raises(CommandError, match=f"line {first.number} is not what was sealed"):
        verify()


def test_a_trail_that_was_cut_at_its_end_is_named_by_the_party_that_saw_more(crew):
    written(6)
    answer = beat(crew[2])
    beat(crew[2], answer["number"], answer["hash"])
    raw("DELETE FROM audit_line WHERE number > %s", answer["number"] - 2)
    with pytest.raises(
        CommandError, match=f"ends at line {answer['number'] - 2}, party 2 signed line {answer['number']}"
    ):
        verify()


def test_a_trail_that_was_written_anew_from_one_line_on_is_not_the_one_that_a_party_signed(crew):
    written(6)
    answer = beat(crew[3])
    beat(crew[3], answer["number"], answer["hash"])
    raw("DELETE FROM audit_line")
    raw(
        "UPDATE audit_event SET subject = 'account of nobody' WHERE id = %s",
        Event.objects.order_by("id")[2].pk,
    )
    chain.seal()
    with pytest.raises(CommandError, match=f"line {answer['number']} is not the one that party 3 signed"):
        verify()


def test_a_head_that_nobody_signed_is_named(crew):
    written(3)
    answer = beat(crew[0])
    beat(crew[0], answer["number"], answer["hash"])
    raw("UPDATE audit_witnessed SET party = 1")
    with pytest.raises(CommandError, match="the signature of party 1"):
        verify()


def test_an_event_that_was_slipped_in_unsealed_is_told(settings):
    written(2)
    event = Event.objects.create(kind="account", by="x", subject="y")
    raw("UPDATE audit_event SET time = '2020-01-01 00:00:00' WHERE id = %s", event.pk)
    with pytest.raises(CommandError, match="1 events older than a minute are not sealed"):
        verify()


def test_an_export_is_checked_without_the_database_and_its_first_bad_line_is_named(crew, tmp_path):
    written(6)
    answer = beat(crew[2])
    beat(crew[2], answer["number"], answer["hash"])
    file = tmp_path / "trail.jsonl"
    call_command("export_audit", str(file), stdout=StringIO())
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(CommandError, match="is there already"):
        call_command("export_audit", str(file), stdout=StringIO())
    lines = file.read_text().splitlines()
    raw("DELETE FROM audit_line")
    assert "holds" in verify(str(file))
    file.write_text("\n".join([*lines[:2], *lines[3:]]))
    with pytest.raises(CommandError, match="line 3 is missing"):
        verify(str(file))
    file.write_text("\n".join([lines[0], lines[1].replace("setup", "nobody"), *lines[2:]]))
    with pytest.raises(CommandError, match="line 2 is not what was sealed"):
        verify(str(file))
    file.write_text("nonsense")
    with pytest.raises(CommandError, match="line 1: not a line"):
        verify(str(file))


def test_a_party_that_saw_another_trail_is_degraded_and_says_why(crew):
    from portal.operations import health

    written(2)
    beat(crew[1], 7, "f" * 64, wrong=True)
    condition = health.conditions([p.public["fingerprint"] for p in crew])[1]
    assert condition.state == "degraded"
    assert any("verify_audit" in reason for reason in condition.reasons)
