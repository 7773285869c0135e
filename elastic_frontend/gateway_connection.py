"""One notebook's connection to the gateway.

The stock connection loses what is sent while the gateway is away, gives up in silence after half a minute, closes
for good on a message over 10 MiB or with binary data, and waits 40 ms for acknowledgements. This one keeps, retries
without end, and speaks the protocol that carries everything.
"""

from __future__ import annotations

import asyncio
import json
import random
from time import monotonic
from typing import Any

from jupyter_server.gateway.connections import GatewayWebSocketConnection
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.utils import url_path_join
from tornado.escape import url_escape
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect
from traitlets import Float, Int, Unicode

from elastic_frontend.outbox import Outbox
from elastic_frontend.protocol import V1, Frame, new_frame, pack_legacy, pack_v1, refusal, unpack_legacy, unpack_v1

MAX_MESSAGE = 512 * 1024 * 1024
"""Largest message either way, in bytes; the gateway takes the same."""


class ElasticGatewayConnection(GatewayWebSocketConnection):
    """Made by jupyter_server for each WebSocket of a browser; ``connect`` and ``disconnect`` are its open and close."""

    kernel_ws_protocol = Unicode(
        None, allow_none=True, config=True, help="Protocol towards the browser; None takes the newest both know."
    )
    max_message_size = Int(MAX_MESSAGE, config=True, help="Largest message of a kernel, in bytes. Default 512 MiB.")
    longest_retry = Float(2.0, config=True, help="Longest pause between two tries to connect, in seconds. Default 2.")
    connect_timeout = Float(5.0, config=True, help="Seconds within which the gateway must accept. Default 5.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._outbox = Outbox()
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """The browser's WebSocket is open: begin to connect to the gateway, and go on until it closes."""
        self.websocket_handler.set_nodelay(True)
        self._task = asyncio.create_task(self._keep_connected())

    def disconnect(self) -> None:
        """The browser's WebSocket closed."""
        self.disconnected = True
        if self.ws is not None:
            self.ws.close()
        if self._task is not None:
            self._task.cancel()

    def _request(self) -> HTTPRequest:
        client = GatewayClient.instance()
        url = url_path_join(client.ws_url or "", client.kernels_endpoint, url_escape(self.kernel_id), "channels")
        arguments = client.load_connection_args()
        arguments["connect_timeout"] = self.connect_timeout
        return HTTPRequest(f"{url}?session_id={url_escape(self.session_id)}", **arguments)

    async def _keep_connected(self) -> None:
        pause, first = 0.1, True
        while not self.disconnected:
            try:
                self.ws = await websocket_connect(
                    self._request(), subprotocols=[V1], max_message_size=self.max_message_size
                )
            except HTTPClientError as error:
                if error.code == 404:
                    self._kernel_is_gone()
                    return
                self.log.info("Kernel %s: the gateway answered %s, trying again", self.kernel_id, error.code)
            except (OSError, TimeoutError) as error:
                self.log.info("Kernel %s: the gateway does not answer (%s), trying again", self.kernel_id, error)
            else:
                pause = 0.1
                self._connected(first=first)
                first = False
                await self._read()
                self.ws = None
            self._refuse_old()
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  # jitter, not a secret
            pause = min(pause * 2, self.longest_retry)

    def _connected(self, *, first: bool) -> None:
        if not first and (unanswered := self._outbox.unanswered):
            content = {"msg_ids": unanswered}
            self._give(pack_v1(new_frame("control", "elastic_pending", content, session=self.session_id)))
        for frame, data in self._outbox.take():
            if self._give(data):
                self._outbox.sent(frame, data)

    async def _read(self) -> None:
        assert isinstance(self.ws, WebSocketClientConnection)
        while (message := await self.ws.read_message()) is not None:
            if isinstance(message, bytes):
                self._from_gateway(message)
        if not self.disconnected:
            self.log.info("Kernel %s: the connection to the gateway was lost, connecting again", self.kernel_id)

    def _from_gateway(self, data: bytes) -> None:
        frame = unpack_v1(data)
        if frame.channel == "shell" and frame.header.get("msg_type") == "execute_reply":
            self._outbox.answered(frame.parent_id)
        elif frame.channel == "control" and frame.header.get("msg_type") == "elastic_resend":
            for again in self._outbox.again(json.loads(frame.parts[3])["msg_ids"]):
                self._give(again)
            return
        self._to_browser(frame, data)

    def _to_browser(self, frame: Frame, data: bytes | None = None) -> None:
        out: str | bytes
        if self.websocket_handler.selected_subprotocol == V1:
            out = data if data is not None else pack_v1(frame)
        else:
            out = pack_legacy(frame)
        try:
            self.websocket_handler.write_message(out, binary=isinstance(out, bytes))
        except WebSocketClosedError:
            return

    def handle_incoming_message(self, message: str | bytes) -> None:
        """A message of the browser: to the gateway, or kept until it is back."""
        try:
            v1 = self.websocket_handler.selected_subprotocol == V1 and isinstance(message, bytes)
            frame = unpack_v1(message) if v1 else unpack_legacy(message)  # type: ignore[arg-type]
        except (ValueError, KeyError, TypeError) as error:
            self.log.warning("Kernel %s: a message of the browser was dropped: %s", self.kernel_id, error)
            return
        data = pack_v1(frame)
        if self.ws is not None and self._give(data):
            self._outbox.sent(frame, data)
        elif not self._outbox.wait(monotonic(), frame):
            self._refuse(frame, "The gateway does not answer, and no more can wait for it. Run the cell again later.")

    def _give(self, data: bytes) -> bool:
        if self.ws is None:
            return False
        try:
            self.ws.write_message(data, binary=True)
        except WebSocketClosedError:
            return False
        return True

    def _refuse_old(self) -> None:
        for frame in self._outbox.too_old(monotonic()):
            self._refuse(frame, "The gateway did not answer for ten minutes; the cell was not run.")

    def _refuse(self, frame: Frame, text: str) -> None:
        if frame.header.get("msg_type") == "execute_request":
            for answer in refusal(frame, text, self.session_id):
                self._to_browser(answer)

    def _kernel_is_gone(self) -> None:
        """The gateway knows this kernel no more: the server forgets it, and the page learns it by asking."""
        self.log.info("Kernel %s is no more", self.kernel_id)
        self.multi_kernel_manager.remove_kernel(self.kernel_id)
        self.websocket_handler.close()
