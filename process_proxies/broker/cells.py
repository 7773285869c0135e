"""The cells of one kernel: which wait for a pod, which are with the kernel. Bookkeeping, no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from process_proxies.broker.framing import Message

MAX_TAKEN = 512
"""Ids of requests that are remembered after their end."""


@dataclass(slots=True)
class Cell:
    """One execute request on its way to its one reply."""

    request: Message
    session: str
    execution_count: int = 0
    """What the kernel numbered it, 0 until it began."""

    @property
    def msg_id(self) -> str:
        """The request's id."""
        return self.request.msg_id


class Cells:
    """Waiting cells in order, and those in flight by id. Only a reply ends a cell in flight."""

    __slots__ = ("_taken", "in_flight", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Cell] = deque()
        self.in_flight: dict[str, Cell] = {}
        self._taken: dict[str, None] | None = None

    def __bool__(self) -> bool:
        return bool(self.waiting or self.in_flight)

    def knows(self, msg_id: str) -> bool:
        """Whether a request with this id is on its way: a second one of the same id must not run."""
        return msg_id in self.in_flight or any(cell.msg_id == msg_id for cell in self.waiting)

    def take(self, msg_id: str) -> None:
        """Note that a request was taken, whatever becomes of it. A kernel that never ran keeps no list."""
        if self._taken is None:
            self._taken = {}
        self._taken[msg_id] = None
        if len(self._taken) > MAX_TAKEN:
            del self._taken[next(iter(self._taken))]

    def was_taken(self, msg_id: str) -> bool:
        """Whether a request with this id was taken before: it must not run a second time."""
        return self._taken is not None and msg_id in self._taken

    def of(self, session: str) -> bool:
        """Whether a session waits for anything."""
        return any(c.session == session for c in (*self.waiting, *self.in_flight.values()))

    def take_waiting(self) -> list[Cell]:
        """All waiting cells, which wait no longer."""
        cells = list(self.waiting)
        self.waiting.clear()
        return cells

    def take_in_flight(self) -> list[Cell]:
        """All cells in flight, in the order of their sending; they are forgotten."""
        cells = list(self.in_flight.values())
        self.in_flight.clear()
        return cells
