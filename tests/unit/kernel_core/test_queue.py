"""Work by key: each once, never twice at a time, again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kernel_core.cluster.queue import Queue
from tests.support.waiting import eventually


class Work:
    """Records what it is called for; ``during`` runs inside each call."""

    def __init__(self, during: Callable[[str], Awaitable[None]] | None = None) -> None:
        self.calls: list[str] = []
        self.now: set[str] = set()
        self._during = during

    async def __call__(self, key: str) -> None:
        """One call."""
        assert key not in self.now, "never twice at the same time"
        self.now.add(key)
        self.calls.append(key)
        try:
            if self._during is not None:
                await self._during(key)
        finally:
            self.now.discard(key)


async def until(work: Work, *calls: str) -> None:
    """Wait for these calls."""

    async def look() -> bool:
        return work.calls == list(calls)

    await eventually(look, within=3, what=f"{calls}, not {work.calls}", every=0.01)


async def test_what_is_asked_for_twice_is_done_once() -> None:
    """Nobody has begun, so one look sees both changes."""
    work = Work()
    queue = Queue(work)
    queue.add("a")
    queue.add("a")
    queue.add("a", 0.01)
    queue.start()
    await asyncio.sleep(0.05)
    await queue.stop()
    assert work.calls == ["a"]


async def test_what_is_asked_for_during_the_work_is_done_afterwards() -> None:
    """It may have come too late for this look; the keys of others are not held up."""
    go = asyncio.Event()

    async def wait_for_a(key: str) -> None:
        if key == "a":
            await go.wait()

    work = Work(wait_for_a)
    queue = Queue(work)
    queue.start()
    queue.add("a")
    await until(work, "a")
    queue.add("a")
    queue.add("b")
    await until(work, "a", "b")
    go.set()
    await until(work, "a", "b", "a")
    await queue.stop()


async def test_an_earlier_time_replaces_a_later_one_and_not_the_reverse() -> None:
    """One timer for all keys."""
    work = Work()
    queue = Queue(work)
    queue.start()
    queue.add("a", 60)
    queue.add("a", 0.02)
    queue.add("a", 60)
    await until(work, "a")
    await queue.stop()


async def test_work_that_fails_comes_again_by_itself_and_others_go_on() -> None:
    """After a pause."""
    failures = iter([True])

    async def fail_once(key: str) -> None:
        if key == "bad" and next(failures, False):
            raise OSError("no")

    work = Work(fail_once)
    queue = Queue(work)
    queue.start()
    queue.add("bad")
    queue.add("good")
    await until(work, "bad", "good", "bad")
    await queue.stop()


async def test_a_key_that_is_looked_at_again_and_again_leaves_nothing_behind() -> None:
    """Each look of a kernel in use plans the next one for when it will have idled."""
    queue = Queue(Work())
    queue.start()
    for round_ in range(2000):
        queue.add("busy", 1000 + round_)
        queue.add("busy", 0)
        await asyncio.sleep(0)
    assert queue.waiting <= 200
    await queue.stop()
