"""The share store: round trips, authentication, crashes, a full disk, crypto-erase."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from mpcnode import store as store_module
from mpcnode.errors import StoreError
from mpcnode.store import Store

KEY = bytes(range(32))
DATASET = "ab" * 16
OTHER = "cd" * 16
LAYOUT = [
    ("", "valid"),
    ("age", 0),
    ("age", 1),
    ("age", 2),
    ("age", "present"),
    ("ärm", 0),
    ("ärm", "present"),
]
META = {"version": 1, "capacity": 200, "manifest": {"title": "Gïst"}}
ROOT = Path(__file__).parents[2]


def shares(seed=1, planes=7, words=4, party=0):
    rng = np.random.default_rng(seed)
    return {c: rng.integers(0, 2**64, (planes, words), dtype=np.uint64) for c in range(4) if c != party}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", KEY, 0)


def stored_files(store_folder):
    return [path for path in Path(store_folder).rglob("*") if path.is_file() and path.name != "lock"]


def test_columns_come_back_as_they_were_put(store):
    arrays = shares()
    store.put(DATASET, META, LAYOUT, arrays)
    found = store.columns(DATASET, ["", "age", "ärm"])
    stacked = np.stack([arrays[1], arrays[2], arrays[3]])
    np.testing.assert_array_equal(found[""], stacked[:, 0:1])
    np.testing.assert_array_equal(found["age"], stacked[:, 1:5])
    np.testing.assert_array_equal(found["ärm"], stacked[:, 5:7])
    assert store.meta(DATASET) == META and store.has(DATASET) and store.list() == [DATASET]


def test_components_are_stacked_in_ascending_order_without_the_own_number(tmp_path):
    arrays = shares(party=2)
    store = Store(tmp_path, KEY, 2)
    store.put(DATASET, META, LAYOUT, dict(reversed(arrays.items())))
    np.testing.assert_array_equal(store.columns(DATASET, [""])[""][2], arrays[3][:1])
    with pytest.raises(ValueError, match="read-only"):
        store.columns(DATASET, [""])[""][0, 0, 0] = 1


def test_a_store_survives_its_process(store, tmp_path):
    store.put(DATASET, META, LAYOUT, shares())
    again = Store(tmp_path / "store", KEY, 0)
    np.testing.assert_array_equal(
        again.columns(DATASET, ["age"])["age"], store.columns(DATASET, ["age"])["age"]
    )


def test_the_same_dataset_again_changes_nothing_and_another_content_is_refused(store, tmp_path):
    store.put(DATASET, META, LAYOUT, shares())
    before = {path: path.read_bytes() for path in stored_files(tmp_path)}
    store.put(DATASET, META, LAYOUT, shares())
    assert {path: path.read_bytes() for path in stored_files(tmp_path)} == before
    with pytest.raises(StoreError, match="already"):
        store.put(DATASET, {**META, "version": 2}, LAYOUT, shares())


@pytest.mark.parametrize(
    ("meta", "layout", "arrays", "says"),
    [
        (META, LAYOUT, {**shares(), 0: shares()[1]}, "stores components"),
        (META, LAYOUT, {1: shares()[1], 2: shares()[2]}, "stores components"),
        (META, LAYOUT, shares(planes=6), "one plane"),
        (META, LAYOUT, shares(words=3), "do not hold"),
        (META, LAYOUT, {c: a.astype(np.int64) for c, a in shares().items()}, "uint64"),
        (META, LAYOUT, {**shares(), 3: shares(words=5)[3]}, "one shape"),
        ({"capacity": 200}, LAYOUT, shares(), "version"),
        (META, [("age", 0), ("", "valid"), ("age", 1), *LAYOUT[4:]], shares(planes=6), "side by side"),
        (META, LAYOUT[1:], shares(planes=6), "valid plane"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_kept(store, tmp_path, meta, layout, arrays, says):
    with pytest.raises(StoreError, match=says):
        store.put(DATASET, meta, layout, arrays)
    assert store.list() == [] and stored_files(tmp_path) == []


@pytest.mark.parametrize("name", ["../" + "ab" * 15, "AB" * 16, "ab" * 17, ""])
def test_a_dataset_id_is_never_a_path(store, name):
    with pytest.raises(StoreError, match="32 hex"):
        store.has(name)


def test_an_unknown_dataset_or_column_is_named(store):
    with pytest.raises(StoreError, match="not stored here"):
        store.columns(DATASET, [""])
    store.put(DATASET, META, LAYOUT, shares())
    with pytest.raises(StoreError, match="no column 'weight'"):
        store.columns(DATASET, ["weight"])


def test_nothing_readable_is_on_the_disk(store, tmp_path):
    arrays = shares()
    store.put(DATASET, META, LAYOUT, arrays)
    digest = json.loads(store.component_digests(DATASET, [""], 1)[4:])[-1]
    for path in stored_files(tmp_path):
        content = path.read_bytes()
        for secret in (
            arrays[1][0].tobytes(),
            arrays[3][3].tobytes(),
            b"age",
            digest.encode(),
            b"title",
            KEY,
        ):
            assert secret not in content
        assert "age" not in path.name and path.stat().st_mode & 0o077 == 0


def test_every_changed_byte_of_a_file_is_noticed(store, tmp_path):
    store.put(DATASET, META, LAYOUT, shares())
    for path in stored_files(tmp_path):
        good = path.read_bytes()
        for position in {0, 9, 11, 14, 40, len(good) // 2, len(good) - 1} & set(range(len(good))):
            bad = bytearray(good)
            bad[position] ^= 1
            path.write_bytes(bad)
            with pytest.raises(StoreError):
                store.meta(DATASET)
                store.columns(DATASET, ["", "age", "ärm"])
            path.write_bytes(good)
    store.columns(DATASET, ["", "age", "ärm"])


def test_a_file_moved_to_another_name_or_dataset_is_noticed(store, tmp_path):
    store.put(DATASET, META, LAYOUT, shares())
    store.put(OTHER, META, LAYOUT, shares(2))
    place = tmp_path / "store" / "datasets"
    column = {name: place / DATASET / store_module._file_name(name) for name in ("age", "ärm")}
    age = column["age"].read_bytes()
    column["age"].write_bytes(column["ärm"].read_bytes())
    with pytest.raises(StoreError, match="changed, moved"):
        store.columns(DATASET, ["age"])
    column["age"].write_bytes((place / OTHER / column["age"].name).read_bytes())
    with pytest.raises(StoreError, match="changed, moved"):
        store.component_digests(DATASET, ["age"], 1)
    column["age"].write_bytes(age)
    (place / DATASET / "key").write_bytes((place / OTHER / "key").read_bytes())
    with pytest.raises(StoreError, match="changed, moved"):
        store.columns(DATASET, ["age"])


def test_another_store_key_or_another_party_reads_nothing(store, tmp_path):
    store.put(DATASET, META, LAYOUT, shares())
    with pytest.raises(StoreError, match="another key"):
        Store(tmp_path / "store", bytes(32), 0).meta(DATASET)
    with pytest.raises(StoreError, match="another party"):
        Store(tmp_path / "store", KEY, 1).columns(DATASET, [""])


def test_holders_of_a_component_agree_on_its_digest_and_others_do_not(tmp_path):
    whole = {c: shares(party=9)[c] for c in range(4)}
    stores = []
    for party in range(4):
        held = Store(tmp_path / str(party), os.urandom(32), party)
        held.put(DATASET, META, LAYOUT, {c: a for c, a in whole.items() if c != party})
        stores.append(held)
    for c in range(4):
        found = {stores[p].component_digests(DATASET, ["", "age"], c) for p in range(4) if p != c}
        assert len(found) == 1
    with pytest.raises(StoreError, match="holds no component 2"):
        stores[2].component_digests(DATASET, [""], 2)


def test_a_digest_covers_version_component_and_order_of_columns(tmp_path):
    def digests(number, meta=META, names=("", "age"), change=None):
        held = Store(tmp_path / str(number), KEY, 0)
        arrays = shares()
        if change is not None:
            arrays[change][2, 1] ^= np.uint64(1)
        held.put(DATASET, meta, LAYOUT, arrays)
        return held.component_digests(DATASET, list(names), 1)

    same = digests(0)
    assert digests(1) == same and digests(2, change=2) == same
    assert digests(3, change=1) != same
    assert digests(4, meta={**META, "version": 2}) != same
    assert digests(5, names=("age", "")) != same
    assert digests(6, names=("age",)) != same


def test_destroy_takes_the_key_first_and_then_everything(store, tmp_path, monkeypatch):
    store.put(DATASET, META, LAYOUT, shares())
    store.put(OTHER, META, LAYOUT, shares(2))

    def crash(path, *args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store_module.shutil, "rmtree", crash)
        store.destroy(DATASET)
    assert not store.has(DATASET) and store.list() == [OTHER]
    assert not (tmp_path / "store" / "datasets" / DATASET / "key").exists()
    with pytest.raises(StoreError, match="not stored here"):
        store.columns(DATASET, [""])
    again = Store(tmp_path / "store", KEY, 0)
    assert not (tmp_path / "store" / "datasets" / DATASET).exists()
    assert again.destroy(OTHER) is True and again.destroy(OTHER) is False
    again.put(DATASET, META, LAYOUT, shares(3))
    assert again.list() == [DATASET]


def test_a_crash_before_the_last_step_leaves_nothing(store, tmp_path, monkeypatch):
    class Crash(BaseException):
        """Not an Exception: what a kill would look like from inside."""

    for step in range(1, 8):
        count = iter(range(1, 100))
        real = os.fsync

        def sync(descriptor, count=count, step=step, real=real):
            if next(count) == step:
                raise Crash
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(store_module.os, "fsync", sync)
            with contextlib.suppress(Crash):
                store.put(DATASET, META, LAYOUT, shares())
        if store.has(DATASET):  # the crash came after the rename: then everything is there
            assert set(store.columns(DATASET, ["", "age", "ärm"])) == {"", "age", "ärm"}
            store.destroy(DATASET)
        else:
            assert stored_files(tmp_path) == []


def script(folder, body):
    code = f"""
        import os, sys, signal, resource
        import numpy as np
        sys.path.insert(0, {str(ROOT)!r})
        from mpcnode.store import Store
        from mpcnode.errors import StoreError
        store = Store({str(folder)!r}, {KEY!r}, 0)
        planes = np.zeros((40, 4096), dtype=np.uint64)
        layout = [("", "valid")] + [(f"c{{i}}", 0) for i in range(39)]
        def put(number):
            store.put(f"{{number:032x}}", {{"version": 1, "capacity": 4096 * 64}}, layout,
                      {{1: planes, 2: planes, 3: planes}})
    """
    return textwrap.dedent(code) + textwrap.dedent(body)


def test_kill_nine_in_the_middle_of_puts_leaves_whole_datasets_only(tmp_path):
    body = """
        print("go", flush=True)
        for number in range(10000):
            put(number)
            print(number, flush=True)
    """
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", script(tmp_path, body)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3):  # "go" and two datasets, then somewhere in the third
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        store = Store(tmp_path, KEY, 0)
        assert len(store.list()) >= 2
        assert list((tmp_path / "pending").iterdir()) == []
        for dataset in store.list():
            assert len(store.columns(dataset, [""] + [f"c{i}" for i in range(39)])) == 40
            store.destroy(dataset)


def test_a_full_disk_is_an_error_with_nothing_half_written_and_the_store_goes_on(tmp_path):
    body = """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        put(1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        try:
            put(2)
        except StoreError as wrong:
            print("refused", wrong)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(len(store.list()), len(os.listdir(store._pending)))
        put(2)
        print(len(store.list()))
    """
    done = subprocess.run(
        [sys.executable, "-c", script(tmp_path, body)], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("refused the share store cannot be used")
    assert lines[1:] == ["1 0", "2"]


def test_no_space_left_is_said_in_the_words_of_the_system(store, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, "rename", full)
    with pytest.raises(StoreError, match="No space left on device"):
        store.put(DATASET, META, LAYOUT, shares())
    assert stored_files(tmp_path) == []


def test_the_store_prints_neither_key_nor_shares(store):
    store.put(DATASET, META, LAYOUT, shares())
    assert KEY.hex() not in repr(store) and "array" not in repr(store) and repr(KEY) not in repr(store)


def test_a_wrong_key_or_party_is_refused_at_once(tmp_path):
    with pytest.raises(StoreError, match="32 bytes"):
        Store(tmp_path, b"short", 0)
    with pytest.raises(StoreError, match="no party 4"):
        Store(tmp_path, KEY, 4)
