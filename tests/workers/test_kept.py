"""Ring views from one attempt to the next: read only where all parties hold the same, made by all or kept by none."""

import os
from dataclasses import replace

import pytest

from mpcnode.views import Views
from tests.workers.test_party import Four, template, world
from workers import joint as joint_module
from workers import kept as kept_module

__all__ = ["template", "world"]  # fixtures, used by name

PROGRAM = "sd(age) by arm"


@pytest.fixture
def four(world):
    return Four(world)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(kept_module, "VIEW_WAIT", 0.5)


def ask(four, number, program=PROGRAM, **how):
    order = four.world.order(program, mode="exact", number=number, **how)
    four.world.portal.reports.clear()
    outcomes = four.ask(order)
    answers = [body for body in four.world.portal.reports if "integers" in body]
    integers = answers[0]["integers"] if answers else None
    return outcomes, integers, [a["report"]["rounds"] for a in answers]


def views_of(party):
    folder = party.config.store
    return sorted(p.name for p in folder.rglob("*.view")), sorted(p.name for p in folder.rglob("*.part"))


def answered(outcomes):
    return outcomes == dict.fromkeys(range(4), "answered")


def test_what_the_first_query_converted_the_second_reads(four):
    first, integers, cold = ask(four, 1)
    assert answered(first)
    held = [views_of(p) for p in four.parties]
    assert all(h == held[0] and len(h[0]) == 2 and h[1] == [] for h in held)
    second, again, warm = ask(four, 2)
    assert answered(second) and again == integers and max(warm) <= min(cold)
    other, _, _ = ask(four, 3, "mean(age)")
    assert answered(other) and [views_of(p) for p in four.parties] == held


def test_a_warm_session_makes_no_ring_column_again(four, monkeypatch):
    ask(four, 1)
    made = []
    real = joint_module.execute._centred

    async def centred(*place):
        made.append(place)
        return await real(*place)

    monkeypatch.setattr(joint_module.execute, "_centred", centred)
    assert answered(ask(four, 2)[0]) and made == []


@pytest.mark.parametrize("lacking", range(4))
def test_where_one_party_lacks_a_view_all_convert_and_hold_it_again(four, lacking):
    _, integers, _ = ask(four, 1)
    for path in four.parties[lacking].config.store.rglob("*.view"):
        path.unlink()
    outcomes, again, _ = ask(four, 2)
    assert answered(outcomes) and again == integers
    assert all(len(views_of(p)[0]) == 2 for p in four.parties)


@pytest.fixture
def computing(monkeypatch):
    """The parties that came to round 0."""
    came = []
    real = joint_module.execute.execute

    def execute(session, plan, tables, **more):
        came.append(session.party)
        return real(session, plan, tables, **more)

    monkeypatch.setattr(joint_module.execute, "execute", execute)
    return came


def change_one_row(stale):
    """Keep, at this party alone, another row of a view under the same name."""
    dataset = stale.store.list()[0]
    views = Views(stale.store, 1 << 30)
    name = kept_module._name((("age", 0, 1),))
    rows = views.open(dataset, name).read(0, 8).copy()
    rows[0, 17] ^= 1
    draft = views.draft(dataset, [name], 8)
    draft.write(name, 0, rows)
    draft.keep([name])


@pytest.mark.parametrize("odd", range(4))
def test_a_view_that_differs_at_one_party_stops_all_before_round_0_and_is_made_anew(four, odd, computing):
    _, integers, _ = ask(four, 1)
    change_one_row(four.parties[odd])
    computing.clear()
    outcomes, nothing, _ = ask(four, 2)
    # The party that does not hold the component has nothing to compare: it begins alone and hears no more.
    assert len(computing) <= 1
    assert "mismatch" in outcomes.values() and nothing is None
    assert set(outcomes.values()) <= {"mismatch", "timeout", "peer_aborted"}
    outcomes, again, _ = ask(four, 3)
    assert answered(outcomes) and again == integers
    assert all(len(views_of(p)[0]) == 2 for p in four.parties)


def test_views_left_out_of_the_confirmation_would_let_parties_begin_that_differ(four, computing, monkeypatch):
    """The mutant of the test above: it notices."""
    ask(four, 1)
    change_one_row(four.parties[1])
    computing.clear()
    monkeypatch.setattr(kept_module.Kept, "digests", lambda self, component, agreed: b"")
    ask(four, 2)
    assert len(computing) == 4


def test_a_view_file_that_does_not_open_costs_one_attempt(four):
    _, integers, _ = ask(four, 1)
    for path in four.parties[2].config.store.rglob("*.view"):
        with open(path, "r+b") as file:
            file.seek(500)
            byte = file.read(1)
            file.seek(500)
            file.write(bytes([byte[0] ^ 1]))
    outcomes, _, _ = ask(four, 2)
    assert not answered(outcomes) and views_of(four.parties[2])[0] == []
    outcomes, again, _ = ask(four, 3)
    assert answered(outcomes) and again == integers


@pytest.mark.parametrize("silent", [0, 3])
def test_without_the_view_message_of_one_party_nobody_keeps_any(four, monkeypatch, silent):
    real = joint_module.Joint.settle

    def settle(self):
        if self.config.party == silent:
            self.drop()
        else:
            real(self)

    monkeypatch.setattr(joint_module.Joint, "settle", settle)
    outcomes, _, _ = ask(four, 1)
    assert answered(outcomes) and all(views_of(p) == ([], []) for p in four.parties)


def test_a_forged_view_message_keeps_nothing(four, monkeypatch):
    real = kept_module.Kept.settle

    def settle(self, session_id, peers, transport, sign, verify):
        real(self, os.urandom(32) if 1 not in peers else session_id, peers, transport, sign, verify)

    monkeypatch.setattr(kept_module.Kept, "settle", settle)
    outcomes, _, _ = ask(four, 1)
    assert answered(outcomes) and all(views_of(p) == ([], []) for p in four.parties)


def test_a_party_that_keeps_none_makes_the_others_keep_none_at_once(four, monkeypatch):
    monkeypatch.setattr(kept_module, "VIEW_WAIT", 60.0)
    frugal = four.parties[1]
    four.parties[1] = replace(frugal, config=replace(frugal.config, ring_views_mb=0))
    assert answered(ask(four, 1)[0]) and all(views_of(p) == ([], []) for p in four.parties)
    assert answered(ask(four, 2)[0])


def test_a_lower_limit_takes_effect_at_once(four):
    ask(four, 1)
    frugal = four.parties[3]
    four.parties[3] = replace(frugal, config=replace(frugal.config, ring_views_mb=0))
    assert answered(ask(four, 2)[0]) and views_of(four.parties[3]) == ([], [])


def test_an_attempt_without_an_answer_leaves_no_view(four, monkeypatch):
    real = joint_module.release.reveal

    def reveal(session, *rest):
        if session.party == 2:
            raise OSError("gone")
        return real(session, *rest)

    monkeypatch.setattr(joint_module.release, "reveal", reveal)
    four.parties = [replace(p, config=replace(p.config, round_timeout=1.0)) for p in four.parties]
    outcomes, _, _ = ask(four, 1)
    assert not answered(outcomes) and all(views_of(p) == ([], []) for p in four.parties)


def test_a_full_disk_costs_the_view_and_not_the_answer(four, monkeypatch):
    def full(self, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mpcnode.views._Part._append", full)
    outcomes, _, _ = ask(four, 1)
    assert answered(outcomes) and all(views_of(p) == ([], []) for p in four.parties)
