"""A backup is whole, private and checked; a restore replaces nothing and says when its ledger is old; peers notice."""

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.workers.full_disk import fill, small_disk
from tests.workers.test_doctor import PortalWord
from tests.workers.test_party import Four
from tests.workers.world import World, codebook
from workers import backup
from workers.errors import BackupRefused, Misconfigured
from workers.ledger import Charge, Ledger

ROOT = Path(__file__).parents[2]
ME = 1


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "world", minimum_cohort=1)
    made.give(made.prepare(codebook(policy={"minimum_cohort": 1})))
    made.write_party_json(ME, "http://127.0.0.1:1")
    return made


@pytest.fixture
def folder(world):
    return world.parties[ME].config.folder


def charge(ledger, number=1):
    ledger.reserve(
        nonce=f"{number:032x}", attempt=1, query="q", order_hash="1" * 64, mode="dp",
        charges=[Charge(dataset="d", micro_epsilon=1, cap=10)],
    )  # fmt: skip


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_restored_is_what_was_backed_up(world, folder, tmp_path):
    charge(world.parties[ME].ledger)
    (dataset,) = world.datasets
    planes = world.parties[ME].store.columns(dataset, ["age"])["age"].tobytes()
    made = backup.make(folder, tmp_path / "copy")
    shutil.move(folder, tmp_path / "gone")
    folder.mkdir()
    shutil.copytree(tmp_path / "gone/keys", folder / "keys")
    backup.restore(backup.check(tmp_path / "copy"), folder)
    twin = World(tmp_path / "world", portal_key=world.portal_key)  # opens everything anew
    party = twin.parties[ME]
    assert party.store.columns(dataset, ["age"])["age"].tobytes() == planes
    assert party.ledger.verify() == made.ledger == (1, made.ledger[1])
    assert (folder / "party.json").read_text() == (tmp_path / "gone/party.json").read_text()
    assert not list(folder.glob("*.partial"))


def test_a_backup_holds_no_key_and_nothing_that_opens_without_one(world, folder, tmp_path):
    backup.make(folder, tmp_path / "copy")
    whole = b"".join(content(tmp_path / "copy").values())
    own = world.parties[ME].keys
    secrets = [own.store, own.store.hex().encode(), (folder / "keys/sign.pem").read_bytes().splitlines()[1]]
    assert not any(secret in whole for secret in secrets)
    assert not (tmp_path / "copy/keys").exists()


def test_files_are_their_owners_alone_and_the_manifest_names_each(folder, tmp_path):
    made = backup.make(folder, tmp_path / "copy")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "copy").rglob("*") if p.is_file()}
    assert modes == {0o600}
    assert all(
        stat.S_IMODE(p.stat().st_mode) == 0o700
        for p in [tmp_path / "copy", *(tmp_path / "copy").rglob("*")]
        if p.is_dir()
    )
    listed = {entry["path"] for entry in made.manifest["files"]} | {"manifest.json"}
    assert listed == set(content(tmp_path / "copy"))


