"""Four party processes over a real Redis, and what one program costs them.

Every repetition is a session of its own: signed handshake, fresh keys, encrypted channel, tags, four parties, actively
secure. The clock runs from the moment all four have finished the handshake to the revealed integers, or to the last
round where nothing is revealed; the slowest party counts. What is revealed is compared with plain numpy after each
program: a wrong answer stops the run. Times are minima and medians of the repetitions; `others` says how many cores
all other programs of the machine used meanwhile, so a row with a figure well above 0 is worth repeating.
"""

from __future__ import annotations

import cProfile
import ctypes
import gc
import importlib
import multiprocessing
import os
import pstats
import queue
import resource
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.delay import Delayed
from mpcnode.driver import run
from mpcnode.handshake import Head, Identity, Terms, handshake
from mpcnode.release import Purpose, reveal
from mpcnode.release import Terms as ReleaseTerms
from mpcnode.ring import Words
from mpcnode.session import Session
from mpcnode.transport.redis import RedisTransport, connect

PARTIES = 4
PATIENCE = 600  # seconds that one program may take in all


@dataclass(frozen=True)
class Work:
    """What one party runs in a session: made outside the clock.

    program   the coroutine; its result is revealed, or dropped where `words` is 0
    words     ring elements that are revealed
    expected  the clear answer as signed integers, computed by plain numpy; called outside the clock
    within    how far each integer may be from it: 0, or some dozens of noise scales
    rounds    what the plan says beforehand; None where there is no plan
    """

    program: Callable[[Session], Coroutine[Any, Any, Any]]
    words: int = 0
    expected: Callable[[], Any] | None = None
    within: Any = 0
    rounds: int | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table: seconds, bytes and counts of one program at one size."""

    walls: list[float]
    cpu: float
    handshake: float
    rounds: int
    sent: float
    memory: float
    others: float

    @property
    def wall(self) -> float:
        return min(self.walls)

    @property
    def median(self) -> float:
        return statistics.median(self.walls)


@dataclass(frozen=True)
class Place:
    """Where a child plays: all it needs to find its peers."""

    party: int
    keys: tuple[bytes, ...]
    url: str
    name: str
    delay: float
    profile: bool


def play(place: Place, module: str, number: int, size: int, repeat: int, results: Any, barrier: Any) -> None:
    """One party's process: `repeat` sessions of one program."""
    me = place.party
    work: Work = importlib.import_module(module).TABLES[number].prepare(me, size)
    private = Ed25519PrivateKey.from_private_bytes(place.keys[me])
    public = {p: Ed25519PrivateKey.from_private_bytes(k).public_key() for p, k in enumerate(place.keys)}
    identity = Identity(private=private, public={p: k.public_bytes_raw() for p, k in public.items()})
    client = connect(place.url)
    if me:
        work = replace(work, expected=None)  # with it goes the clear data that it may hold
    forget_peak()

    def verify(peer: int, body: bytes, signature: bytes) -> bool:
        public[peer].verify(signature, body)
        return True

    profile = cProfile.Profile()
    plan_hash = bytes(32)
    terms = Terms(
        order_hash=bytes(32),
        attempt=1,
        plan_hash=plan_hash,
        mode="dp",
        layout=b"",
        code_version="bench",
        constants=b"",
    )
    for k in range(repeat):
        peers = [p for p in range(PARTIES) if p != me]
        transport: Any = RedisTransport(client, me, peers, f"{place.name}-{k}")
        if place.delay:
            transport = Delayed(transport, place.delay)
        barrier.wait()
        begun = time.perf_counter()
        made = handshake(
            party=me,
            transport=transport,
            identity=identity,
            terms=terms,
            ledger=Head(0, b""),
            seen={},
            stored=lambda c, views, earlier: bytes(32),
            timeout=60,
        )
        session = Session(
            party=me,
            n=PARTIES,
            channel=made.channel,
            prss_keys=made.prss_keys,
            vouch_keys=made.vouch_keys,
            session_id=made.session_id,
        )
        joined = time.perf_counter()
        barrier.wait()
        if place.profile and me == 0:
            profile.enable()
        started, cpu = time.perf_counter(), time.process_time()
        total = run(session, work.program(session))
        answer = None
        if work.words:
            release = ReleaseTerms(
                words=work.words,
                purpose=Purpose.NOISED_RESULT,
                plan_hash=plan_hash,
                commit=lambda: bytes(16),
                opening=lambda: None,
                sign=private.sign,
                verify=verify,
                timeout=60,
            )
            answer = reveal(session, made.channel, total, Purpose.NOISED_RESULT, release)
        done = time.perf_counter()
        profile.disable()
        figures = {
            "party": me,
            "repetition": k,
            "wall": done - started,
            "handshake": joined - begun,
            "cpu": time.process_time() - cpu,
            "rounds": session.rounds + 2 * bool(work.words),
            "sent": sum(made.channel.bytes_sent.values()),
            "memory": peak_bytes(),
            "wrong": None,
        }
        del total
        if me == 0 and answer is not None and work.expected is not None:
            figures["wrong"] = difference(answer, np.asarray(work.expected()), work.within)
        if work.rounds not in (None, figures["rounds"]):
            figures["wrong"] = f"{figures['rounds']} rounds, the plan says {work.rounds}"
        figures["all_cpu"] = time.process_time()
        results.put(figures)
        barrier.wait()
        transport.close()
    if place.profile and me == 0:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def difference(answer: Words, expected: Any, within: Any) -> str | None:
    """None if every revealed integer is as far from the clear one as its noise may take it, else what is wrong."""
    signed = answer.view(np.int64)
    far = np.abs(signed - expected.reshape(-1)) > np.asarray(within).reshape(-1)
    return f"revealed {signed[far][:4]}, expected {expected.reshape(-1)[far][:4]}" if far.any() else None


