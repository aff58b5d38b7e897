"""The portal's own signing key: it signs orders and the operator's decisions.

Every manifest names its public half, so parties pin it for each dataset. Hidden: the private key, in a file
only the portal's user can read.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from analytics.query.approval import fingerprint, load_private_key, make_private_key, public_hex, sign


def ensure_portal_key(path: Path | None = None) -> str:
    """The public key (hex) of the portal, whose key file is made when missing."""
    where = Path(path or settings.FOURFOLD_PORTAL_KEY)
    if not where.exists():
        make_private_key(where)
    return public_hex(load_private_key(where))


def portal_public() -> dict[str, str]:
    """{"sign": public key, "fingerprint"} of the portal."""
    sign_hex = public_hex(_key(str(settings.FOURFOLD_PORTAL_KEY)))
    return {"sign": sign_hex, "fingerprint": fingerprint(sign_hex)}


def portal_sign(obj: dict[str, Any]) -> str:
    """The portal's signature over a typed object, as hex."""
    return sign(obj, _key(str(settings.FOURFOLD_PORTAL_KEY)))


@lru_cache(maxsize=4)
def _key(path: str) -> Any:
    return load_private_key(path)