def test_a_backup_made_while_the_party_writes_is_consistent(world, folder, tmp_path):
    ended = threading.Event()

    def write():
        number = 0
        while not ended.is_set() and number < 400:
            number += 1
            charge_zero(world.parties[ME].ledger, number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(4):
            backup.make(folder, tmp_path / f"copy{number}")
            backup.check(tmp_path / f"copy{number}")
    finally:
        ended.set()
        thread.join()


def charge_zero(ledger, number):
    ledger.reserve(
        nonce=f"{number:032x}", attempt=1, query="q", order_hash="1" * 64, mode="exact",
        charges=[Charge(dataset="e", micro_epsilon=0, cap=10)],
    )  # fmt: skip


def test_a_dataset_that_was_destroyed_meanwhile_does_not_live_on_in_the_backup(
    world, folder, tmp_path, monkeypatch
):
    (dataset,) = world.datasets
    real = backup._copy

    def copy(source, dest):
        if source.name == "meta":
            world.parties[ME].store.destroy(dataset)
        return real(source, dest)

    monkeypatch.setattr(backup, "_copy", copy)
    made = backup.make(folder, tmp_path / "copy")
    assert [e["path"] for e in made.manifest["files"]] == ["party.json", "party.sqlite3"]
    assert backup.check(tmp_path / "copy").party == ME


def test_ring_views_are_left_out_and_made_again_later(folder, tmp_path):
    """They may be removed while the backup is made, and are as large as all the rest."""
    place = next((folder / "store/datasets").iterdir())
    for name in ("a.view", "b.part"):
        (place / name).write_bytes(b"sealed")
    made = backup.make(folder, tmp_path / "copy")
    assert not [e for e in made.manifest["files"] if e["path"].endswith((".view", ".part"))]
    assert backup.check(tmp_path / "copy").party == ME


def test_a_backup_replaces_nothing(folder, tmp_path):
    (tmp_path / "copy").mkdir()
    with pytest.raises(BackupRefused, match="exists already"):
        backup.make(folder, tmp_path / "copy")


def test_a_backup_that_finds_no_room_leaves_nothing(folder, tmp_path):
    with small_disk(tmp_path / "disk") as place:
        fill(place)
        with pytest.raises(BackupRefused, match="No space left"):
            backup.make(folder, place / "copy")
        assert [path.name for path in place.iterdir()] == ["filler"]


def test_a_damaged_ledger_is_not_backed_up_as_if_it_were_sound(world, folder, tmp_path):
    import sqlite3

    charge(world.parties[ME].ledger)
    with sqlite3.connect(world.parties[ME].config.database) as db:
        db.execute("DROP TRIGGER lines_never_change")
        db.execute("UPDATE lines SET micro_epsilon = 0")
    with pytest.raises(BackupRefused, match="line 1"):
        backup.make(folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists() and not (tmp_path / "copy.partial").exists()


def test_a_folder_of_no_party_is_named(tmp_path):
    with pytest.raises(Misconfigured, match="keys"):
        backup.make(tmp_path, tmp_path / "copy")


@pytest.mark.parametrize("name", ["party.sqlite3", "party.json", "key", "meta", "*.share"])
def test_one_changed_byte_of_a_backup_is_found_before_anything_is_written(folder, tmp_path, name):
    backup.make(folder, tmp_path / "copy")
    path = next((tmp_path / "copy").rglob(name))
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    with pytest.raises(BackupRefused, match="was changed"):
        backup.check(tmp_path / "copy")


def test_a_missing_and_a_foreign_file_are_found(folder, tmp_path):
    backup.make(folder, tmp_path / "copy")
    (tmp_path / "copy/store/datasets/more").write_text("x")
    with pytest.raises(BackupRefused, match="more is no part of"):
        backup.check(tmp_path / "copy")
    (tmp_path / "copy/store/datasets/more").unlink()
    next((tmp_path / "copy").rglob("*.share")).unlink()
    with pytest.raises(BackupRefused, match="is missing from"):
        backup.check(tmp_path / "copy")


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "keys/store.key", "store/datasets/../../x"]
)
def test_a_manifest_cannot_name_a_file_elsewhere(folder, tmp_path, path):
    backup.make(folder, tmp_path / "copy")
    place = tmp_path / "copy/manifest.json"
    manifest = json.loads(place.read_text())
    manifest["files"][0]["path"] = path
    place.write_text(json.dumps(manifest))
    with pytest.raises(BackupRefused, match="not the manifest"):
        backup.check(tmp_path / "copy")


@pytest.mark.parametrize("there", ["store", "party.sqlite3", "party.sqlite3-wal"])
def test_a_restore_replaces_nothing(folder, tmp_path, there):
    backup.make(folder, tmp_path / "copy")
    target = tmp_path / "target"
    shutil.copytree(folder / "keys", target / "keys")
    (target / there).mkdir() if there == "store" else (target / there).touch()
    with pytest.raises(BackupRefused, match="replaces nothing"):
        backup.restore(backup.check(tmp_path / "copy"), target)
    assert {p.name for p in target.iterdir()} == {"keys", there}


def test_the_keys_of_another_party_are_refused(world, folder, tmp_path):
    backup.make(folder, tmp_path / "copy")
    target = tmp_path / "target"
    shutil.copytree(world.parties[2].config.folder / "keys", target / "keys")
    with pytest.raises(BackupRefused, match="fingerprint"):
        backup.restore(backup.check(tmp_path / "copy"), target)


def test_another_store_key_is_refused_and_nothing_is_put_in_place(world, folder, tmp_path):
    backup.make(folder, tmp_path / "copy")
    target = tmp_path / "target"
    shutil.copytree(folder / "keys", target / "keys")
    shutil.copy(world.parties[2].config.folder / "keys/store.key", target / "keys/store.key")
    with pytest.raises(BackupRefused, match="do not open"):
        backup.restore(backup.check(tmp_path / "copy"), target)
    assert [p.name for p in target.iterdir()] == ["keys"]


def test_a_restore_without_room_leaves_no_half_party(folder, tmp_path):
    backup.make(folder, tmp_path / "copy")
    with small_disk(tmp_path / "disk") as place:
        shutil.copytree(folder / "keys", place / "keys")
        fill(place)
        with pytest.raises(BackupRefused, match="No space left"):
            backup.restore(backup.check(tmp_path / "copy"), place)
        assert {p.name for p in place.iterdir()} == {"keys", "filler"}


