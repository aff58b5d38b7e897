"""The doctor on a sound party says ok nineteen times; each fault, really caused, is found by its own check."""

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import redis

from portal.stack import valkey
from tests.redis_server import RedisServer
from tests.workers.full_disk import fill, small_disk
from tests.workers.world import World
from workers.doctor import Case, examine
from workers.doctor.checks import CHECKS
from workers.health import Health
from workers.keys import fingerprint
from workers.ledger import Charge, Ledger
from workers.version import code_version

ROOT = Path(__file__).parents[2]
ME = 1
ALL = [name for name, _ in CHECKS]


class PortalWord:
    """What the portal says of its parties, over a real socket; `skew` seconds off in its Date header."""

    def __init__(self, world):
        self.sign, self.skew, self.status = world.portal_sign, 0, 200
        self.parties = [
            {**peer, "fingerprint": fingerprint(peer["seal"], peer["sign"]), "state": "ok", "ledger_seen": [],
             "code_version": code_version()}
            for peer in world.peers
        ]  # fmt: skip
        word = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                content = json.dumps({"parties": word.parties, "portal": {"sign": word.sign}}).encode()
                self.send_response(word.status)
                self.end_headers()
                self.wfile.write(content)

            def date_time_string(self, timestamp=None):
                return super().date_time_string((timestamp or time.time()) + word.skew)

            def log_message(self, *_):
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def ruled(tmp_path_factory):
    """A server with a user for each party, as the stack starts it; (its URLs, a client of its admin)."""
    folder = tmp_path_factory.mktemp("ruled")
    child, urls = valkey.server(folder, folder / "log", dict(os.environ))
    child.start()
    try:
        valkey.wait_for(urls.admin)
        with redis.Redis.from_url(urls.admin) as admin:
            yield urls, admin
    finally:
        child.kill()


class Ward:
    """A world with one dataset, its portal, and the doctor for party 1."""

    def __init__(self, folder, redis_url):
        self.world = World(folder)
        self.dataset = self.world.give(self.world.prepare())
        self.portal = PortalWord(self.world)
        self.world.write_party_json(ME, self.portal.url)
        self.party = self.world.parties[ME]
        self.folder = self.party.config.folder
        self.folder.chmod(0o700)
        self.environ = {"REDIS_URL": redis_url}

    def findings(self, *, deep=False):
        case = Case(self.folder, self.environ, deep=deep)
        return {finding.check: finding for finding in examine(case, CHECKS)}

    def failed(self, **how):
        return {name: f for name, f in self.findings(**how).items() if f.state == "failed"}

    def only(self, check, *, deep=False):
        """The one check that fails; it has a remedy."""
        failed = self.failed(deep=deep)
        assert list(failed) == [check], failed
        assert failed[check].remedy
        return failed[check].message

    def edit(self, **names):
        path = self.folder / "party.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | names))


@pytest.fixture
def ward(tmp_path, ruled):
    made = Ward(tmp_path / "world", ruled[0].parties[ME])
    yield made
    made.portal.close()


@pytest.mark.parametrize("deep", [False, True])
def test_of_a_sound_party_every_check_is_ok(ward, deep):
    charge = Charge(dataset="d", micro_epsilon=1, cap=10)
    ward.party.ledger.reserve(
        nonce="0" * 32, attempt=1, query="q", order_hash="1" * 64, mode="dp", charges=[charge]
    )
    found = ward.findings(deep=deep)
    assert list(found) == ALL
    assert {name: f for name, f in found.items() if f.state != "ok"} == {}
    assert (
        "2 sealed columns" in found["store"].message or "3 sealed columns" in found["store"].message
    ) is deep
    assert "1 lines" in found["ledger"].message


def everything(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".sqlite3-shm", ".sqlite3-wal")
    }


def test_the_doctor_changes_nothing_on_disk_or_in_redis(ward, ruled):
    before, keys = everything(ward.folder), ruled[1].keys("*")
    ward.findings(deep=True)
    assert everything(ward.folder) == before and ruled[1].keys("*") == keys


