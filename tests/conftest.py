"""How tests are shared out between processes: a module stays together, and so do all that need the whole stack.

What one test of a module leaves for the next (processes, uploaded tables, slow oracles) is in one process only, and two
stacks at once on two cores would only wait for each other. Not `--dist loadgroup`: xdist 3.8 marks a group by changing
a test's id, which pytest 9.2 no longer lets it do, and then groups nothing without saying so.
"""

from __future__ import annotations

import pytest


def unit_of(test: str) -> str:
    """The name of what a test runs together with."""
    module = test.partition("::")[0]
    return "end_to_end" if "end_to_end/" in module else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    return ByModule(config, log)
