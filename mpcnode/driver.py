"""The driver: coroutines to rounds.

It lets every coroutine of a program run to its next gate, joins all pending gates, does one exchange, and resumes
them: the cost of a program is the depth of its deepest statement, not the sum. The order of gates is the same at
all parties because the program and all shapes are public.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

from mpcnode.protocols.gates import merge_small
from mpcnode.session import Gather, Op, Session

T = TypeVar("T")


class _Task:
    """A coroutine at its current await."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], parent: _Task | None, slot: int) -> None:
        self.coroutine = coroutine
        self.parent = parent
        self.slot = slot
        self.value: Any = None
        self.waiting = 0
        self.results: list[Any] = []


def run(session: Session, program: Coroutine[Any, Any, T]) -> T:
    """Drive a program to its end; returns its result.

    Raises whatever the program raises, and ProtocolAbort as soon as this party sees a deviation.
    """
    ready: deque[_Task] = deque([_Task(program, None, 0)])
    try:
        return _rounds(session, ready)  # type: ignore[no-any-return]
    finally:
        for task in ready:  # left by an error, some not even begun
            task.coroutine.close()


def _rounds(session: Session, ready: deque[_Task]) -> Any:
    while True:
        pending: list[tuple[_Task, Op]] = []
        while ready:
            task = ready.popleft()
            try:
                awaited = task.coroutine.send(task.value)
            except StopIteration as stop:
                if task.parent is None:
                    return stop.value
                parent = task.parent
                parent.results[task.slot] = stop.value
                parent.waiting -= 1
                if not parent.waiting:
                    parent.value, parent.results = parent.results, []
                    ready.append(parent)
                continue
            task.value = None
            if isinstance(awaited, Gather):
                children = awaited.children
                task.results = [None] * len(children)
                task.waiting = len(children)
                task.value = []
                ready.extend(_Task(child, task, slot) for slot, child in enumerate(children))
                if not children:
                    ready.append(task)
            else:
                pending.append((task, awaited))
        ops, deliver = merge_small(session, [op for _, op in pending])
        results = deliver(session.exchange(ops))
        for (task, _), result in zip(pending, results, strict=True):
            task.value = result
            ready.append(task)
