"""What a session would have seen while its WebSocket was away.

A two-second reconnect must not leave a cell ``[*]`` for ever. A ring is opened only for a session that has cells
in flight, lives for a minute, and is bounded in bytes: when it is full the oldest outputs go, never a reply or
a status.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from process_proxies.broker.framing import Message

LIFETIME = 60.0
"""Seconds for which a session that went away is kept."""
MAX_BYTES = 32 * 1024 * 1024
RECENT = 3.0
"""Seconds of replies and idles that may have died in the pipe just before the cut."""
MAX_RECENT = 64


def is_essential(message: Message) -> bool:
    """Whether a cell would hang without it."""
    return message.channel != "iopub" or message.msg_type in ("status", "clear_output")


@dataclass(slots=True)
class Ring:
    """Messages kept for one session."""

    opened: float
    messages: deque[Message] = field(default_factory=deque)
    size: int = 0
    dropped: bool = False

    def keep(self, message: Message) -> None:
        """Keep a message, dropping the oldest outputs beyond the bound."""
        self.messages.append(message)
        self.size += message.size
        while self.size > MAX_BYTES:
            victim = next((m for m in self.messages if not is_essential(m)), None)
            if victim is None:
                return
            self.messages.remove(victim)
            self.size -= victim.size
            self.dropped = True

    def expired(self, now: float) -> bool:
        """Whether nobody came back in time."""
        return now - self.opened > LIFETIME


class Recent:
    """The replies and idles of the last seconds, by session. Sending these twice does no harm; outputs twice would."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: deque[tuple[float, str, Message]] = deque(maxlen=MAX_RECENT)

    def note(self, now: float, session: str, message: Message) -> None:
        """Remember one."""
        self._items.append((now, session, message))

    def of(self, now: float, session: str) -> list[Message]:
        """Those of a session."""
        return [message for at, whose, message in self._items if whose == session and now - at <= RECENT]
