"""What travels has one shape: how many messages, in what order and how long, whatever the data are."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from analytics.execute import Table
from analytics.query.model import By, Operand, Release
from mpcnode.channel import Channel
from mpcnode.ring import XOR, pack, words_for
from tests.analytics import asking
from tests.analytics.test_execute import COLUMNS, outcome, plan_of, played
from tests.cheating.bench import Play, Tap, play
from tests.cheating.program import Inputs
from tests.world import World


def shape(frames: dict[tuple[int, int], list[bytes]]) -> dict[tuple[int, int], list[int]]:
    return {link: [len(frame) for frame in sent] for link, sent in frames.items()}


@pytest.mark.parametrize("n", [4, 3])
def test_every_operation_sends_the_same_lengths_in_the_same_order_on_all_inputs(n: int) -> None:
    rng = np.random.default_rng(46)
    inputs = [Inputs.draw(rng), Inputs.draw(rng), Inputs.constant(0), Inputs.constant(2**64 - 1)]
    runs: list[Play] = [play(46, one, n=n) for one in inputs]
    assert all(shape(run.frames) == shape(runs[0].frames) for run in runs)
    assert runs[0].frames != runs[1].frames
    assert {tuple(s.rounds for s in run.world.sessions) for run in runs} == {
        (runs[0].world.sessions[0].rounds,) * n
    }


def test_one_opening_is_all_that_leaves_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whitelist of what is opened: READY and the release, once to each peer."""
    said: list[tuple[int, int, str]] = []
    send = Channel.send

    def noted(channel: Channel, peer: int, payload: bytes, label: str) -> None:
        said.append((channel.party, peer, label))
        send(channel, peer, payload, label)

    monkeypatch.setattr(Channel, "send", noted)
    run = play(46, Inputs.constant(0))
    links = set(run.frames)
    assert sorted(said) == sorted((frm, to, label) for frm, to in links for label in ("ready", "opening/0"))


def clear_table(kind: str, rng: np.random.Generator) -> dict[str, Any]:
    """Codes and presence of 150 rows: drawn, all missing, or all in one cell."""
    table = {}
    for column in COLUMNS:
        codes = rng.integers(0, 1 << column.bits, 150) if kind == "drawn" else np.zeros(150, dtype=np.int64)
        table[column.name] = codes, np.full(150, kind != "missing")
    return table


@pytest.mark.parametrize("mode", ["dp", "exact"])
def test_a_plan_sends_the_same_whoever_is_in_its_cohort(mode: str) -> None:
    """An empty cohort, a missing column, one full cell: as many rounds, messages and bytes."""
    count = Release(
        cohort=("and", ("less", "bmi", 200), ("present", "age")),
        by=(By(column="region", groups=((0,), (1,), (2,))),),
        operands=(Operand(column="age", bits=5, dropped=0),),
        monomials=((0,), (1,)),
        transform=((16, 1), (16, -1)) if mode == "dp" else ((1, 0), (0, 1)),
        sensitivity=1,
        micro_epsilon=10**6 if mode == "dp" else 0,
        scale=Fraction(20) if mode == "dp" else None,
    )
    seen = []
    for kind in ("drawn", "missing", "one cell"):
        frames: dict[tuple[int, int], list[bytes]] = {}
        world = World(46, wire=lambda party, transport, frames=frames: Tap(transport, frames))
        plan = plan_of(mode, 11, [192], [count])
        outcome(world, plan, [clear_table(kind, np.random.default_rng(46))])
        seen.append(shape(frames))
    assert len(seen[0]) == 12 and seen[0] == seen[1] == seen[2]


def shared(world: World, clear: dict[str, Any]) -> list[Table]:
    """Each party's table of a study of `asking`."""
    words = words_for(asking.FACTS.capacity)
    rows = len(next(iter(clear.values()))[0])
    bits = {"": [np.arange(words * 64) < rows]}
    for field in asking.FACTS.schema.fields:
        codes, present = (np.pad(column, (0, words * 64 - rows)) for column in clear[field.name])
        bits[field.name] = [codes >> k & 1 != 0 for k in range(field.bits)] + [present]
    shares = {name: world.share(pack(np.array(planes)), XOR) for name, planes in bits.items()}
    return [
        Table(asking.FACTS.capacity, {name: s[p].components for name, s in shares.items()})
        for p in range(world.n)
    ]


@pytest.mark.parametrize("program", asking.tables())
def test_every_statistic_sends_the_same_on_neighbours_and_on_a_table_without_anybody(program: str) -> None:
    """The same randomness throughout: with a patient, without, and without all others."""
    rows = [asking.row(number) for number in range(0, asking.ROWS, asking.ROWS // 50)]
    seen, rounds = [], set()
    for some in (rows, rows[1:], []):
        frames: dict[tuple[int, int], list[bytes]] = {}
        world = World(46, wire=lambda party, transport, frames=frames: Tap(transport, frames))
        played(world, asking.questions()[program], [shared(world, asking.table(some))])
        seen.append(shape(frames))
        rounds |= {session.rounds for session in world.sessions}
    assert len(seen[0]) == 12 and seen[0] == seen[1] == seen[2]
    assert len(rounds) == 1
