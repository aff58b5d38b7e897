"""An upload ends with four verified receipts, survives lost connections, and changes nothing when repeated."""

from __future__ import annotations

import httpx
import pytest

from analytics.query.approval import sign
from providers.bundle import chunk_count
from providers.report import UploadInterrupted, UploadRefused
from providers.upload import TRIES, Portal, connect, upload
from tests.providers.world import FakePortal, World, problem, random_planes


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def client(fake: FakePortal, said: list[str] | None = None) -> Portal:
    clock = Clock()
    http = httpx.Client(transport=fake.transport, base_url="http://portal.test")
    return Portal(http, (said if said is not None else []).append, sleep=clock.sleep, clock=clock)


def run(fake: FakePortal, said: list[str] | None = None, dataset=None) -> str:
    world = fake.world
    return upload(
        client(fake, said),
        dataset or world.dataset(),
        world.deployment(),
        world.provider,
        timeout=60,
    )


@pytest.fixture
def world() -> World:
    return World()


def test_an_upload_sends_every_chunk_and_waits_for_four_receipts(world):
    fake, said = FakePortal(world, lag=5), []
    dataset = world.dataset(random_planes(1, 40_000))
    assert run(fake, said, dataset) == dataset.id
    sent = sorted(fake.chunks)
    assert sent == [(dataset.id, p, c) for p in range(4) for c in range(chunk_count(dataset, p))]
    assert len(sent) == 3 * 2 + 1
    assert [line for line in said if "receipt of party" in line][-1].endswith("(4 of 4)")
    assert any("100 %" in line for line in said)


def test_nothing_that_was_sent_holds_a_seed_a_salt_or_the_last_component(world):
    sent: list[bytes] = []
    dataset = world.dataset()
    run(FakePortal(world, fault=lambda n, request: sent.append(request.content)), dataset=dataset)
    secrets = [*dataset.seeds, *dataset.salts, dataset.last[:24]]
    for secret in [*secrets, *(secret.hex().encode() for secret in secrets)]:
        assert not any(secret in content for content in sent)


def test_a_repeated_upload_sends_no_chunk_and_gives_the_same_id(world):
    fake = FakePortal(world)
    first = run(fake)
    before = dict(fake.chunks)
    fake.seen.clear()
    assert run(fake, dataset=world.dataset(created=1_900_000_000, title="renamed")) == first
    assert {method for method, _ in fake.seen} == {"GET"}
    assert fake.chunks == before
    assert len(fake.datasets) == 1


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_every_lost_answer_is_tried_again(world, error):
    """The portal acts and its answer is lost, at each request in turn."""
    for lost in range(1, len(_requests(world)) + 1):
        fake = _losing(world, lost, error)
        run(fake)
        assert len(fake.chunks) == 4


def _losing(world: World, lost: int, error: type[httpx.TransportError]) -> FakePortal:
    fake = FakePortal(world)

    def fault(n: int, request: httpx.Request) -> httpx.Response | None:
        if n == lost:
            fake.route(request)
            raise error("gone")
        return None

    fake.fault = fault
    return fake


