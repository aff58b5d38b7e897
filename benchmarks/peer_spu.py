"""One party of SPU (ABY3, semi-honest, three parties), run by benchmarks/peers.py in SPU's own environment.

    python peer_spu.py PARTY WORKLOAD ROWS REPEAT PORT PORT PORT

W1: sum, count and sum of squares of a value in five groups given by masks. W3: how many values lie below a public
threshold. Inputs are shared before the clock starts; opening the answer is inside it. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import sys
import time
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import spu
from spu import libspu
from spu.utils import frontend

jax.config.update("jax_enable_x64", True)
PARTIES = 3
GROUPS = 5
THRESHOLD = 2_000_000_000


def inputs(workload: str, rows: int) -> tuple[Any, list[Any]]:
    """The function to compute, and its clear arguments."""
    rng = np.random.default_rng(1)
    if workload == "W1":
        value = rng.integers(0, 100, rows)
        masks = np.eye(GROUPS, dtype=np.int64)[rng.integers(0, GROUPS, rows)]
        return lambda v, m: jnp.concatenate([v @ m, jnp.sum(m, axis=0), (v * v) @ m]), [value, masks]
    return lambda v: jnp.sum(v < THRESHOLD), [rng.integers(0, 2**32, rows)]


def on_loopback() -> int:
    """Bytes that were sent over the loopback device of this network namespace."""
    line = next(text for text in Path("/proc/net/dev").read_text().splitlines() if "lo:" in text)
    return int(line.split(":")[1].split()[8])


def share_in(link: Any, runtime: Any, io: Any, name: str, array: Any) -> None:
    """Party 0 cuts an array and gives every party its part."""
    if link.rank == 0:
        parts = io.make_shares(array, libspu.Visibility.VIS_SECRET)
        for to in range(1, PARTIES):
            chunks = [bytes(chunk) for chunk in parts[to].share_chunks]
            link.send(to, pickle.dumps((parts[to].meta, len(chunks))))
            for chunk in chunks:
                link.send(to, chunk)
        mine = parts[0]
    else:
        mine = libspu.Share()
        mine.meta, count = pickle.loads(link.recv(0))  # noqa: S301 - our own party 0
        mine.share_chunks = [link.recv(0) for _ in range(count)]
    runtime.set_var(name, mine)


def opened(link: Any, runtime: Any, io: Any, name: str) -> Any:
    """The clear value of a variable, at every party."""
    own = runtime.get_var(name)
    told = link.all_gather(pickle.dumps((own.meta, [bytes(c) for c in own.share_chunks])).hex())
    shares = []
    for text in told:
        share = libspu.Share()
        share.meta, share.share_chunks = pickle.loads(bytes.fromhex(text))  # noqa: S301 - our own parties
        shares.append(share)
    return io.reconstruct(shares)


def main() -> None:
    party, workload, rows, repeat = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    description = libspu.link.Desc()
    description.recv_timeout_ms = 300_000
    for number, port in enumerate(sys.argv[5:]):
        description.add_party(f"party{number}", f"127.0.0.1:{port}")
    link = libspu.link.create_brpc(description, party)
    config = libspu.RuntimeConfig(
        protocol=libspu.ProtocolKind.ABY3, field=libspu.FieldType.FM64, fxp_fraction_bits=18
    )
    runtime, io = spu.Runtime(link, config), spu.Io(PARTIES, config)
    function, arguments = inputs(workload, rows)
    names = [f"input{k}" for k in range(len(arguments))]
    for name, array in zip(names, arguments, strict=True):
        share_in(link, runtime, io, name, array)
    secret = [libspu.Visibility.VIS_SECRET] * len(names)
    program, _ = frontend.compile(
        frontend.Kind.JAX,
        function,
        arguments,
        {},
        names,
        secret,
        lambda out: [f"output{k}" for k in range(len(out))],
    )
    walls, sent, right = [], 0, True
    want = np.asarray(function(*arguments)).reshape(-1)
    for _ in range(repeat):
        link.barrier()
        before, begun = on_loopback(), time.perf_counter()
        runtime.run(program)
        got = [opened(link, runtime, io, name) for name in program.output_names]
        walls.append(time.perf_counter() - begun)
        link.barrier()
        sent = on_loopback() - before
        right &= np.array_equal(np.concatenate([np.asarray(g).reshape(-1) for g in got]), want)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        json.dumps({"walls": walls, "sent": sent / PARTIES, "memory": memory, "right": bool(right)}),
        flush=True,
    )
    link.stop_link()


main()
