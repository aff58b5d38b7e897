"""Celery processes that play a party.

Runs at   one of four organisations.
Sees      its own store, signed orders, protocol messages.
Never     Django, the portal's database, a clear row.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    # `celery -A workers` looks for this; the commands of `python -m workers` must not need a configuration.
    if name == "celery":
        from workers.app import app

        return app
    raise AttributeError(name)
