"""Handing a message to one tab, within what that tab can take.

A tab that reads too slowly loses outputs, with one visible notice, and never a status or a reply; neither the
kernel nor other tabs feel it. A tab behind a stock user server is never given what would break its connection
for good: a message over its size limit, or binary buffers.
"""

from __future__ import annotations

import json
from typing import Protocol

from process_proxies.broker.framing import Message, make

MAX_BACKLOG = 16 * 1024 * 1024
"""Bytes not yet written to a tab, above which its outputs are dropped."""
RESUME_BACKLOG = 1024 * 1024
"""Bytes below which a tab that lost outputs is told so and gets them again."""
MAX_LEGACY = 9 * 1024 * 1024
"""Largest message for a stock user server: its WebSocket client closes at 10 MiB and never tells the notebook."""
PIECE = 1024 * 1024


class Tab(Protocol):
    """One WebSocket, as the broker sees it."""

    session_id: str
    wants_v1: bool
    dropping: bool
    """Whether outputs are being dropped for it; the broker's to keep."""

    def send(self, message: Message) -> None:
        """Hand over a message; never blocks, never raises."""

    def backlog(self) -> int:
        """Bytes handed over and not yet written."""

    def abort(self) -> None:
        """Drop the connection without waiting."""


def deliver(tab: Tab, message: Message, session: str) -> None:
    """Send a message to a tab, or what the tab can take of it."""
    backlog = tab.backlog()
    output = message.channel == "iopub" and message.msg_type != "status"
    if backlog > MAX_BACKLOG and output:
        tab.dropping = True
        return
    if tab.dropping and backlog < RESUME_BACKLOG:
        tab.dropping = False
        text = "[Outputs were dropped here: this page reads more slowly than the kernel writes.]\n"
        tab.send(make("stream", {"name": "stderr", "text": text}, session=session, parent=message.parent_header))
    if tab.wants_v1:
        tab.send(message)
        return
    for part in for_stock_server(message, session):
        tab.send(part)


def for_stock_server(message: Message, session: str) -> list[Message]:
    """A message as one or more that a stock user server survives."""
    if message.buffers:
        message = Message(message.channel, message.header, message.parent_header, message.metadata, message.content)
    if message.size <= MAX_LEGACY:
        return [message]
    if message.msg_type == "stream":
        body = message.body()
        text, name = body["text"], body["name"]
        pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
        return [
            make("stream", {"name": name, "text": piece}, session=session, parent=message.parent_header)
            for piece in pieces
        ]
    notice = (
        f"[An output of {message.size // (1024 * 1024)} MB was left out: the user server takes no message over 10 MB. "
        "With the elastic_frontend extension in its image it does.]"
    )
    if message.msg_type in ("display_data", "execute_result", "update_display_data"):
        body = message.body()
        content = {**body, "data": {"text/plain": notice}}
        return [
            Message(
                message.channel, message.header, message.parent_header, message.metadata, json.dumps(content).encode()
            )
        ]
    return [make("stream", {"name": "stderr", "text": notice + "\n"}, session=session, parent=message.parent_header)]
