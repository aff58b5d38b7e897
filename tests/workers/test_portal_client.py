"""The party's HTTP: signed both ways, patient with a portal that is down, deaf to one that floods."""

import ssl
from dataclasses import replace

import httpx
import pytest

from analytics import logs
from tests.portal.receiver import Receiver, certificate
from tests.workers.world import World
from workers import report
from workers.errors import PortalUnreachable
from workers.portal_client import LARGEST_CHUNK, Portal


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def portal(world, transport=None, party=2, patience=0.0, sleep=lambda _: None):
    own = world.parties[party]
    transport = transport or world.portal.transport
    return Portal(own.config, own.keys, transport=transport, sleep=sleep, patience=patience)


def test_requests_and_reports_are_signed_by_the_party(world):
    """The fake portal verifies both signatures with the pinned key."""
    portal(world).report(report.receipt(2, "0" * 32, "1" * 64))
    (said,) = world.portal.said("receipt")
    assert said["party"] == 2 and set(said) == {"type", "party", "dataset", "manifest_hash", "time"}


def test_a_portal_that_fails_for_a_moment_is_asked_again_with_longer_pauses(world):
    pauses = []
    world.portal.down = 4
    client = portal(world, patience=60.0, sleep=pauses.append)
    client.report(report.started(2, "q", 1, "0" * 64))
    assert pauses == [0.1, 0.2, 0.4, 0.8] and len(world.portal.said("started")) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413])
def test_a_plain_no_is_not_asked_again(world, status):
    asked = []

    def answer(request):
        asked.append(request)
        return httpx.Response(status)

    with pytest.raises(PortalUnreachable, match=str(status)):
        portal(world, httpx.MockTransport(answer), patience=60.0).order("q")
    assert len(asked) == 1


def test_a_lost_connection_is_named_without_a_stack_trace(world):
    def answer(request):
        raise httpx.ConnectError("no route")

    with pytest.raises(PortalUnreachable, match="ConnectError"):
        portal(world, httpx.MockTransport(answer)).order("q")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_json_object_is_refused(world, content):
    answer = httpx.MockTransport(lambda request: httpx.Response(200, content=content))
    with pytest.raises(PortalUnreachable, match="did not answer with"):
        portal(world, answer).dataset("0" * 32)


def test_an_answer_larger_than_a_chunk_is_cut_off(world):
    flood = httpx.MockTransport(lambda request: httpx.Response(200, content=bytes(LARGEST_CHUNK + 1)))
    with pytest.raises(PortalUnreachable, match="more than"):
        portal(world, flood).chunk("0" * 32, 0)


def test_a_result_carries_its_integers_beside_the_signed_digest(world):
    integers = [[1, -2], [3]]
    said = report.result(
        2, "q", 1, "0" * 64, plan_hash="1" * 64, session="2" * 64, integers=integers, rounds=9
    )
    portal(world).report(said, integers=integers)
    (body,) = world.portal.reports
    assert body["integers"] == integers and "integers" not in body["report"]
    again = report.result(
        2, "q", 1, "0" * 64, plan_hash="1" * 64, session="2" * 64, integers=[[1, -2], [4]], rounds=9
    )
    assert again["result_hash"] != said["result_hash"]


def test_a_portal_over_https_whose_certificate_nobody_knows_is_told_nothing(world, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path, "localhost"))
    impostor = Receiver(context)
    try:
        own = world.parties[2]
        config = replace(own.config, portal_url=f"https://localhost:{impostor.port}")
        with Portal(config, own.keys, patience=0.0) as client, pytest.raises(PortalUnreachable):
            client.report(report.started(2, "q", 1, "0" * 64))
        assert impostor.heard == []
    finally:
        impostor.close()


def test_the_id_of_a_task_goes_with_its_requests(world):
    given = []

    def answer(request):
        given.append(request.headers.get("X-Request-ID"))
        return world.portal.answer(request)

    client = portal(world, httpx.MockTransport(answer))
    client.report(report.started(2, "q", 1, "0" * 64))
    with logs.bound(request="task-1"):
        client.report(report.started(2, "q", 1, "0" * 64))
    assert given == [None, "task-1"]