def command(folder, *argv):
    environ = {k: v for k, v in os.environ.items() if k not in ("DJANGO_SETTINGS_MODULE", "REDIS_URL")}
    return subprocess.run(
        [sys.executable, "-m", "workers", *map(str, argv)],
        cwd=ROOT, env={**environ, "FOURFOLD_PARTY_DIR": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_commands_back_up_and_restore_with_keys_apart_and_a_warning(folder, tmp_path):
    done = command(folder, "backup", tmp_path / "copy", "--keys", tmp_path / "safe")
    assert done.returncode == 0 and "of a second party, every table" in done.stderr
    assert {p.name for p in (tmp_path / "safe").iterdir()} == {"sign.pem", "seal.key", "store.key"}
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "safe").iterdir()} == {0o600}
    target = tmp_path / "target"
    done = command(target, "restore", tmp_path / "copy", "--keys", tmp_path / "safe")
    assert done.returncode == 0, done.stderr
    assert "is not known" in done.stderr, "no portal answers here"
    assert Ledger(target / "party.sqlite3").verify()[0] == 0
    assert content(target / "store/datasets") == content(folder / "store/datasets")


def test_keys_do_not_go_into_the_backup(folder, tmp_path):
    done = command(folder, "backup", tmp_path / "copy", "--keys", tmp_path / "copy/keys")
    assert done.returncode == 1 and "another place" in done.stderr and not (tmp_path / "copy").exists()


def test_a_restore_of_an_older_ledger_is_said_aloud_and_needs_a_word_more(world, folder, tmp_path):
    portal = PortalWord(world)
    try:
        world.write_party_json(ME, portal.url)
        charge(world.parties[ME].ledger)
        done = command(folder, "backup", tmp_path / "copy")
        assert done.returncode == 0 and "ledger of 1 lines" in done.stdout
        portal.parties[ME]["ledger_seen"] = [{"by": "party 3", "length": 4, "head": "4" * 64}]
        target = tmp_path / "target"
        shutil.copytree(folder / "keys", target / "keys")
        done = command(target, "restore", tmp_path / "copy")
        assert done.returncode == 1 and not (target / "store").exists()
        assert "has 1 lines; party 3 saw 4 that are not in it" in done.stderr and "rollback" in done.stderr
        done = command(target, "restore", tmp_path / "copy", "--accept-older")
        assert done.returncode == 0 and "WARNING" in done.stderr and (target / "store").exists()
    finally:
        portal.close()


def test_a_restore_of_the_newest_ledger_warns_of_nothing(world, folder, tmp_path):
    portal = PortalWord(world)
    try:
        world.write_party_json(ME, portal.url)
        charge(world.parties[ME].ledger)
        length, head = world.parties[ME].ledger.head()
        portal.parties[ME]["ledger_seen"] = [{"by": "portal", "length": length, "head": head}]
        command(folder, "backup", tmp_path / "copy")
        shutil.copytree(folder / "keys", tmp_path / "target/keys")
        done = command(tmp_path / "target", "restore", tmp_path / "copy")
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        portal.close()


def test_peers_refuse_a_restored_older_ledger_and_say_whose_it_is(world, folder, tmp_path, caplog):
    """The whole way: an answer, a backup, another answer, the backup restored, a third question."""
    four = Four(world)
    assert set(four.ask(world.order("count()", mode="exact", number=1)).values()) == {"answered"}
    backup.make(folder, tmp_path / "copy")
    assert set(four.ask(world.order("count()", mode="exact", number=2)).values()) == {"answered"}
    for name in ("store", "party.sqlite3"):
        shutil.move(folder / name, tmp_path / f"lost-{name}")
    for companion in folder.glob("party.sqlite3-*"):
        companion.unlink()
    backup.restore(backup.check(tmp_path / "copy"), folder)
    lines = Ledger(folder / "party.sqlite3").head()[0]
    outcomes = Four(world).ask(world.order("count()", mode="exact", number=3))
    assert set(outcomes.values()) <= {"rollback", "peer_aborted"} and "rollback" in outcomes.values()
    assert f"ledger of party {ME} has " in caplog.text and f"has {lines + 1} lines" in caplog.text
    codes = {said["code"] for said in world.portal.said("abort")}
    assert "rollback" in codes, "the portal is told the code"
    # Refused attempts make the ledger longer again, so that by its length alone it would pass for the newest.
    for number in range(4, 8):
        outcomes = Four(world).ask(world.order("count()", mode="exact", number=number))
        assert outcomes[ME] in ("rollback", "peer_aborted"), f"question {number}: {outcomes}"
        assert "answered" not in outcomes.values(), f"question {number}: {outcomes}"
    assert Ledger(folder / "party.sqlite3").head()[0] > max(
        p.ledger.peers()[ME][0] for p in world.parties if ME in p.ledger.peers()
    )
    assert "lines of this party's ledger that are not in it: it was set back" in caplog.text
