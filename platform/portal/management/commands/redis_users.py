"""`manage.py redis_users FOLDER`: one Redis user for the portal and for each party, with new passwords."""

import os
import secrets
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.stack.valkey import users

NAMES = ("admin", "portal", "p0", "p1", "p2", "p3")
# For the health check of the server itself: it may ping, and needs no password for that.
HEALTH = "user health on nopass resetkeys resetchannels -@all +ping\n"


class Command(BaseCommand):
    help = (
        "Write FOLDER/users.acl for the Redis server and FOLDER/portal.env, party0.env ... party3.env, each with the "
        "REDIS_URL of its owner alone. The folder must not be there yet."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--host", default="redis", help="name of the server (redis)")
        parser.add_argument("--port", type=int, default=6379)
        parser.add_argument("--tls", action="store_true", help="the server speaks TLS: rediss://")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        passwords = {name: secrets.token_urlsafe(32) for name in NAMES}
        place = f"{options['host']}:{options['port']}/0"
        scheme = "rediss" if options["tls"] else "redis"
        files = {"users.acl": users(passwords) + HEALTH}
        for name in NAMES:
            owner = f"party{name[1]}" if name.startswith("p") and name != "portal" else name
            files[f"{owner}.env"] = f"REDIS_URL={scheme}://{name}:{passwords[name]}@{place}\n"
        try:
            folder.mkdir(mode=0o755, parents=True)
            for file, text in files.items():
                # The server's own user reads the list, which holds hashes of passwords of 256 bits alone.
                mode = 0o644 if file == "users.acl" else 0o600
                with os.fdopen(
                    os.open(folder / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w"
                ) as out:
                    out.write(text)
        except FileExistsError:
            raise CommandError(
                f"{folder} is there already: passwords are never replaced in place; name another folder"
            ) from None
        except OSError as wrong:
            raise CommandError(f"{folder} cannot be written: {wrong.strerror}") from None
        self.stdout.write(f"give each party its own file of {folder} and no other, then remove it here")
