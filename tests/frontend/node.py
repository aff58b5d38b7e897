"""Node, where there is one: what runs the browser's modules in these tests."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEAST = (20, 19)


@lru_cache(maxsize=1)
def why_not() -> str:
    """Why node cannot run the modules; "" if it can."""
    node = shutil.which("node")
    if node is None:
        return "node is not installed: the browser's modules are not run"
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < LEAST:
        return f"node {said.strip()} is older than {'.'.join(map(str, LEAST))}: the browser's modules are not run"
    return ""


needs_node = pytest.mark.skipif(bool(why_not()), reason=why_not())


def node(*arguments: str, text: str | None = None, timeout: float = 110) -> str:
    """What a script of node prints; `text` is its standard input. A failure shows what it said."""
    done = subprocess.run(
        ["node", *arguments],
        cwd=ROOT / "frontend",
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    return done.stdout
