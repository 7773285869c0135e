"""The cells of one kernel: which wait for a pod, which are with the kernel. Bookkeeping, no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from process_proxies.broker.framing import Message


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

    __slots__ = ("in_flight", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Cell] = deque()
        self.in_flight: dict[str, Cell] = {}

    def __bool__(self) -> bool:
        return bool(self.waiting or self.in_flight)

    def knows(self, msg_id: str) -> bool:
        """Whether a request with this id is on its way: a second one of the same id must not run."""
        return msg_id in self.in_flight or any(cell.msg_id == msg_id for cell in self.waiting)

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
