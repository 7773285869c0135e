"""A notebook's WebSocket, connected straight to its kernel's broker.

The stock handler waits for a running kernel before it accepts, opens four sockets for each tab, and hangs when
two connections bear one session, as JupyterLab's do at each open behind a stock user server. None of it is reached.
"""

from __future__ import annotations

import logging
from typing import Any

from enterprise_gateway.services.kernels.handlers import ZMQChannelsHandler
from jupyter_server.base.zmqhandlers import WebSocketMixin
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from process_proxies.broker.broker import Broker
from process_proxies.broker.framing import (
    BadMessageError,
    Message,
    decode_legacy,
    decode_v1,
    encode_legacy,
    encode_v1,
)
from process_proxies.gateway.handlers import IdentityMixin

log = logging.getLogger(__name__)

V1 = "v1.kernel.websocket.jupyter.org"


class ChannelsHandler(IdentityMixin, ZMQChannelsHandler):  # type: ignore[misc]
    """``/api/kernels/<id>/channels``; it is the broker's Tab."""

    session_id: str
    wants_v1 = False
    dropping = False
    _broker: Broker | None = None

    def initialize(self) -> None:
        """The stock one makes a Session and futures for ZMQ streams."""

    def check_xsrf_cookie(self) -> None:
        """Callers bring a token in a header."""

    async def get(self, kernel_id: str) -> None:
        """Accept, or answer 403, 404 or 503 before the upgrade."""
        self._broker = self.owned(kernel_id)
        self.kernel_id = kernel_id
        self.session_id = self.get_argument("session_id", "")
        if not self.session_id:
            raise web.HTTPError(400, "session_id is missing.")
        await WebSocketHandler.get(self)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """The newer framing if the client knows it."""
        self.wants_v1 = V1 in subprotocols
        return V1 if self.wants_v1 else None

    def get_compression_options(self) -> None:
        """None: both ends are in one cluster."""

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Attach to the broker."""
        self.set_nodelay(True)  # else the second of two small writes waits 40 ms for the client's acknowledgement
        WebSocketMixin.open(self, *args, **kwargs)
        if self._broker is not None:
            self._broker.attach(self)

    def on_message(self, data: str | bytes) -> None:
        """Hand a message to the broker."""
        if self._broker is None:
            return
        try:
            message = decode_v1(data) if self.wants_v1 and isinstance(data, bytes) else decode_legacy(data)
        except BadMessageError as error:
            log.warning("Kernel %s: a frame was dropped: %s", self.kernel_id, error)
            return
        self._broker.receive(self, message)

    def on_close(self) -> None:
        """Detach."""
        if self._broker is not None:
            self._broker.detach(self)
            self._broker = None

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """tornado's own: the stock one takes no code and waits for a future of streams that are not there."""
        WebSocketHandler.close(self, code, reason)

    # --- the broker's Tab ------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Queue a message for writing."""
        data = encode_v1(message) if self.wants_v1 else encode_legacy(message)
        try:
            self.write_message(data, binary=self.wants_v1).add_done_callback(_noted)
        except WebSocketClosedError:
            return

    def backlog(self) -> int:
        """Bytes that the peer has not taken. tornado tells it nowhere in public, and has no buffer once closed."""
        stream = getattr(self.ws_connection, "stream", None)
        buffer = getattr(stream, "_write_buffer", None)
        return len(buffer) if buffer is not None else 0

    def abort(self) -> None:
        """Drop the connection at once."""
        if self.ws_connection is not None:
            self.ws_connection._abort()


def _noted(future: Any) -> None:
    """A write that failed because the peer is gone is no news: on_close says so."""
    if not future.cancelled():
        future.exception()
