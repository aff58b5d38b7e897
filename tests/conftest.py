"""How tests are shared out between processes."""

from __future__ import annotations

import pytest


def shares_a_module(item: pytest.Item) -> bool:
    """Whether a test uses a fixture that its module makes once."""
    definitions = getattr(item, "_fixtureinfo", None)
    if definitions is None:
        return False
    return any(
        found[-1].scope in ("module", "class") for found in definitions.name2fixturedefs.values() if found
    )


def pytest_collection_modifyitems(items):
    # What one test of a module leaves for the next (processes, uploaded tables) is in one process only.
    for item in items:
        if item.get_closest_marker("xdist_group") is None and shares_a_module(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
