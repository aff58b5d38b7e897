"""Puts platform/ on the path, then runs Django; `up` and `demo` get their environment first."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def main() -> None:
    sys.path.insert(1, str(ROOT / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    if sys.argv[1:2] in (["up"], ["demo"]):
        from portal.stack import surroundings

        surroundings.prepare(os.environ, command=sys.argv[1], root=ROOT)
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
