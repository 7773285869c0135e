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
MAX_REMEMBERED = 1024 * 1024
"""Largest cell, in bytes, that is kept to be sent again."""
MAX_DONE = 1000
"""Answered cells whose second answer is recognised."""


class Outbox:
    """Messages on their way to the gateway."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Frame, bytes]] = deque()
        self._bytes = 0
        self._unanswered: dict[str, tuple[Frame, bytes]] = {}
        self._done: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting or self._unanswered)

    def wait(self, now: float, frame: Frame) -> bool:
        """Keep a message until the gateway is back; False if there is no room."""
        data = pack_v1(frame)
        if len(self._waiting) >= MAX_MESSAGES or self._bytes + len(data) > MAX_BYTES:
            return False
        self._waiting.append((now, frame, data))
        self._bytes += len(data)
        return True

    def first(self) -> tuple[Frame, bytes] | None:
        """The message that has waited longest; it stays until ``drop_first``."""
        return self._waiting[0][1:] if self._waiting else None

    def drop_first(self) -> None:
        """That message was sent, or is refused."""
        self._bytes -= len(self._waiting.popleft()[2])

    def too_old(self, now: float, longest: float) -> list[Frame]:
        """Take out what has waited longer than so many seconds."""
        old: list[Frame] = []
        while self._waiting and now - self._waiting[0][0] > longest:
            old.append(self._waiting[0][1])
            self.drop_first()
        return old

    def sent(self, frame: Frame, data: bytes) -> None:
        """Remember a cell that was given to the gateway."""
        header = frame.header
        if header.get("msg_type") == "execute_request":
            head = Frame(frame.channel, frame.parts[:1])
            self._unanswered[str(header.get("msg_id"))] = (head, data if len(data) <= MAX_REMEMBERED else b"")

    def answered(self, msg_id: str) -> bool:
        """A cell's reply has come; False if it is the second."""
        self._unanswered.pop(msg_id, None)
        if msg_id in self._done:
            return False
        self._done[msg_id] = None
        if len(self._done) > MAX_DONE:
            del self._done[next(iter(self._done))]
        return True

    def is_done(self, msg_id: str) -> bool:
        """Whether a cell's reply has come."""
        return msg_id in self._done

    def forget_done(self) -> None:
        """Another page took over: replies that the earlier one may have missed are welcome again."""
        self._done.clear()

    @property
    def unanswered(self) -> list[str]:
        """Cells whose reply has not come."""
        return list(self._unanswered)

    def again(self, msg_ids: list[str]) -> list[bytes]:
        """Those of these cells that are still unanswered and were kept."""
        return [data for msg_id in msg_ids if (data := self._unanswered.get(msg_id, (None, b""))[1])]

    def not_kept(self, msg_ids: list[str]) -> list[Frame]:
        """Those of these cells that are still unanswered and were too large to keep."""
        found = [self._unanswered.get(msg_id) for msg_id in msg_ids]
        return [kept[0] for kept in found if kept is not None and not kept[1]]

    def give_up(self) -> list[Frame]:
        """All that waits or is unanswered, in order; nothing is left."""
        frames = [kept[0] for kept in self._unanswered.values()] + [frame for _, frame, _ in self._waiting]
        self._unanswered.clear()
        self._waiting.clear()
        self._bytes = 0
        return frames
