"""The browser's end of a notebook's connection: never blocks, never grows without bound."""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.websocket import WebSocketClosedError

from elastic_frontend.protocol import V1, Frame, new_frame, pack_legacy, pack_v1

DROPPABLE = frozenset({"stream", "display_data", "update_display_data", "execute_result", "comm_msg"})
"""What a slow page may miss; replies, statuses and errors it may not."""
NOTICE = "Output was left out here: this page reads more slowly than the kernel writes.\n"


class Browser:
    """One page. What it has not read yet is counted; beyond a bound its outputs are left out, which one line says."""

    def __init__(self, handler: Any, max_backlog: int) -> None:
        self._handler = handler
        self._max_backlog = max_backlog
        self._dropping = False
        self.backlog = 0

    @property
    def speaks_v1(self) -> bool:
        """Whether the page takes the newer framing."""
        return bool(self._handler.selected_subprotocol == V1)

    def send(self, frame: Frame, data: bytes | None = None) -> None:
        """Give a message to the page, or leave it out if too much waits for it already."""
        if self.backlog > self._max_backlog and frame.channel == "iopub":
            if frame.header.get("msg_type") in DROPPABLE:
                if not self._dropping:
                    self._dropping = True
                    content = {"name": "stderr", "text": NOTICE}
                    self._write(new_frame("iopub", "stream", content, session="", parent=frame.parts[1]))
                return
        elif self.backlog == 0:
            self._dropping = False
        self._write(frame, data)

    def _write(self, frame: Frame, data: bytes | None = None) -> None:
        out = (data or pack_v1(frame)) if self.speaks_v1 else pack_legacy(frame)
        try:
            written = self._handler.write_message(out, binary=isinstance(out, bytes))
        except WebSocketClosedError:
            return
        size = len(out)
        self.backlog += size
        written.add_done_callback(lambda future: self._written(future, size))

    def _written(self, future: asyncio.Future[None], size: int) -> None:
        self.backlog -= size
        if not future.cancelled():
            future.exception()  # a page that closed meanwhile is no fault

    def close(self) -> None:
        """Close the page's WebSocket."""
        self._handler.close()