def forget_peak() -> None:
    """Let the peak of this process's memory start from now, without what preparing left free (Linux)."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Most memory that this process had since `forget_peak`."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def busy_seconds() -> float:
    """CPU seconds that this machine has worked since it started (Linux; elsewhere 0)."""
    with suppress(OSError, ValueError):
        fields = [int(f) for f in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
        idle = fields[3] + fields[4]
        return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")
    return 0.0


def server_seconds(client: redis.Redis) -> float:
    """CPU seconds of the Redis server."""
    cpu: Any = client.info("cpu")
    return float(cpu["used_cpu_sys"]) + float(cpu["used_cpu_user"])


def processes() -> Any:
    """The way to start a party: from a clean process that has imported everything and holds no cipher."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.questions"])
    return context


def collected(results: Any, children: Sequence[Any], count: int) -> Iterator[dict[str, Any]]:
    """What the parties report; RuntimeError as soon as one of them has failed."""
    deadline = time.monotonic() + PATIENCE
    while count:
        try:
            yield results.get(timeout=0.5)
            count -= 1
        except queue.Empty:
            if any(child.exitcode for child in children) or time.monotonic() > deadline:
                for child in children:
                    child.terminate()
                raise RuntimeError("a party failed; what it said is above") from None


def measure(
    url: str, module: str, number: int, size: int, repeat: int, *, delay: float = 0.0, profile: bool = False
) -> Row:
    """Run one program at one size in four new processes.

    module    its name; `number` is the program's place in its TABLES
    delay     seconds between a push and the moment its reader may see it
    profile   print where party 0 spends its time, all repetitions together
    Raises    RuntimeError when a revealed answer, or the number of rounds, is wrong.
    """
    context = processes()
    results, barrier = context.Queue(), context.Barrier(PARTIES)
    keys = tuple(os.urandom(32) for _ in range(PARTIES))
    client = connect(url)
    name = f"bench-{os.urandom(6).hex()}"
    before = time.perf_counter(), busy_seconds(), server_seconds(client)
    children = [
        context.Process(
            target=play,
            args=(Place(p, keys, url, name, delay, profile), module, number, size, repeat, results, barrier),
            daemon=True,
        )
        for p in range(PARTIES)
    ]
    for child in children:
        child.start()
    got = list(collected(results, children, PARTIES * repeat))
    seconds = time.perf_counter() - before[0]
    ours = server_seconds(client) - before[2]
    ours += sum(max(r["all_cpu"] for r in got if r["party"] == p) for p in range(PARTIES))
    others = max(0.0, (busy_seconds() - before[1] - ours) / seconds)
    for child in children:
        child.join()
    client.close()
    for r in got:
        if r["wrong"]:
            raise RuntimeError(f"{module} {number} at {size}: {r['wrong']}")
    runs = [[r for r in got if r["repetition"] == k] for k in range(repeat)]
    walls = [max(r["wall"] for r in one) for one in runs]
    return Row(
        walls=walls,
        cpu=min(sum(r["cpu"] for r in one) / PARTIES for one in runs),
        handshake=min(max(r["handshake"] for r in one) for one in runs),
        rounds=got[0]["rounds"],
        sent=sum(r["sent"] for r in runs[0]) / PARTIES,
        memory=max(r["memory"] for r in got if r["party"]),  # party 0 holds the clear data too
        others=others,
    )


@dataclass(frozen=True)
class Table:
    """A program at several sizes, with the wall times it is to reach.

    prepare   what a party runs: function (party, size) -> Work
    goals     {size: seconds}
    rate      (what, per unit of size) of a figure per second, e.g. 64 gates a word
    """

    title: str
    unit: str
    sizes: tuple[int, ...]
    prepare: Callable[[int, int], Work]
    goals: Mapping[int, float] = field(default_factory=dict)
    rate: tuple[str, int] | None = None

    def lines(
        self, url: str, module: str, number: int, repeat: int, sizes: Sequence[int], profile: bool = False
    ) -> Iterator[str]:
        """The table in Markdown, line by line as it is measured; it is number `number` of its module."""
        rate = f" million {self.rate[0]}/s |" if self.rate else ""
        yield f"**{self.title}**\n"
        yield (
            f"| {self.unit} | wall ms | median ms | goal ms | wall/goal |{rate} CPU ms a party | rounds "
            "| MB sent a party | peak MB a party | others |"
        )
        yield "|---" * (11 if self.rate else 10) + "|"
        for size in sizes:
            row = measure(url, module, number, size, repeat, profile=profile)
            goal = self.goals.get(size)
            cells = [
                f"{size:,}".replace(",", " "),
                f"{1e3 * row.wall:.1f}",
                f"{1e3 * row.median:.1f}",
                f"{1e3 * goal:.0f}" if goal else "",
                f"{row.wall / goal:.2f}" if goal else "",
                *([f"{self.rate[1] * size / row.wall / 1e6:.0f}"] if self.rate else []),
                f"{1e3 * row.cpu:.1f}",
                f"{row.rounds}",
                f"{row.sent / 1e6:.3f}",
                f"{row.memory / 1e6:.0f}",
                f"{row.others:.1f}",
            ]
            yield "| " + " | ".join(cells) + " |"
        yield ""
