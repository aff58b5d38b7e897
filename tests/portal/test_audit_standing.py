"""The auditors' page says how far the chain stands, and what does not fit, without reading it all."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from portal.audit import chain
from portal.audit.models import Event, Line, Witnessed
from portal.audit.standing import standing

from . import factories
from .test_audit_chain import beat, raw, written

pytestmark = pytest.mark.django_db


def wrong():
    return standing(timezone.now()).wrong


def seen_by(party):
    """What the party signs: the newest line."""
    newest = Line.objects.order_by("-number").first()
    beat(party, newest.number, newest.hash)


def test_a_trail_that_fits_tells_its_newest_line_and_who_signed_which(crew):
    written(3)
    seen_by(crew[0])
    written(2)
    seen_by(crew[0])
    seen_by(crew[2])
    written(1)
    found = standing(timezone.now())
    newest = Line.objects.order_by("-number").first()
    assert (found.number, found.hash, found.late, found.wrong) == (newest.number, newest.hash, 0, None)
    assert [(s.party, s.number, s.agrees) for s in found.seen] == [
        (0, newest.number - 1, True),
        (2, newest.number - 1, True),
    ]


def test_an_empty_trail_fits():
    assert standing(timezone.now()).number == Line.objects.count() and wrong() is None


def test_a_replaced_line_is_not_the_one_that_a_party_signed(crew):
    written(3)
    seen_by(crew[1])
    number = Line.objects.count()
    raw("UPDATE audit_line SET hash = %s WHERE number = %s", "0" * 64, number)
    assert wrong() == f"line {number} is not the one that party 1 signed"


def test_a_cut_end_is_noticed_by_what_a_party_signed(crew):
    written(3)
    seen_by(crew[3])
    number = Line.objects.count()
    raw("DELETE FROM audit_line WHERE number = %s", number)
    assert wrong() == f"the trail ends at line {number - 1}, party 3 signed line {number}"


def test_a_removed_line_is_counted():
    written(5)
    raw("DELETE FROM audit_line WHERE number = 2")
    assert wrong() == f"the newest line is {Line.objects.count() + 1}, and {Line.objects.count()} are there"


def test_a_changed_newest_event_is_not_what_was_sealed():
    written(2)
    newest = Line.objects.order_by("-number").first()
    raw("UPDATE audit_event SET kind = %s WHERE id = %s", "other", newest.event_id)
    assert wrong() == f"line {newest.number} is not what was sealed"


def test_an_event_of_a_moment_ago_may_wait_and_an_old_one_may_not():
    factories.account("auditor")
    assert Event.objects.filter(line=None).exists() and wrong() is None
    later = standing(timezone.now() + chain.PATIENCE + timedelta(seconds=1))
    assert later.late == Event.objects.filter(line=None).count() and "not sealed" in later.wrong


def test_the_page_shows_it_in_few_queries(crew, django_assert_max_num_queries):
    client = Client()
    client.force_login(factories.account("auditor"))
    written(40)
    for party in crew:
        seen_by(party)
    with django_assert_max_num_queries(16):
        page = client.get("/audit/").content.decode()
    assert "what was looked at fits" in page and page.count("signed line") == 4
    assert Witnessed.objects.count() == 4


def test_the_page_says_first_what_does_not_fit():
    client = Client()
    client.force_login(factories.account("auditor"))
    written(3)
    raw("DELETE FROM audit_line WHERE number = 1")
    page = client.get("/audit/").content.decode()
    assert "The chain does not fit:" in page and "what was looked at fits" not in page
