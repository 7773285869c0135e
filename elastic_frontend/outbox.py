"""What a notebook has sent and the gateway has not answered. Bookkeeping, no I/O.

While the gateway is away messages wait here, within bounds in number, bytes and age. Cells that were sent are
remembered until their reply comes: after a reconnect the gateway is told of them, and is given none a second time
unless it says that it surely never had it.
"""

from __future__ import annotations

from collections import deque

from elastic_frontend.protocol import Frame, pack_v1

MAX_MESSAGES = 1000
MAX_BYTES = 64 * 1024 * 1024
MAX_AGE = 600.0
"""Seconds for which a message may wait for the gateway."""
MAX_REMEMBERED = 1024 * 1024
"""Largest cell, in bytes, that is kept to be sent again."""


class Outbox:
    """Messages on their way to the gateway."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Frame, bytes]] = deque()
        self._bytes = 0
        self._unanswered: dict[str, bytes] = {}

    def wait(self, now: float, frame: Frame) -> bool:
        """Keep a message until the gateway is back; False if there is no room."""
        data = pack_v1(frame)
        if len(self._waiting) >= MAX_MESSAGES or self._bytes + len(data) > MAX_BYTES:
            return False
        self._waiting.append((now, frame, data))
        self._bytes += len(data)
        return True

    def take(self) -> list[tuple[Frame, bytes]]:
        """All that waited, in order."""
        taken = [(frame, data) for _, frame, data in self._waiting]
        self._waiting.clear()
        self._bytes = 0
        return taken

    def too_old(self, now: float) -> list[Frame]:
        """Take out what has waited too long."""
        old: list[Frame] = []
        while self._waiting and now - self._waiting[0][0] > MAX_AGE:
            _, frame, data = self._waiting.popleft()
            self._bytes -= len(data)
            old.append(frame)
        return old

    def sent(self, frame: Frame, data: bytes) -> None:
        """Remember a cell that was given to the gateway."""
        header = frame.header
        if header.get("msg_type") == "execute_request":
            self._unanswered[str(header.get("msg_id"))] = data if len(data) <= MAX_REMEMBERED else b""

    def answered(self, msg_id: str) -> None:
        """A cell's reply has come."""
        self._unanswered.pop(msg_id, None)

    @property
    def unanswered(self) -> list[str]:
        """Cells whose reply has not come."""
        return list(self._unanswered)

    def again(self, msg_ids: list[str]) -> list[bytes]:
        """Those of these cells that are still unanswered and were kept."""
        return [data for msg_id in msg_ids if (data := self._unanswered.get(msg_id))]
