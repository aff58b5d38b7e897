"""Ring views at rest: rows come back by any range, nothing is read before it is kept, what they take is bounded."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpcnode.errors import StoreError
from mpcnode.store import Store
from mpcnode.views import SEGMENT, Views
from tests.mpcnode.test_store import DATASET, KEY, LAYOUT, META, OTHER, shares

WORDS = 3 * SEGMENT + 7
SIZE = 3 * 8 * 64 * WORDS


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store", KEY, 0)
    store.put(DATASET, META, LAYOUT, shares())
    return store


def made(seed=1, words=WORDS):
    return np.random.default_rng(seed).integers(0, 2**64, (3, 64 * words), dtype=np.uint64)


def kept(views, rows, name="x", dataset=DATASET, step=100):
    words = rows.shape[1] // 64
    draft = views.draft(dataset, [name], words)
    for start in range(0, words, step):
        draft.write(name, start, rows[:, 64 * start : 64 * min(start + step, words)])
    draft.keep([name])


def files(store, ending="*"):
    return sorted(p.name for p in store.folder_of(DATASET).glob(ending))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(step=st.integers(1, WORDS), data=st.data())
def test_any_range_of_rows_comes_back_however_it_was_written(store, step, data):
    views, rows = Views(store, 10 * SIZE), made(step)
    kept(views, rows, step=step)
    start = data.draw(st.integers(0, WORDS - 1))
    stop = data.draw(st.integers(start + 1, WORDS))
    np.testing.assert_array_equal(views.open(DATASET, "x").read(start, stop), rows[:, 64 * start : 64 * stop])


def test_nothing_is_there_before_it_is_kept_and_what_is_not_agreed_is_removed(store):
    views = Views(store, 10 * SIZE)
    draft = views.draft(DATASET, ["x", "y"], WORDS)
    draft.write("x", 0, made())
    draft.write("y", 0, made())
    assert views.held(DATASET, ["x", "y"]) == [] and draft.whole() == ["x", "y"]
    draft.keep(["x"])
    assert views.held(DATASET, ["x", "y"]) == ["x"] and files(store, "*.part") == []


def test_two_processes_write_one_view(store):
    views, rows = Views(store, 10 * SIZE), made()
    draft = views.draft(DATASET, ["x"], WORDS)
    other = Views(store, 0).join(DATASET, draft.files, WORDS)
    other.write("x", SEGMENT, rows[:, 64 * SEGMENT : 64 * 700])
    other.write("x", 700, rows[:, 64 * 700 :])
    draft.write("x", 0, rows[:, : 64 * SEGMENT])
    assert draft.whole() == []
    draft.take(other.written())
    draft.keep(["x"])
    np.testing.assert_array_equal(views.open(DATASET, "x").read(0, WORDS), rows)
    alone = Views(store, 10 * SIZE)
    before = alone.digests(DATASET, ["x"], 2)
    kept(alone, rows)
    assert alone.digests(DATASET, ["x"], 2) == before


def test_a_view_that_is_not_whole_is_never_kept(store):
    views = Views(store, 10 * SIZE)
    draft = views.draft(DATASET, ["x", "y"], WORDS)
    draft.write("x", 0, made(words=WORDS - 1))
    draft.write("y", 1, made(words=WORDS - 1))
    assert draft.whole() == []
    draft.keep(["x", "y"])
    assert views.held(DATASET, ["x", "y"]) == [] and files(store, "*.part") == []


def test_what_a_killed_session_left_is_removed_by_the_next(store):
    views = Views(store, 10 * SIZE)
    views.draft(DATASET, ["x"], WORDS).write("x", 0, made(words=300))
    assert len(files(store, "*.part")) == 1
    kept(views, made())
    assert files(store, "*.part") == [] and views.held(DATASET, ["x"]) == ["x"]


def test_digests_cover_the_component_and_the_name(store):
    views = Views(store, 10 * SIZE)
    rows = made()
    kept(views, rows, "x", step=WORDS)
    kept(views, rows, "y", step=64)
    changed = rows.copy()
    changed[1, 5] ^= np.uint64(1)
    kept(views, changed, "z")
    digest = {(n, c): views.digests(DATASET, [n], c) for n in "xyz" for c in (1, 2, 3)}
    assert len(set(digest.values())) == 9
    tail = {place: bytes(d)[-68:] for place, d in digest.items()}
    assert tail["x", 1] == tail["y", 1] == tail["z", 1] and tail["x", 2] == tail["y", 2] != tail["z", 2]


def test_the_longest_unread_view_goes_when_the_limit_is_reached(store):
    views = Views(store, int(2.5 * SIZE))
    kept(views, made(1), "x")
    kept(views, made(2), "y")
    views.open(DATASET, "x").read(0, 1)
    kept(views, made(3), "z")
    assert views.held(DATASET, ["x", "y", "z"]) == ["x", "z"] and views.bytes_stored() <= 2.5 * SIZE


@pytest.mark.parametrize("limit", [0, SIZE // 2])
def test_a_view_beyond_the_limit_is_not_even_written(store, limit):
    views = Views(store, limit)
    draft = views.draft(DATASET, ["x"], WORDS)
    draft.write("x", 0, made())
    assert draft.whole() == [] and files(store, "*.part") == []


@pytest.mark.parametrize("place", ["body", "header", "end"])
def test_a_changed_file_is_an_error_and_one_without_its_header_is_removed(store, place):
    views = Views(store, 10 * SIZE)
    kept(views, made())
    path = next(store.folder_of(DATASET).glob("*.view"))
    data = bytearray(path.read_bytes())
    data[{"body": 1000, "header": len(data) - 40, "end": len(data) - 1}[place]] ^= 1
    path.write_bytes(data)
    if place == "body":
        with pytest.raises(StoreError):
            views.open(DATASET, "x").read(0, WORDS)
    else:
        assert views.held(DATASET, ["x"]) == [] and not path.exists()


def test_a_file_under_another_name_or_dataset_does_not_open(store):
    store.put(OTHER, META, LAYOUT, shares())
    views = Views(store, 10 * SIZE)
    kept(views, made(1), "x")
    kept(views, made(2), "y")
    x, y = views._path(DATASET, "x"), views._path(DATASET, "y")
    x.write_bytes(y.read_bytes())
    views._path(OTHER, "y").write_bytes(y.read_bytes())
    assert views.held(DATASET, ["x", "y"]) == ["y"] and views.held(OTHER, ["y"]) == []


def test_segments_of_another_file_of_the_same_view_do_not_open(store):
    views = Views(store, 10 * SIZE)
    kept(views, made(1))
    path = views._path(DATASET, "x")
    before = path.read_bytes()
    kept(views, made(2))
    after = path.read_bytes()
    path.write_bytes(before[:1000] + after[1000:])
    with pytest.raises(StoreError):
        views.open(DATASET, "x").read(0, 1)


def test_destroying_the_dataset_ends_its_views(store):
    views = Views(store, 10 * SIZE)
    kept(views, made())
    store.destroy(DATASET)
    assert views.held(DATASET, ["x"]) == [] and views.bytes_stored() == 0
    with pytest.raises(StoreError):
        views.open(DATASET, "x")


def test_no_row_is_on_the_disk_in_clear(store):
    views, rows = Views(store, 10 * SIZE), made()
    kept(views, rows)
    data = next(store.folder_of(DATASET).glob("*.view")).read_bytes()
    assert rows[0, :4].tobytes() not in data and b"x" * 1 and b"sha256" not in data