def test_leftovers_that_the_party_will_tidy_up_are_left_to_it(ward):
    half = ward.party.config.store / "pending/half"
    half.mkdir()
    ward.findings(deep=True)
    assert half.is_dir()


def test_it_looks_while_the_party_writes(ward):
    ended = threading.Event()

    def write():
        attempt = 0
        while not ended.is_set():
            attempt += 1
            ward.party.ledger.see_peer(2, attempt, "2" * 64)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert [ward.failed() for _ in range(3)] == [{}] * 3
    finally:
        ended.set()
        thread.join()


def test_other_versions_of_packages_are_named(ward, tmp_path, monkeypatch):
    from workers.doctor import place

    pins = (ROOT / "requirements.txt").read_text()
    other = tmp_path / "requirements.txt"
    other.write_text(pins.replace("numpy==", "numpy==0."))
    monkeypatch.setattr(place, "REQUIREMENTS", other)
    assert "numpy is " in ward.only("packages")
    other.unlink()
    assert "no requirements.txt" in ward.findings()["packages"].message
    assert ward.failed() == {}


def test_another_python_is_named(ward, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    assert "Python" in ward.only("python")


def test_too_few_open_files_are_named(ward):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    try:
        assert "300 files" in ward.only("files")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_threads_that_would_fight_for_the_cores_are_named(ward):
    ward.environ["OPENBLAS_NUM_THREADS"] = "8"
    assert "OPENBLAS_NUM_THREADS=8" in ward.only("threads")


def test_a_folder_that_others_may_read_is_named(ward):
    ward.folder.chmod(0o755)
    assert "0755" in ward.only("folder")


@pytest.mark.parametrize(
    ("names", "word"), [({"party": 7}, "party"), ({"nonsense": 1}, "nonsense"), ({"peers": []}, "peers")]
)
def test_a_wrong_configuration_is_named_once_and_what_needs_it_is_skipped(ward, names, word):
    ward.edit(**names)
    assert word in ward.only("configuration")
    skipped = {name for name, f in ward.findings().items() if f.state == "skipped"}
    assert {"store", "redis", "portal", "code"} <= skipped


def test_a_missing_variable_is_named(ward):
    del ward.environ["REDIS_URL"]
    assert "REDIS_URL" in ward.only("configuration")


@pytest.mark.parametrize("name", ["sign.pem", "seal.key", "store.key"])
def test_a_key_that_is_missing_or_open_to_others_is_named(ward, name):
    place = ward.folder / "keys" / name
    place.chmod(0o644)
    assert f"{name} can be read by others" in ward.only("keys")
    place.unlink()
    assert f"{name} cannot be read" in ward.only("keys")


def test_keys_that_party_json_does_not_name_are_found(ward):
    for name in ("sign.pem", "seal.key"):
        shutil.copy(ward.world.parties[2].config.folder / "keys" / name, ward.folder / "keys" / name)
    assert "other keys" in ward.only("pinned keys")


def test_keys_that_the_portal_does_not_list_are_found(ward):
    ward.portal.parties[ME] |= {"seal": "0" * 64, "fingerprint": "f" * 32}
    assert "the portal lists fingerprint ffff" in ward.only("pinned keys")


def test_a_full_disk_is_found(tmp_path, ruled):
    with small_disk(tmp_path / "disk") as place:
        made = Ward(place, ruled[0].parties[ME])
        try:
            assert "MiB are free" in made.failed()["disk"].message
            fill(place)
            failed = made.failed()
            assert "ENOSPC" in failed["disk"].message
            assert "ledger" not in failed
        finally:
            made.portal.close()


def test_a_disk_that_may_not_be_written_is_found(tmp_path, ruled):
    with small_disk(tmp_path / "disk") as place:
        made = Ward(place, ruled[0].parties[ME])
        try:
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
            failed = made.failed(deep=True)
            assert "EROFS" in failed["disk"].message and "store" not in failed
        finally:
            made.portal.close()


def test_a_changed_sealed_file_is_found_and_its_dataset_named(ward):
    (meta,) = ward.party.config.store.glob("datasets/*/meta")
    meta.write_bytes(meta.read_bytes()[:-1] + b"x")
    assert ward.dataset in ward.only("store")


def test_one_changed_bit_of_a_column_is_found_by_a_deep_look(ward):
    share = max(ward.party.config.store.glob("datasets/*/*.share"), key=lambda p: p.stat().st_size)
    content = bytearray(share.read_bytes())
    content[-1] ^= 1
    share.write_bytes(content)
    assert ward.failed() == {}
    assert ward.dataset in ward.only("store", deep=True)


def test_a_missing_or_exchanged_column_is_found_by_a_deep_look(ward):
    one, two, *_ = sorted(ward.party.config.store.glob("datasets/*/*.share"))
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    assert "changed, moved" in ward.only("store", deep=True)
    one.write_bytes(kept)
    assert ward.failed(deep=True) == {}
    one.unlink()
    assert "has no column" in ward.only("store", deep=True)


def test_a_store_sealed_under_another_key_is_found(ward):
    place = ward.folder / "keys/store.key"
    place.unlink()
    place.write_text("1" * 64)
    place.chmod(0o600)
    assert "another key" in ward.only("store")


def test_a_changed_line_of_the_ledger_is_found(ward):
    import sqlite3

    charge = Charge(dataset="d", micro_epsilon=1, cap=10)
    ward.party.ledger.reserve(
        nonce="0" * 32, attempt=1, query="q", order_hash="1" * 64, mode="dp", charges=[charge]
    )
    with sqlite3.connect(ward.party.config.database) as db:
        db.execute("DROP TRIGGER lines_never_change")
        db.execute("UPDATE lines SET micro_epsilon = 0")
    assert "line 1" in ward.only("ledger")


def test_a_ledger_file_that_is_none_is_found(ward):
    for path in ward.folder.glob("party.sqlite3*"):
        path.write_bytes(b"nothing of a database" * 100)
    assert "not a database" in ward.only("ledger")


def test_a_ledger_without_the_lines_that_others_saw_is_found(ward):
    def reserve(number):
        charge = Charge(dataset="d", micro_epsilon=1, cap=10)
        place = {"nonce": f"{number:032x}", "attempt": 1}
        ward.party.ledger.reserve(**place, query="q", order_hash="1" * 64, mode="dp", charges=[charge])
        return ward.party.ledger.head()

    seen = ward.portal.parties[ME]["ledger_seen"]
    first = reserve(1)
    seen.append({"by": "portal", "length": 0, "head": ""})
    seen.append({"by": "party 0", "length": first[0], "head": first[1]})
    reserve(2)
    assert ward.failed() == {}
    seen.append({"by": "party 2", "length": 9, "head": "9" * 64})
    assert "has 2 lines; party 2 saw 9 that are not in it: it was set back" in ward.only("ledger")
    seen[-1] = {"by": "party 3", "length": 1, "head": "9" * 64}  # longer by now, but another
    assert "party 3 saw 1 that are not in it" in ward.only("ledger")


def test_a_redis_that_does_not_answer_is_found_and_what_needs_it_skipped(ward):
    ward.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"
    assert "does not answer" in ward.only("redis")
    found = ward.findings()
    assert {found[name].state for name in ("redis rules", "redis memory", "redis clock", "queue")} == {
        "skipped"
    }


def test_a_wrong_password_is_found(ward):
    url = ward.environ["REDIS_URL"]
    user, _, rest = url.partition("@")
    ward.environ["REDIS_URL"] = f"{user[:-3]}xxx@{rest}"
    assert "refuses this party's user" in ward.only("redis")
    assert ward.environ["REDIS_URL"] not in str(ward.findings())


def test_a_user_without_rules_is_found_by_what_it_may(ward):
    server = RedisServer().start()
    try:
        ward.environ["REDIS_URL"] = server.url
        message = ward.only("redis rules")
    finally:
        server.close()
    for deed in ("read another party's queue", "forge a message", "cancel queries", "list all keys"):
        assert deed in message


def test_another_partys_user_is_found_by_what_it_may_not(ward, ruled):
    ward.environ["REDIS_URL"] = ruled[0].parties[2]
    failed = ward.failed()
    assert "may not serve its own queue" in failed["redis rules"].message
    assert "queue" in failed["queue"].message and set(failed) == {"redis rules", "queue"}


def test_a_server_that_evicts_is_found(ward, ruled):
    admin = ruled[1]
    admin.config_set("maxmemory", "100mb")
    admin.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert "allkeys-lru" in ward.only("redis memory")
    finally:
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", 0)


def test_tasks_that_wait_are_counted(ward, ruled):
    ruled[1].rpush(f"p{ME}:jobs", "a", "b")
    try:
        assert "2 tasks wait" in ward.findings()["queue"].message
        ward.edit(drivers=2)
        assert ward.findings()["queue"].message == f"p{ME}:jobs, 2 tasks wait; p{ME}:helpers, 0 tasks wait"
    finally:
        ruled[1].delete(f"p{ME}:jobs")


def test_clocks_that_differ_are_found(ward, monkeypatch):
    ward.portal.skew = -300
    message = ward.only("portal clock")
    assert "ahead of that of the portal" in message and int(message.split()[3]) >= 299
    ward.portal.skew = 0
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 120)
    assert {"redis clock"} <= set(ward.failed())


