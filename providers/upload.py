"""Sends a dataset to the portal, and believes it is there only when four receipts say so.

The portal stores sealed bytes and forwards; it is believed about nothing. A receipt counts if the pinned key
of its party signed this very manifest's hash. Every request may be repeated: a lost connection is tried
again, and a later run of the same command finds what is already there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.query.approval import BadSignature, sign, verify
from providers.bundle import Dataset, chunk_count, seal
from providers.keys import Deployment
from providers.report import UploadInterrupted, UploadRefused

BUSY = frozenset({429, 502, 503, 504})
TRIES = 6
LONGEST_PAUSE = 30.0
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MAY_DIFFER = ("created", "title")


@dataclass
class Portal:
    """The portal's REST interface as a provider uses it. Lost connections are tried again, then named."""

    client: httpx.Client
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    lost: int = field(default=0, init=False)

    def request(
        self, method: str, path: str, *, accept: Iterable[int] = (), **content: Any
    ) -> httpx.Response:
        """The response, of a success status or one of `accept`.

        Raises  UploadRefused for any other status, UploadInterrupted when no answer comes.
        """
        pause = 0.25
        reason = ""
        for _ in range(TRIES):
            try:
                response = self.client.request(method, path, **content)
            except httpx.TransportError as wrong:
                reason = type(wrong).__name__
            except (httpx.InvalidURL, httpx.HTTPError) as wrong:
                raise UploadRefused(f"the portal's address cannot be used: {wrong}") from None
            else:
                if response.is_success or response.status_code in accept:
                    return response
                if response.status_code not in BUSY:
                    raise UploadRefused(_refusal(response))
                reason = f"status {response.status_code}"
                pause = max(pause, _retry_after(response))
            self.lost += 1
            self.sleep(min(pause, LONGEST_PAUSE))
            pause *= 2
        raise UploadInterrupted(
            f"no answer from the portal at {self.client.base_url} ({reason}) after {TRIES} tries; "
            "run the same command again to go on"
        )

    def json(self, method: str, path: str, **content: Any) -> Any:
        return _body(self.request(method, path, **content))

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """Every entry of a list that comes in pages."""
        page: int | None = 1
        while page is not None:
            body = self.json("GET", path, params={"page": page, "page_size": 200})
            if not isinstance(body, dict) or not isinstance(body.get("results"), list):
                raise UploadRefused(f"the portal's answer at {path} is not a list")
            yield from body["results"]
            page = page + 1 if body.get("next") else None

    def parties(self) -> Any:
        return self.json("GET", "api/parties/")

    def dataset(self, dataset: str) -> dict[str, Any] | None:
        """What the portal knows of a dataset; None if it knows none of that id that is ours."""
        response = self.request("GET", f"api/datasets/{dataset}/", accept=(404,))
        if response.status_code == 404:
            return None
        body = _body(response)
        if not isinstance(body, dict):
            raise UploadRefused("the portal's answer is not a dataset")
        return body


def connect(url: str, token: str) -> httpx.Client:
    """A client for the portal at `url`, with the provider's token.

    Raises  UploadRefused if the address is no http(s) address or the token cannot be a header.
    """
    try:
        parsed = httpx.URL(url.rstrip("/") + "/")
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise UploadRefused(f"{url} is not an http or https address")
        headers = {"Authorization": f"Token {token}"}
        return httpx.Client(
            base_url=parsed,
            headers=headers,
            timeout=httpx.Timeout(60, connect=10),
            trust_env=parsed.host not in LOOPBACK,  # a proxy of the environment leads away from this machine
        )
    except (httpx.InvalidURL, UnicodeEncodeError):
        raise UploadRefused("the address or the token is malformed") from None


def upload(
    portal: Portal,
    dataset: Dataset,
    deployment: Deployment,
    private_key: Ed25519PrivateKey,
    *,
    timeout: float,
) -> str:
    """Send every sealed chunk, wait for the receipts of all parties, verify them; returns the dataset id.

    Raises  UploadRefused, UploadInterrupted.
    """
    known = portal.dataset(dataset.id) or {}
    state = known.get("state")
    if state == "REJECTED":
        portal.say(
            f"dataset {dataset.id} was rejected{_complaints(known)}: sealed again under a new manifest"
        )
    elif known:
        dataset = as_registered(dataset, known, private_key)
    if state in (None, "UPLOADING", "REJECTED"):
        body = {"manifest": dataset.manifest, "signature": dataset.signature, "codebook": dataset.codebook}
        portal.json("POST", "api/datasets/", json=body)
        _send_bundles(portal, dataset)
        _complete(portal, dataset.id)
    else:
        portal.say(f"dataset {dataset.id} is on the portal already: nothing is sent")
    wait_for_receipts(portal, dataset, deployment, timeout=timeout)
    return dataset.id


def as_registered(dataset: Dataset, known: Mapping[str, Any], private_key: Ed25519PrivateKey) -> Dataset:
    """The dataset under the manifest that an earlier run registered: same table, its time and title."""
    manifest = known.get("manifest")
    if not isinstance(manifest, Mapping):
        raise UploadRefused(f"the portal names dataset {dataset.id} but shows no manifest of it")
    expected = {**dataset.manifest, **{name: manifest.get(name) for name in MAY_DIFFER}}
    if dict(manifest) != expected:
        different = sorted(name for name in expected if manifest.get(name) != expected[name])
        raise UploadRefused(
            f"the portal holds another manifest under {dataset.id}; it differs in {', '.join(different) or 'form'}"
        )
    try:
        signature = sign(expected, private_key)
    except TypeError:
        raise UploadRefused(f"the portal's manifest of {dataset.id} is malformed") from None
    return replace(dataset, manifest=expected, signature=signature)


