"""Four sealed bundles: each opens for its party alone, and together they are the table."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.query.approval import BadSignature, verify
from analytics.query.model import canonical, digest
from mpcnode.sharing import expand
from providers import bundle
from providers.bundle import SUITE, Dataset, seal
from tests.providers.world import CODEBOOK, NAMES, World, random_planes


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def info(party: int, manifest_hash: str, chunk: int, chunks: int) -> bytes:
    """Written out here, so that a change of the sealing's binding is noticed."""
    return (
        f'{{"chunk":{chunk},"chunks":{chunks},"manifest_hash":"{manifest_hash}","party":{party},'
        f'"type":"fourfold/1/input"}}'
    ).encode()


def opened(world: World, dataset: Dataset, party: int) -> bytes:
    sealed = list(seal(dataset, party))
    key = world.parties[party].seal
    return b"".join(
        SUITE.decrypt(chunk, key, info(party, dataset.manifest_hash, i, len(sealed)))
        for i, chunk in enumerate(sealed)
    )


def components(clear: bytes, shape: tuple[int, int]) -> dict[int, tuple[np.ndarray, bytes]]:
    """component -> (array, salt), read as a party reads its bundle."""
    size = int.from_bytes(clear[:4], "big")
    header, body = json.loads(clear[4 : 4 + size]), clear[4 + size :]
    found = {}
    for part in header["components"]:
        length = 32 if part["form"] == "seed" else 8 * shape[0] * shape[1]
        own, body = body[:length], body[length:]
        array = expand(own, shape) if part["form"] == "seed" else np.frombuffer(own, "<u8").reshape(shape)
        found[part["component"]] = (array, bytes.fromhex(part["salt"]))
    assert body == b""
    return found


