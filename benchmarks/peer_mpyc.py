"""One party of MPyC (Shamir, threshold 1 of 3, semi-honest), run by benchmarks/peers.py in MPyC's own environment.

    python peer_mpyc.py PARTY WORKLOAD ROWS REPEAT PORT PORT PORT

Workloads, clock and output as in peer_spu.py.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

PARTY, WORKLOAD, ROWS, REPEAT = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
PLACES = [word for port in sys.argv[5:] for word in ("-P", f"127.0.0.1:{port}")]
sys.argv = [
    sys.argv[0],
    *PLACES,
    "-I",
    str(PARTY),
    "--no-log",
]  # MPyC reads its own options when it is imported

import numpy as np
from mpyc.runtime import mpc

GROUPS = 5
THRESHOLD = 2_000_000_000


async def secret(kind: Any, array: Any) -> Any:
    shared = mpc.input(kind.array(array.astype(object)), senders=0)
    await mpc.gather(shared)
    return shared


async def grouped() -> tuple[Callable[[], Any], Any]:
    rng = np.random.default_rng(1)
    value = rng.integers(0, 100, ROWS)
    masks = np.eye(GROUPS, dtype=np.int64)[rng.integers(0, GROUPS, ROWS)]
    kind = mpc.SecInt(48)
    v, m = await secret(kind, value), await secret(kind, masks)

    def compute() -> Any:
        square = mpc.np_multiply(v, v)
        return mpc.np_vstack((mpc.np_matmul(v, m), mpc.np_sum(m, axis=0), mpc.np_matmul(square, m)))

    return compute, np.vstack((value @ masks, masks.sum(axis=0), (value * value) @ masks))


async def below() -> tuple[Callable[[], Any], Any]:
    value = np.random.default_rng(1).integers(0, 2**32, ROWS)
    v = await secret(mpc.SecInt(34), value)
    return lambda: mpc.np_sum(mpc.np_less(v, THRESHOLD)), np.array((value < THRESHOLD).sum())


async def main() -> None:
    await mpc.start()
    compute, want = await (grouped() if WORKLOAD == "W1" else below())
    walls, sent, right = [], 0, True
    for _ in range(REPEAT):
        await mpc.output(mpc.SecInt(32)(0))  # all are ready
        before, begun = bytes_sent(), time.perf_counter()
        got = await mpc.output(compute())
        walls.append(time.perf_counter() - begun)
        sent = bytes_sent() - before
        right &= np.array_equal(np.array(got, dtype=object).astype(np.int64).reshape(-1), want.reshape(-1))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"walls": walls, "sent": sent, "memory": memory, "right": bool(right)}), flush=True)
    await mpc.shutdown()


def bytes_sent() -> int:
    return sum(peer.protocol.nbytes_sent for peer in mpc.parties if peer.pid != mpc.pid)


mpc.run(main())