def wait_for_receipts(portal: Portal, dataset: Dataset, deployment: Deployment, *, timeout: float) -> None:
    """Return when all parties have signed a receipt for this manifest, or it is superseded already.

    Raises  UploadRefused if the dataset is rejected or withdrawn, or a receipt does not verify;
            UploadInterrupted after `timeout` seconds.
    """
    deadline = portal.clock() + timeout
    pause = 0.1
    heard: set[int] = set()
    while True:
        known = portal.dataset(dataset.id)
        if known is None:
            raise UploadRefused(f"the portal does not know dataset {dataset.id} any more")
        for party in receipts(dataset, known, deployment) - heard:
            heard.add(party)
            portal.say(f"receipt of party {party} ({len(heard)} of {len(deployment.parties)})")
        state = known.get("state")
        if state == "SUPERSEDED":
            portal.say(f"dataset {dataset.id} is superseded by {known.get('superseded_by')}")
            return
        if state in ("REJECTED", "WITHDRAWN"):
            raise UploadRefused(f"dataset {dataset.id} is {str(state).lower()}{_complaints(known)}")
        if len(heard) == len(deployment.parties) and state == "READY":
            return
        if portal.clock() >= deadline:
            silent = [str(party.party) for party in deployment.parties if party.party not in heard]
            missing = (
                f"no receipt of party {', '.join(silent)}" if silent else "all receipts are in, not READY"
            )
            raise UploadInterrupted(
                f"dataset {dataset.id}: {missing} after {timeout:g} s; run the same command again to wait on"
            )
        portal.sleep(pause)
        pause = min(pause * 1.5, 2.0)


def receipts(dataset: Dataset, known: Mapping[str, Any], deployment: Deployment) -> set[int]:
    """The parties whose receipts for this manifest verify under their pinned keys.

    Raises  UploadRefused if any receipt shown does not.
    """
    keys = {party.party: party.sign for party in deployment.parties}
    given: set[int] = set()
    for receipt in known.get("receipts") or []:
        party = receipt.get("party") if isinstance(receipt, Mapping) else None
        if not isinstance(party, int) or party not in keys:
            raise UploadRefused("the portal shows a receipt of a party that is not one of ours")
        if receipt.get("manifest_hash") != dataset.manifest_hash:
            raise UploadRefused(
                f"party {party} signed a receipt for another manifest: do not use this dataset"
            )
        signed = {
            "type": "fourfold/1/receipt",
            "party": party,
            "dataset": dataset.id,
            "manifest_hash": dataset.manifest_hash,
            "time": receipt.get("time"),
        }
        try:
            verify(signed, str(receipt.get("signature")), keys[party])
        except BadSignature:
            raise UploadRefused(
                f"the receipt of party {party} does not verify under its pinned key: do not use this dataset"
            ) from None
        given.add(party)
    return given


def _complete(portal: Portal, dataset: str) -> None:
    """Say that all chunks are there; refused again once the parties are at work, which is as good."""
    response = portal.request("POST", f"api/datasets/{dataset}/complete/", accept=(409,))
    if response.status_code == 409 and (portal.dataset(dataset) or {}).get("state") == "UPLOADING":
        raise UploadRefused(_refusal(response))


def _send_bundles(portal: Portal, dataset: Dataset) -> None:
    parties = [entry["party"] for entry in dataset.manifest["party_set"]]
    total = sum(chunk_count(dataset, party) for party in parties)
    sent = there = 0
    for party in parties:
        chunks = chunk_count(dataset, party)
        for chunk, sealed in enumerate(seal(dataset, party)):
            # Sealing is fresh in every run: another sealing of this chunk, sent by an earlier run, may stay.
            response = portal.request(
                "PUT",
                f"api/datasets/{dataset.id}/bundles/{party}/{chunk}/",
                params={"chunks": chunks},
                content=sealed,
                headers={"Content-Type": "application/octet-stream"},
                accept=(409,),
            )
            sent += 1
            there += response.status_code == 409
            portal.say(f"sealed for party {party}: chunk {chunk + 1} of {chunks} ({100 * sent // total} %)")
    if there:
        portal.say(f"{there} of {total} chunks were there from an earlier run")


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        raise UploadRefused(f"the answer of {response.url} is not JSON: is this a Fourfold portal?") from None


def _refusal(response: httpx.Response) -> str:
    """One line from a problem document, or from the bare status."""
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, Mapping):
        problem = {}
    detail = problem.get("detail") or problem.get("title") or response.reason_phrase
    code = problem.get("code")
    named = f"{detail} [{code}]" if code else f"{detail}"
    if response.status_code == 401:
        named += ": check --token"
    return f"the portal refused ({response.status_code}): " + " ".join(named.split())


def _retry_after(response: httpx.Response) -> float:
    try:
        return min(float(response.headers.get("Retry-After", 0)), LONGEST_PAUSE)
    except ValueError:
        return 0.0


def _complaints(known: Mapping[str, Any]) -> str:
    complaints = [
        f"party {entry.get('party')}: {entry.get('code')}"
        for entry in known.get("complaints") or []
        if isinstance(entry, Mapping)
    ]
    return f" ({'; '.join(complaints)})" if complaints else ""
