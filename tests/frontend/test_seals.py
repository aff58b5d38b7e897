"""What one side seals the other opens, chunk by chunk, of a bundle of several chunks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from providers.bundle import CHUNK, FIRST, SUITE, chunk_info, plaintext, seal
from tests.frontend.make import SMALL, dataset_of, random_codes, seal_key, vector
from tests.frontend.node import needs_node, node

CAPACITY = 2**19  # sixteen planes of 64 KiB and more: two chunks


@needs_node
@pytest.mark.parametrize("party", [0, 3])
def test_each_side_opens_what_the_other_seals(party):
    codebook = json.dumps(json.loads(SMALL) | {"capacity": CAPACITY})
    dataset = dataset_of(codebook, random_codes(codebook, 40), FIRST)
    raw = (serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    given = {
        "vector": vector(SMALL, 40),
        "capacity": CAPACITY,
        "party": party,
        "private": seal_key(party).private_bytes(*raw).hex(),
        "sealed": [chunk.hex() for chunk in seal(dataset, party)],
    }
    said = json.loads(node(str(Path(__file__).with_name("seals.mjs")), text=json.dumps(given)))
    clear = plaintext(dataset, party)
    assert (len(clear) > CHUNK) == (party == 0)
    assert b"".join(map(bytes.fromhex, said["opened"])) == clear
    opened = [
        SUITE.decrypt(
            bytes.fromhex(sealed),
            seal_key(party),
            chunk_info(party, dataset.manifest_hash, n, len(said["sealed"])),
        )
        for n, sealed in enumerate(said["sealed"])
    ]
    assert b"".join(opened) == clear
