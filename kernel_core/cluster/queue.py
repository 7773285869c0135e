"""Work by key: what was asked for twice is done once, and no key is worked on twice at the same time.

A key may be due at once or later; an earlier time replaces a later one. There is one timer for all keys, so a
parked key costs nothing. A key whose work fails comes again after a pause that doubles up to a cap.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

FIRST_RETRY = 0.5
LONGEST_RETRY = 15.0
"""Seconds between two tries of a key whose work fails."""


class Queue:
    """Calls ``work(key)`` for each key that is due."""

    def __init__(self, work: Callable[[str], Awaitable[None]], *, workers: int = 32) -> None:
        self._work = work
        self._limit = asyncio.Semaphore(workers)
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop_task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work."""
        self._loop_task = asyncio.create_task(self._run(), name="kernel queue")

    async def stop(self) -> None:
        """Stop, cancelling what is under way."""
        tasks = [task for task in (self._loop_task, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop_task = None

    def add(self, key: str, delay: float = 0.0) -> None:
        """Have a key worked on in ``delay`` seconds, or earlier if that was asked for already."""
        if delay <= 0 and key in self._busy:
            self._again.add(key)
            return
        due = asyncio.get_running_loop().time() + max(0.0, delay)
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        if len(self._heap) > 2 * len(self._due) + 64:
            # Entries that an earlier one replaced: a kernel in use leaves one with every look at it.
            self._heap = [(at, name) for name, at in self._due.items()]
            heapq.heapify(self._heap)
        self._wake.set()

    @property
    def waiting(self) -> int:
        """How many entries it holds, replaced ones included."""
        return len(self._heap)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            while self._heap and self._heap[0][0] <= loop.time():
                due, key = heapq.heappop(self._heap)
                if self._due.get(key) != due:
                    continue  # an earlier entry of this key was worked on
                del self._due[key]
                if key in self._busy:
                    self._again.add(key)
                    continue
                self._busy.add(key)
                task = asyncio.create_task(self._one(key))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            pause = self._heap[0][0] - loop.time() if self._heap else None
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _one(self, key: str) -> None:
        retry: float | None = None
        try:
            async with self._limit:
                await self._work(key)
            self._failures.pop(key, None)
        except Exception as error:  # one key's fault must not end the work on all others; it is logged and tried again
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            retry = min(FIRST_RETRY * 2 ** (failures - 1), LONGEST_RETRY)
            log.warning(
                "Kernel %s: %s; trying again in %.1f s", key, error, retry, exc_info=log.isEnabledFor(logging.DEBUG)
            )
        finally:
            self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif retry is not None:
            self.add(key, retry)
