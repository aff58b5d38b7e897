"""What the privacy and the figures are worth, shown: each demonstration prints the tables of docs/demonstrations.md.

    .venv/bin/python -m benchmarks.demonstrations [NAME ...] [--write]

A module of this folder with `lines` is a demonstration. All randomness has a seed: a second run prints the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "demonstrations.md"
NAMES = tuple(path.stem for path in sorted(Path(__file__).parent.glob("[a-z]*.py")))


def begin(name: str) -> str:
    return f"<!-- figures of benchmarks/demonstrations: {name} -->\n"


def figures(name: str) -> str:
    """The generated part of the page that belongs to one demonstration."""
    module = import_module(f"benchmarks.demonstrations.{name}")
    return "".join(f"{line}\n" for line in module.lines())


def written(page: str, name: str, new: str) -> str:
    """The page with these figures in the place of its own."""
    before, rest = page.split(begin(name))
    return before + begin(name) + new + rest[rest.index("<!-- end of figures -->") :]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.demonstrations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all without a name")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/demonstrations.md")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in NAMES]:
        parser.error(f"no demonstration {', '.join(unknown)}: there are {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        try:
            new = figures(name)
        except ModuleNotFoundError as missing:
            # lifelines asks for an older pandas than ours: it stands beside the environment, as in .ci/run.
            parser.error(
                f"{name} needs {missing.name}: pip install --no-deps --target FOLDER lifelines==0.30.3 autograd"
                " autograd-gamma matplotlib, then PYTHONPATH=FOLDER"
            )
        print(new, flush=True)
        if arguments.write:
            PAGE.write_text(written(PAGE.read_text(), name, new))


if __name__ == "__main__":
    sys.exit(main())
