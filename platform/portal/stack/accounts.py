"""The portal's own side of a start: its tables, its key, the six accounts of a demonstration.

Passwords and tokens are made once and kept in a file of mode 0600 under VAR, since the database holds only their
hashes; a second start finds the same ones. Real deployments make accounts in the admin instead.
"""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .parties import write_private
from .surroundings import StackError

CANCEL_SECONDS = 6
# name: (role, organisation)
ACCOUNTS = {
    "provider": ("provider", "Northgate Hospital"),
    "provider2": ("provider", "Southfield Clinic"),
    "analyst": ("analyst", "Institute of Outcomes Research"),
    "analyst2": ("analyst", "Agency for Medicines"),
    "operator": ("operator", "Fourfold Platform"),
    "auditor": ("auditor", "Audit Office"),
}


def migrate() -> None:
    """Bring the tables up to date; StackError when the database cannot be used."""
    from django.core.management import call_command
    from django.db.utils import Error

    try:
        call_command("migrate", interactive=False, verbosity=0)
    except Error as wrong:
        raise StackError(f"the database cannot be used: {str(wrong).strip().splitlines()[0]}") from None


def portal_key(path: Path) -> dict[str, str]:
    """The portal's public signing key and its fingerprint; the private key is made on first use."""
    from analytics.query.approval import fingerprint, load_private_key, make_private_key, public_hex

    key = load_private_key(path) if path.exists() else make_private_key(path)
    public = public_hex(key)
    return {"sign": public, "fingerprint": fingerprint(public)}


def ensure(kept: Path) -> dict[str, dict[str, str]]:
    """The accounts with working passwords and tokens: {"tokens": {name: text}, "passwords": {name: text}}."""
    from portal.accounts.actions import ensure_account, ensure_token

    known = recall(kept)
    passwords = {name: known["passwords"].get(name) or secrets.token_urlsafe(18) for name in ACCOUNTS}
    # Kept before they are used: a start that is killed here leaves no account with a password nobody knows.
    write_private(kept, {"passwords": passwords, "tokens": known["tokens"]})
    for name, (role, organisation) in ACCOUNTS.items():
        ensure_account(name, role, organisation, passwords[name])
    tokens = {name: ensure_token(name, known["tokens"].get(name)) for name in ACCOUNTS}
    credentials = {"tokens": tokens, "passwords": passwords}
    if credentials != known:
        write_private(kept, credentials)
    return credentials


def parties_heard(since: float) -> int:
    """How many parties have reported themselves alive since a time (unix seconds)."""
    from portal.registry.models import PartyState

    return PartyState.objects.filter(last_seen__gte=datetime.fromtimestamp(since, UTC)).count()


def abort_running(redis_url: str) -> None:
    """Tell the parties to give up what they compute: they look for this key at every wait."""
    import redis

    from portal.queries.models import Attempt, AttemptState

    running = list(Attempt.objects.filter(state=AttemptState.RUNNING).values_list("query_id", "number"))
    with redis.Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=1) as client:
        for query, number in running:
            client.set(f"cancel:{query}", str(number), ex=CANCEL_SECONDS)


def disconnect() -> None:
    """Leave the database to the web server and the dispatcher."""
    from django.db import connections

    connections.close_all()


def recall(kept: Path) -> dict[str, Any]:
    try:
        known = json.loads(kept.read_text())
        return {part: dict(known[part]) for part in ("tokens", "passwords")}
    except (OSError, ValueError, KeyError, TypeError):
        return {"tokens": {}, "passwords": {}}