@settings(max_examples=15, deadline=None)
@given(words=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_any_two_bundles_are_the_table_and_each_commitment_is_right(world, words, seed):
    planes = random_planes(seed, words)
    dataset = world.dataset(planes)
    held = [components(opened(world, dataset, party), planes.shape) for party in range(4)]
    for party in range(4):
        assert sorted(held[party]) == [c for c in range(4) if c != party]
        for c, (array, salt) in held[party].items():
            head = b"fourfold/1/component" + salt + bytes([c])
            head += bytes.fromhex(dataset.manifest["layout_hash"])
            expected = hashlib.sha256(head + array.astype("<u8").tobytes()).hexdigest()
            assert dataset.manifest["commitments"][c] == expected
    for a in range(4):
        for b in range(a):
            both = held[a] | held[b]
            total = both[0][0] ^ both[1][0] ^ both[2][0] ^ both[3][0]
            np.testing.assert_array_equal(total, planes)


def test_a_component_alone_looks_like_noise_and_the_explicit_one_too(world):
    planes = np.zeros((4, 2000), dtype=np.uint64)
    dataset = world.dataset(planes)
    ones = int(np.unpackbits(np.frombuffer(dataset.last, np.uint8)).sum())
    bits = 64 * planes.size
    assert abs(ones - bits / 2) < 6 * (bits / 4) ** 0.5


def test_a_bundle_is_bound_to_party_manifest_chunk_and_every_bit(world):
    dataset = world.dataset()
    (sealed,) = seal(dataset, 1)
    key, right = world.parties[1].seal, (1, dataset.manifest_hash, 0, 1)
    assert SUITE.decrypt(sealed, key, info(*right))
    for wrong in [
        (2, *right[1:]),
        (1, "0" * 64, 0, 1),
        (1, dataset.manifest_hash, 1, 1),
        (1, dataset.manifest_hash, 0, 2),
    ]:
        with pytest.raises(InvalidTag):
            SUITE.decrypt(sealed, key, info(*wrong))
    with pytest.raises(InvalidTag):
        SUITE.decrypt(sealed, world.parties[2].seal, info(*right))
    for at in (40, len(sealed) // 2, len(sealed) - 1):
        flipped = bytearray(sealed)
        flipped[at] ^= 1
        with pytest.raises(InvalidTag):
            SUITE.decrypt(bytes(flipped), key, info(*right))
    with pytest.raises(InvalidTag):
        SUITE.decrypt(sealed[:-1], key, info(*right))


def test_a_large_bundle_is_cut_in_chunks_of_a_mebibyte(world):
    planes = random_planes(3, 70_000)
    dataset = world.dataset(planes)
    sealed = list(seal(dataset, 0))
    assert len(sealed) == 3 == bundle.chunk_count(dataset, 0)
    assert all(len(chunk) <= bundle.CHUNK + 64 for chunk in sealed)
    array, _ = components(opened(world, dataset, 0), planes.shape)[3]
    for c in range(3):
        array = array ^ expand(dataset.seeds[c], planes.shape)
    np.testing.assert_array_equal(array, planes)
    assert bundle.chunk_count(dataset, 3) == 1, "party 3 holds three seeds"


def test_the_same_table_under_the_same_key_is_the_same_dataset(world):
    once, again = world.dataset(), world.dataset()
    assert (once.manifest, once.signature) == (again.manifest, again.signature)
    assert (once.seeds, once.salts, once.last) == (again.seeds, again.salts, again.last)
    assert bundle.plaintext(once, 2) == bundle.plaintext(again, 2)
    assert list(seal(once, 2)) != list(seal(again, 2)), "sealing itself is fresh"


def test_another_key_table_codebook_or_party_set_is_another_dataset(world):
    planes = random_planes(1)
    changed = planes.copy()
    changed[1, 1] ^= np.uint64(1 << 17)
    others = [
        world.dataset(private_key=Ed25519PrivateKey.generate()),
        world.dataset(changed),
        world.dataset(codebook=CODEBOOK | {"title": "other"}),
        world.dataset(party_set=World().access()["parties"]),
        world.dataset(random_planes(1), capacity=64 * planes.shape[1] - 1),
    ]
    datasets = [world.dataset(planes), *others]
    assert len({dataset.id for dataset in datasets}) == len(datasets)
    assert len({seed for dataset in datasets for seed in dataset.seeds}) == 3 * len(datasets)
    assert len({salt for dataset in datasets for salt in dataset.salts}) == 4 * len(datasets)


def test_id_seeds_and_salts_follow_from_key_and_content_as_written_down(world):
    planes = random_planes(1)
    dataset = world.dataset(planes)
    secret = HKDF(hashes.SHA256(), 32, None, b"fourfold/1/provider-secret").derive(
        world.provider.private_bytes_raw()
    )
    shape = {"type": "fourfold/1/layout", "planes": [list(n) for n in NAMES], "capacity": 192}

    def mac(message: bytes) -> bytes:
        return hmac.digest(secret, message, "sha256")

    parties = canonical(world.access()["parties"])
    content = mac(canonical(CODEBOOK) + canonical(shape) + planes.astype("<u8").tobytes() + parties)
    identity = mac(b"dataset" + content)[:16]
    assert dataset.id == identity.hex()
    assert dataset.manifest["layout_hash"] == digest(shape)
    assert list(dataset.seeds) == [mac(b"seed" + identity + bytes([c])) for c in range(3)]
    assert list(dataset.salts) == [mac(b"salt" + identity + bytes([c])) for c in range(4)]


def test_the_manifest_is_signed_and_names_everything_a_party_checks(world):
    dataset = world.dataset()
    manifest = dataset.manifest
    assert set(manifest) == {
        *("type", "dataset", "version", "previous", "title", "provider_key", "codebook_hash", "capacity"),
        *("patient_unit", "max_rows_per_patient", "layout_hash", "party_set", "portal", "policy"),
        *("commitments", "created"),
    }
    verify(dict(manifest), dataset.signature, manifest["provider_key"])
    with pytest.raises(BadSignature):
        verify({**manifest, "capacity": 128}, dataset.signature, manifest["provider_key"])


def test_what_is_secret_does_not_print(world):
    dataset = replace(world.dataset(), codebook={})
    shown = repr(dataset)
    assert "seeds" not in shown
    assert "salts" not in shown
    assert "last" not in shown