def test_a_portal_that_does_not_answer_is_found(ward):
    ward.portal.status = 502
    assert "status 502" in ward.only("portal")
    ward.portal.close()
    found = ward.findings()
    assert found["portal"].state == "failed" and "ConnectError" in found["portal"].message
    assert {found[name].state for name in ("pinned keys", "portal clock", "code")} == {"skipped"}
    assert found["ledger"].state == "ok"


def test_a_portal_of_another_key_is_found(ward):
    ward.portal.sign = "0" * 64
    assert "pinned is" in ward.only("portal")


def test_other_code_at_a_peer_is_found(ward):
    ward.portal.parties[3]["code_version"] = "0.0.9+old"
    assert "party 3 runs 0.0.9+old" in ward.only("code")
    ward.portal.parties[3]["state"] = "silent"
    assert ward.failed() == {}


def test_a_running_party_that_was_not_restarted_after_an_upgrade_is_found(ward):
    ward.portal.parties[ME]["code_version"] = "0.0.9+old"
    message = ward.only("code")
    assert message.startswith("the running party has 0.0.9+old") and code_version() in message


def command(ward, *more):
    environ = {
        k: v for k, v in os.environ.items() if k not in ("DJANGO_SETTINGS_MODULE", "OPENBLAS_NUM_THREADS")
    }
    return subprocess.run(
        [sys.executable, "-m", "workers", "doctor", *more],
        cwd=ROOT, env={**environ, **ward.environ, "FOURFOLD_PARTY_DIR": str(ward.folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_prints_a_line_a_check_and_its_code_says_whether_all_is_well(ward):
    done = command(ward)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(ALL)
    ward.folder.chmod(0o755)
    done = command(ward, str(ward.folder))
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert done.returncode == 1 and f"Remedy: chmod 700 {ward.folder}" in line


def test_json_holds_the_same_for_programs(ward):
    done = command(ward, "--json", "--deep")
    listed = json.loads(done.stdout)
    assert [entry["check"] for entry in listed] == ALL
    assert all(set(entry) == {"check", "state", "message", "remedy"} for entry in listed)


def test_no_secret_is_printed(ward):
    done = command(ward, "--deep")
    password = ward.environ["REDIS_URL"].split(":")[2].split("@")[0]
    for secret in (password, ward.party.keys.store.hex()):
        assert secret not in done.stdout + done.stderr


def test_a_folder_must_be_named():
    environ = {
        k: v for k, v in os.environ.items() if k not in ("DJANGO_SETTINGS_MODULE", "FOURFOLD_PARTY_DIR")
    }
    done = subprocess.run(
        [sys.executable, "-m", "workers", "doctor"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "name the party's folder" in done.stderr


def test_the_looks_of_the_heartbeat_and_of_the_doctor_agree(ward):
    health = Health(ward.party.config, ward.party.keys).say(Ledger(ward.party.config.database))[1]
    assert health["store"]["readable"] and ward.findings()["store"].state == "ok"
