"""What a provider seals a party opens; whatever does not fit is a complaint with its code."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from analytics.query import approval
from analytics.query.model import digest
from analytics.query.schema import parse_codebook
from providers import bundle as provider_bundle
from tests.workers.world import World, codebook
from workers.bundle import CHUNK, check_served, open_bundle
from workers.errors import BundleRejected


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def served(world, dataset, **changes):
    whole = {
        "manifest": dict(dataset.manifest),
        "signature": dataset.signature,
        "codebook": dict(dataset.codebook),
        "chunks": provider_bundle.chunk_count(dataset, 0),
    }
    return {**whole, **changes}


def check(world, dataset, party=0, **changes):
    return check_served(served(world, dataset, **changes), dataset.id, world.parties[party].config)


def opened(world, dataset, sealed, party=0):
    own = world.parties[party]
    checked = check(world, dataset, party, chunks=provider_bundle.chunk_count(dataset, party))
    return open_bundle(checked, sealed, own.config, own.keys)


def code_of(call):
    with pytest.raises(BundleRejected) as refused:
        call()
    return refused.value.code


def test_what_a_provider_seals_every_party_opens_and_together_it_is_the_table(world):
    planes = world.planes(parse_codebook(codebook()).plane_names, 512)
    dataset = world.prepare(planes=planes)
    found = [
        opened(world, dataset, provider_bundle.seal(dataset, party), party).components for party in range(4)
    ]
    for party in range(4):
        assert sorted(found[party]) == [c for c in range(4) if c != party]
    for c in range(4):
        holders = [found[p][c] for p in range(4) if p != c]
        np.testing.assert_array_equal(holders[0], holders[1])
        np.testing.assert_array_equal(holders[0], holders[2])
    np.testing.assert_array_equal(found[3][0] ^ found[3][1] ^ found[3][2] ^ found[0][3], planes)
    assert not (found[0][3] == planes).any(axis=1).all()


def test_a_bundle_of_several_chunks_opens(world):
    book = codebook(capacity=2**20)
    names = parse_codebook(book).plane_names
    planes = np.random.default_rng(1).integers(0, 2**64, (len(names), 2**14), dtype=np.uint64)
    dataset = world.prepare(book, planes=planes)
    sealed = list(provider_bundle.seal(dataset, 0))
    assert len(sealed) > 1
    np.testing.assert_array_equal(
        opened(world, dataset, sealed).components[3],
        np.frombuffer(dataset.last, dtype="<u8").reshape(planes.shape),
    )
    assert code_of(lambda: opened(world, dataset, sealed[:-1])) == "bad_bundle"
    assert code_of(lambda: opened(world, dataset, sealed[::-1])) == "cannot_open"


def test_what_is_kept_beside_the_shares_is_enough_to_check_an_order_later(world):
    dataset = world.prepare()
    meta = check(world, dataset).meta()
    assert digest(meta["manifest"]) == dataset.manifest_hash
    assert parse_codebook(meta["codebook"]).hash == dataset.manifest["codebook_hash"]
    assert (meta["version"], meta["capacity"]) == (1, 512)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "fourfold/1/order"},
        {"dataset": "AB" * 16},
        {"version": 2},
        {"version": True},
        {"previous": "0" * 64},
        {"title": 5},
        {"capacity": 0},
        {"capacity": "512"},
        {"patient_unit": "visit"},
        {"max_rows_per_patient": 2},
        {"commitments": ["0" * 64] * 3},
        {"commitments": ["x" * 64] * 4},
        {"party_set": []},
        {"portal": {"sign": "0" * 63}},
        {"created": -1},
        {"provider_key": "0"},
        {"extra": 1},
        {"policy": {}},
        {"policy": {**parse_codebook(codebook()).policy, "modes": ["all"]}},
        {"policy": {**parse_codebook(codebook()).policy, "micro_epsilon": -1}},
        {"policy": {**parse_codebook(codebook()).policy, "minimum_cohort": 0}},
        {"policy": {**parse_codebook(codebook()).policy, "expires": "soon"}},
    ],
)
def test_a_manifest_with_a_wrong_name_or_value_is_refused_even_if_signed(world, changes):
    dataset = world.prepare(**changes)
    assert code_of(lambda: check(world, dataset)) == "bad_manifest"


@pytest.mark.parametrize("manifest", [None, [], "text", {}, {"type": "fourfold/1/manifest"}])
def test_something_else_than_a_manifest_is_refused(world, manifest):
    dataset = world.prepare()
    assert code_of(lambda: check(world, dataset, manifest=manifest)) == "bad_manifest"


def test_a_manifest_that_its_provider_did_not_sign_is_refused(world):
    dataset = world.prepare()
    raised = {**dataset.manifest, "policy": {**dataset.manifest["policy"], "micro_epsilon": 10**9}}
    assert code_of(lambda: check(world, dataset, manifest=raised)) == "bad_signature"
    other = approval.sign(dict(dataset.manifest), Ed25519PrivateKey.generate())
    assert code_of(lambda: check(world, dataset, signature=other)) == "bad_signature"
    assert code_of(lambda: check(world, dataset, signature=None)) == "bad_signature"


def test_a_manifest_of_another_dataset_is_refused(world):
    dataset = world.prepare()
    config = world.parties[0].config
    assert code_of(lambda: check_served(served(world, dataset), "0" * 32, config)) == "dataset_mismatch"


@pytest.mark.parametrize("party", range(4))
@pytest.mark.parametrize("name", ["seal", "sign"])
def test_a_manifest_with_another_key_of_any_party_is_refused(world, party, name):
    peers = [dict(peer) for peer in world.peers]
    peers[party][name] = "ab" * 32
    dataset = world.prepare(party_set=peers)
    assert code_of(lambda: check(world, dataset)) == "party_set"


def test_a_manifest_that_names_another_portal_is_refused(world):
    dataset = world.prepare(portal={"sign": "ab" * 32})
    assert code_of(lambda: check(world, dataset)) == "portal_key"


def test_a_codebook_that_the_manifest_does_not_name_is_refused(world):
    dataset = world.prepare()
    other = codebook()
    other["fields"][1]["constraints"]["maximum"] = 80
    assert code_of(lambda: check(world, dataset, codebook=other)) == "codebook_hash"
    assert code_of(lambda: check(world, dataset, codebook={**other, "fields": 3})) == "bad_codebook"
    assert code_of(lambda: check(world, dataset, codebook=None)) == "bad_codebook"


def test_a_layout_or_capacity_that_is_not_the_codebooks_is_refused(world):
    assert code_of(lambda: check(world, world.prepare(layout_hash="0" * 64))) == "layout"
    assert code_of(lambda: check(world, world.prepare(capacity=1024))) == "layout"


def test_a_policy_that_is_not_the_codebooks_is_refused(world):
    policy = {**parse_codebook(codebook()).policy, "minimum_cohort": 1}
    assert code_of(lambda: check(world, world.prepare(policy=policy))) == "policy"


@pytest.mark.parametrize("chunks", [0, 2, 10**9, True, "1", None])
def test_a_number_of_chunks_that_the_layout_cannot_fill_is_refused(world, chunks):
    dataset = world.prepare()
    assert code_of(lambda: check(world, dataset, chunks=chunks)) == "bad_bundle"


def test_the_bundle_of_another_party_or_dataset_does_not_open(world):
    dataset = world.prepare()
    assert code_of(lambda: opened(world, dataset, provider_bundle.seal(dataset, 1))) == "cannot_open"
    other = world.resigned(dataset, title="Another study")
    assert code_of(lambda: opened(world, other, provider_bundle.seal(dataset, 0))) == "cannot_open"


def test_every_flipped_bit_of_a_sealed_chunk_is_noticed(world):
    dataset = world.prepare()
    (sealed,) = provider_bundle.seal(dataset, 0)
    for position in (0, 31, 32, 40, len(sealed) // 2, len(sealed) - 1):
        bad = bytearray(sealed)
        bad[position] ^= 4
        assert code_of(lambda bad=bad: opened(world, dataset, [bytes(bad)])) == "cannot_open"
    assert code_of(lambda: opened(world, dataset, [b""])) == "cannot_open"
    assert code_of(lambda: opened(world, dataset, [sealed, sealed])) == "bad_bundle"


def sealed_as(world, dataset, plain, party=0):
    """One chunk with chosen contents, sealed as a provider would."""
    info = provider_bundle.chunk_info(party, dataset.manifest_hash, 0, 1)
    key = X25519PublicKey.from_public_bytes(bytes.fromhex(world.peers[party]["seal"]))
    return [provider_bundle.SUITE.encrypt(plain, key, info)]


def with_header(dataset, change):
    plain = provider_bundle.plaintext(dataset, 0)
    length = int.from_bytes(plain[:4], "big")
    header = change(plain[4 : 4 + length])
    return len(header).to_bytes(4, "big") + header + plain[4 + length :]


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.replace(b'"party":0', b'"party":1'),
        lambda h: h.replace(b'"component":1', b'"component":0'),
        lambda h: h.replace(b'"form":"seed"', b'"form":"planes"', 1),
        lambda h: h.replace(b'"manifest_hash":"', b'"manifest_hash":"0'),
        lambda h: h.replace(b'"salt":"', b'"salt":"AA', 1),
        lambda h: h.replace(b'"salt":"', b'"pepper":"', 1),
        lambda h: h.replace(b'{"component', b'{ "component', 1),
        lambda h: h[:-1] + b',"zero":0}',
        lambda h: b"[]",
        lambda h: b"\xff",
        lambda h: b"",
        lambda h: b" " * 5000,
    ],
)
def test_a_header_is_read_strictly(world, change):
    dataset = world.prepare()
    sealed = sealed_as(world, dataset, with_header(dataset, change))
    assert code_of(lambda: opened(world, dataset, sealed)) == "bad_bundle"


@pytest.mark.parametrize(
    "cut",
    [lambda p: p[:-1], lambda p: p + b"\0", lambda p: p[:3], lambda p: b"", lambda p: b"\xff" * 8],
)
def test_a_bundle_that_ends_early_or_late_is_refused(world, cut):
    dataset = world.prepare()
    sealed = sealed_as(world, dataset, cut(provider_bundle.plaintext(dataset, 0)))
    assert code_of(lambda: opened(world, dataset, sealed)) == "bad_bundle"


def test_a_chunk_larger_than_a_mebibyte_is_refused(world):
    dataset = world.prepare()
    sealed = sealed_as(world, dataset, bytes(CHUNK + 1))
    assert code_of(lambda: opened(world, dataset, sealed)) == "bad_bundle"


@pytest.mark.parametrize("part", ["seed", "salt", "last"])
def test_an_equivocating_bundle_fails_its_commitment(world, part):
    """The provider gives this party another component than the manifest commits to."""
    dataset = world.prepare()
    seeds, salts, last = list(dataset.seeds), list(dataset.salts), bytearray(dataset.last)
    if part == "seed":
        seeds[1] = bytes(32)
    elif part == "salt":
        salts[2] = bytes(32)
    else:
        last[7] ^= 1
    lying = provider_bundle.Dataset(
        manifest=dataset.manifest, signature=dataset.signature, codebook=dataset.codebook,
        seeds=tuple(seeds), salts=tuple(salts), last=bytes(last),
    )  # fmt: skip
    assert code_of(lambda: opened(world, dataset, provider_bundle.seal(lying, 0))) == "commitment"


def test_a_bundle_does_not_print_its_components(world):
    dataset = world.prepare()
    text = repr(opened(world, dataset, provider_bundle.seal(dataset, 0)))
    assert "array" not in text and dataset.salts[1].hex() not in text
