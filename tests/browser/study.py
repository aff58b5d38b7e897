"""The sample study on a provider's disk, its upload by hand, and four parties that can open what arrives."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from analytics.query.approval import fingerprint, public_hex
from mpcnode.sharing import expand, reconstruct, xor_share
from portal.registry.models import Dataset
from providers.bundle import chunk_info
from tests.portal.factories import Party

ROOT = Path(__file__).resolve().parents[2]
CODEBOOK = ROOT / "samples/codebook.json"
SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
DROP = """([place, files]) => {
  const given = new DataTransfer();
  for (const [name, content] of files)
    given.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
  for (const kind of ["dragover", "drop"])
    document.querySelector(place).dispatchEvent(new DragEvent(kind, {dataTransfer: given, bubbles: true, cancelable: true}));
}"""


def sample(folder: Path) -> list[Path]:
    """The tables of `samples/generate.py`, one a hospital."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "samples/generate.py", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return sorted(folder.glob("*.csv"))


@dataclass(frozen=True)
class Opener(Party):
    """A party whose seal key is real."""

    seal: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate, repr=False)

    @property
    def public(self) -> dict[str, Any]:
        sealed, signed = self.seal.public_key().public_bytes_raw().hex(), public_hex(self.key)
        return {
            "party": self.number,
            "seal": sealed,
            "sign": signed,
            "fingerprint": fingerprint(sealed + signed),
        }

    def receipt(self, dataset: Dataset) -> dict[str, Any]:
        """The body of a post to reports/."""
        return self.signed("receipt", dataset=dataset.pk, manifest_hash=dataset.manifest_hash)

    def components(self, dataset: Dataset, chunks: list[bytes], shape: tuple[int, int]) -> np.ndarray:
        """What its bundle holds, in order: (3, planes, words)."""
        plain = b"".join(
            SUITE.decrypt(chunk, self.seal, chunk_info(self.number, dataset.manifest_hash, n, len(chunks)))
            for n, chunk in enumerate(chunks)
        )
        length = int.from_bytes(plain[:4], "big")
        header, rest = json.loads(plain[4 : 4 + length]), plain[4 + length :]
        found = []
        for entry in header["components"]:
            size = 32 if entry["form"] == "seed" else 8 * shape[0] * shape[1]
            body, rest = rest[:size], rest[size:]
            made = (
                expand(body, shape) if entry["form"] == "seed" else np.frombuffer(body, "<u8").reshape(shape)
            )
            found.append(made)
        assert not rest
        return np.stack(found)


def opened(dataset: Dataset, openers: list[Opener], read: Any, shape: tuple[int, int]) -> np.ndarray:
    """The planes that the four bundles on the portal stand for."""
    shares = []
    for opener in openers:
        rows = dataset.chunks.filter(party=opener.number).order_by("number")
        shares.append(
            xor_share(opener.number, 4, opener.components(dataset, [read(row) for row in rows], shape))
        )
    return np.asarray(reconstruct(shares))


def fresh_parties(path: Path) -> list[Opener]:
    """Four parties whose public keys are in the portal's file of parties."""
    four = [Opener(n, Ed25519PrivateKey.generate()) for n in range(4)]
    path.write_text(json.dumps([one.public for one in four]))
    return four


def drop(page: Any, *files: tuple[str, bytes]) -> None:
    """Drag files onto the page and let them go."""
    page.evaluate(DROP, ["#drop", [[name, base64.b64encode(content).decode()] for name, content in files]])


def give(page: Any, *paths: Path, codebook: Path = CODEBOOK) -> None:
    """Files by drag and drop, the codebook by the dialogue."""
    page.get_by_text("Drop your files here").wait_for()
    drop(page, *[(path.name, path.read_bytes()) for path in paths])
    page.locator("#codebook-file").set_input_files(codebook)
    page.get_by_text("patients fit the codebook").wait_for()


def verify(page: Any) -> None:
    """To the second step: a key is made and kept, fingerprints are compared, the box is ticked."""
    page.get_by_role("button", name="Verify and submit").click()
    page.get_by_label("I compared these fingerprints").wait_for()
    if not page.get_by_label("I compared these fingerprints").is_checked():
        page.get_by_label("I compared these fingerprints").check()
    if page.get_by_role("button", name="Make a new key").is_visible():
        page.get_by_role("button", name="Make a new key").click()
        with page.expect_download():
            page.get_by_role("button", name="Save as a file").and_(page.locator("#own-key button")).click()
        page.get_by_role("button", name="I have kept it").click()
    page.get_by_label("All data is verified and correct").check()


def submit(page: Any) -> None:
    page.get_by_role("button", name="Seal and submit").click()