def _requests(world: World) -> list[tuple[str, str]]:
    fake = FakePortal(world)
    run(fake)
    return fake.seen


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_portal_is_asked_again_after_the_time_it_names(world, status):
    def fault(n: int, request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(status, headers={"Retry-After": "7"}) if n == 2 else None

    fake = FakePortal(world, fault=fault)
    portal = client(fake)
    upload(portal, world.dataset(), world.deployment(), world.provider, timeout=60)
    assert portal.clock() >= 7
    assert portal.lost == 1


def test_an_interrupted_upload_is_taken_up_by_the_next_run(world):
    """The second run seals afresh; what the first one sent stays, and the rest follows."""

    def fault(n: int, request: httpx.Request) -> httpx.Response | None:
        if broken and n > 5:
            raise httpx.ConnectError("down")
        return None

    broken = True
    fake = FakePortal(world, fault=fault)
    with pytest.raises(UploadInterrupted, match="run the same command again"):
        run(fake)
    assert len(fake.seen) == 5 + TRIES
    there = dict(fake.chunks)
    assert 0 < len(there) < 4
    broken = False
    said: list[str] = []
    assert run(fake, said, world.dataset(created=1_900_000_000)) in fake.datasets
    assert len(fake.chunks) == 4
    assert there.items() <= fake.chunks.items()
    assert any("were there from an earlier run" in line for line in said)


def test_a_run_that_finds_the_parties_at_work_waits_for_them(world):
    fake = FakePortal(world, lag=10**9)
    with pytest.raises(UploadInterrupted, match=r"no receipt of party 0, 1, 2, 3 after 60 s"):
        run(fake)
    fake.lag = 0
    fake.seen.clear()
    assert run(fake)
    assert {method for method, _ in fake.seen} == {"GET"}


def receipts(world: World, **changes):
    def made(dataset: str, manifest_hash: str) -> list[dict]:
        found = [party.receipt(dataset, manifest_hash) for party in world.parties]
        found[2] |= changes
        return found

    return made


def test_a_receipt_for_another_manifest_is_refused(world):
    def made(dataset: str, manifest_hash: str) -> list[dict]:
        found = [party.receipt(dataset, manifest_hash) for party in world.parties]
        found[2] = world.parties[2].receipt(dataset, "ab" * 32)
        return found

    with pytest.raises(UploadRefused, match="party 2 signed a receipt for another manifest"):
        run(FakePortal(world, receipts=made))


def test_a_receipt_of_another_dataset_or_kind_does_not_verify(world):
    def other_dataset(dataset: str, manifest_hash: str) -> list[dict]:
        return [party.receipt("ab" * 16, manifest_hash) for party in world.parties]

    def complaint(dataset: str, manifest_hash: str) -> list[dict]:
        found = [party.receipt(dataset, manifest_hash) for party in world.parties]
        said = {"type": "fourfold/1/complaint", "party": 2, "dataset": dataset}
        said |= {"manifest_hash": manifest_hash, "time": found[2]["time"]}
        found[2]["signature"] = sign(said, world.parties[2].sign)
        return found

    for made in (other_dataset, complaint):
        with pytest.raises(UploadRefused, match="does not verify"):
            run(FakePortal(world, receipts=made))


@pytest.mark.parametrize(
    "changes",
    [{"signature": "00" * 64}, {"signature": None}, {"time": 5}, {"time": None}, {"party": 3}],
)
def test_a_receipt_with_anything_changed_is_refused(world, changes):
    with pytest.raises(UploadRefused, match="does not verify"):
        run(FakePortal(world, receipts=receipts(world, **changes)))


def test_receipts_signed_by_keys_that_are_not_pinned_are_refused(world):
    other = World()
    made = FakePortal(
        world, receipts=lambda dataset, hash_: [p.receipt(dataset, hash_) for p in other.parties]
    )
    with pytest.raises(UploadRefused, match="party 0 does not verify under its pinned key"):
        run(made)


@pytest.mark.parametrize("party", [7, "0", None, True])
def test_a_receipt_of_nobody_is_refused(world, party):
    with pytest.raises(UploadRefused, match="not one of ours|does not verify"):
        run(FakePortal(world, receipts=receipts(world, party=party)))


def test_three_receipts_are_not_enough_whatever_the_portal_says(world):
    made = FakePortal(
        world, receipts=lambda dataset, hash_: [p.receipt(dataset, hash_) for p in world.parties[:3]]
    )
    with pytest.raises(UploadInterrupted, match="no receipt of party 3"):
        run(made)


def test_another_manifest_under_our_id_is_refused(world):
    dataset = world.dataset()
    fake = FakePortal(world)
    changed = dict(dataset.manifest, capacity=4096)
    fake.datasets[dataset.id] = {"manifest": changed, "state": "READY", "receipts": [], "polls": 0}
    with pytest.raises(UploadRefused, match="differs in capacity"):
        run(fake)
    changed = dict(dataset.manifest, extra=1)
    fake.datasets[dataset.id]["manifest"] = changed
    with pytest.raises(UploadRefused, match="another manifest"):
        run(fake)


def stand(world: World, state: str, **more) -> FakePortal:
    """A portal that has a dataset of this table in some state, with a complaint of party 2."""
    dataset, fake = world.dataset(), FakePortal(world)
    known = {"manifest": dict(dataset.manifest), "state": state, "receipts": [], "polls": 0}
    fake.datasets[dataset.id] = known | {"complaints": [{"party": 2, "code": "commitment"}]} | more
    return fake


def test_a_withdrawn_dataset_is_said_so_and_nothing_is_sent(world):
    fake = stand(world, "WITHDRAWN", complaints=[])
    with pytest.raises(UploadRefused, match="is withdrawn$"):
        run(fake)
    assert {method for method, _ in fake.seen} == {"GET"}


def test_a_dataset_that_a_party_rejects_is_refused_with_its_complaint(world):
    fake = FakePortal(world)

    def fault(n: int, request: httpx.Request) -> httpx.Response | None:
        for known in fake.datasets.values():
            if known["state"] == "CHECKING":
                known |= {"state": "REJECTED", "complaints": [{"party": 2, "code": "commitment"}]}
        return None

    fake.fault = fault
    with pytest.raises(UploadRefused, match=r"is rejected \(party 2: commitment\)"):
        run(fake)


def test_a_rejected_dataset_is_sealed_again_under_a_manifest_of_its_own(world):
    fake, said = stand(world, "REJECTED"), []
    again = world.dataset(created=1_900_000_000)
    assert run(fake, said, again) == world.dataset().id
    assert fake.datasets[again.id]["manifest"] == again.manifest
    assert "was rejected (party 2: commitment)" in said[0]


def test_an_upload_that_the_portal_finds_incomplete_is_refused_at_once(world):
    def fault(n: int, request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(200, json={}) if request.url.path.endswith("/bundles/1/0/") else None

    with pytest.raises(UploadRefused, match="incomplete"):
        run(FakePortal(world, fault=fault))


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (
            problem(401, "authentication"),
            r"\(401\): refused: authentication \[authentication\]: check --token",
        ),
        (problem(403, "forbidden"), r"\(403\): refused: forbidden"),
        (httpx.Response(500, text="<html>\nboom</html>"), r"\(500\): Internal Server Error"),
        (httpx.Response(200, text="<html>a page</html>"), "not JSON: is this a Fourfold portal"),
        (httpx.Response(200, json=[1]), "not a dataset"),
        (httpx.Response(302, headers={"Location": "https://x/"}), r"\(302\)"),
    ],
)
def test_a_refusal_is_one_line_with_the_portals_reason(world, answer, match):
    with pytest.raises(UploadRefused, match=match) as refused:
        run(FakePortal(world, fault=lambda n, request: answer))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "token"), [("portal", "t"), ("ftp://x", "t"), ("http://", "t"), ("http://x", "t\u2603")]
)
def test_an_address_or_token_that_cannot_be_used_is_refused(url, token):
    with pytest.raises(UploadRefused):
        connect(url, token)


def test_the_token_goes_into_the_header_and_a_path_in_the_address_stays():
    with connect("https://host.test/fourfold", "abc") as http:
        request = http.build_request("GET", "api/parties/")
    assert str(request.url) == "https://host.test/fourfold/api/parties/"
    assert request.headers["Authorization"] == "Token abc"


@pytest.mark.parametrize(("url", "through"), [("http://127.0.0.1:8000", False), ("https://host.test", True)])
def test_a_proxy_of_the_environment_serves_every_portal_but_one_on_this_machine(url, through, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    with connect(url, "abc") as http:
        assert http.trust_env is through
