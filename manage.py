"""Puts platform/ on the path, then runs Django; `up` and `demo` get their environment first."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def main() -> None:
    sys.path.insert(1, str(ROOT / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    if sys.argv[1:2] in (["up"], ["demo"]):
        from portal.stack import stopping, surroundings

        # Who stops a stack got what they asked for; who stops a demonstration saw no answer.
        with stopping.politely(code=0 if sys.argv[1] == "up" else 1):
            surroundings.prepare(os.environ, command=sys.argv[1], root=ROOT)
            run()
    else:
        run()


def run() -> None:
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
