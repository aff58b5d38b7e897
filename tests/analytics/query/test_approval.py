"""Signatures: what is signed is what is verified, and a key file is for its owner only."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.query.approval import (
    BadSignature,
    KeyFileRefused,
    fingerprint,
    load_private_key,
    make_private_key,
    public_hex,
    sign,
    verify,
)

OBJ = {"type": "fourfold/1/order", "a": 1, "b": ["x", {"c": None}]}


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return make_private_key(tmp_path_factory.mktemp("keys") / "sign.pem")


def test_a_signature_verifies_whatever_the_order_of_keys(key):
    signature = sign(OBJ, key)
    assert len(signature) == 128
    verify(dict(reversed(OBJ.items())), signature, public_hex(key))


@pytest.mark.parametrize(
    "other", [{**OBJ, "a": 2}, {**OBJ, "type": "fourfold/1/approval"}, {"type": OBJ["type"]}, {**OBJ, "d": 0}]
)
def test_another_object_is_refused(key, other):
    with pytest.raises(BadSignature) as caught:
        verify(other, sign(OBJ, key), public_hex(key))
    assert caught.value.code == "bad_signature"


def test_another_key_is_refused(key, tmp_path):
    with pytest.raises(BadSignature):
        verify(OBJ, sign(OBJ, key), public_hex(make_private_key(tmp_path / "other.pem")))


@pytest.mark.parametrize("odd", ["", "00", "zz" * 64, None, 5, b"00" * 64, "A" * 128, "00" * 64 + "\n"])
def test_malformed_hex_is_a_bad_signature_never_a_crash(key, odd):
    with pytest.raises(BadSignature):
        verify(OBJ, odd, public_hex(key))
    with pytest.raises(BadSignature):
        verify(OBJ, sign(OBJ, key), odd)


@pytest.mark.parametrize(
    "odd", [{"type": "fourfold/1/x", "f": 1.5}, {}, [], None, {"type": "fourfold/1/", "x": "\ud800"}]
)
def test_objects_without_canonical_form_or_type_are_refused(key, odd):
    with pytest.raises(BadSignature):
        verify(odd, "00" * 64, public_hex(key))
    with pytest.raises((ValueError, TypeError)):
        sign(odd, key)


@given(position=st.integers(0, 511))
def test_every_flipped_bit_of_a_signature_is_caught(key, position):
    raw = bytearray(bytes.fromhex(sign(OBJ, key)))
    raw[position // 8] ^= 1 << position % 8
    with pytest.raises(BadSignature):
        verify(OBJ, raw.hex(), public_hex(key))


def test_a_key_file_is_private_read_back_and_never_overwritten(tmp_path):
    path = tmp_path / "deep" / "sign.pem"
    key = make_private_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_hex(load_private_key(path)) == public_hex(key)
    with pytest.raises(KeyFileRefused, match="exists already"):
        make_private_key(path)
    assert public_hex(load_private_key(path)) == public_hex(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_file_that_others_can_read_is_refused_with_the_remedy(tmp_path, mode):
    make_private_key(tmp_path / "sign.pem")
    os.chmod(tmp_path / "sign.pem", mode)
    with pytest.raises(KeyFileRefused, match="chmod 600"):
        load_private_key(tmp_path / "sign.pem")


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_holds_no_key_is_refused(tmp_path, content):
    path = tmp_path / "sign.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileRefused):
        load_private_key(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(KeyFileRefused, match="cannot be read"):
        load_private_key(tmp_path / "none.pem")


def test_a_fingerprint_is_half_of_the_digest():
    assert fingerprint("00" * 32) == "66687aadf862bd776c8fc18b8e9f8e20"
