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
from tornado import web
from tornado.escape import url_escape
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketError, websocket_connect
from traitlets import Float, Int, Unicode

from elastic_frontend.browser import Browser
from elastic_frontend.managers import ElasticMappingKernelManager
from elastic_frontend.outbox import Outbox
from elastic_frontend.protocol import V1, Frame, new_frame, pack_legacy, pack_v1, refusal, unpack_legacy, unpack_v1

MAX_MESSAGE = 512 * 1024 * 1024
"""Largest message either way, in bytes; the gateway takes the same."""
PENDING_LIMIT = 2.0
"""Seconds that the gateway has to say which cells it never had; until then later ones are held back."""
NO_ROOM = "The gateway does not answer, and no more can wait for it. Run the cell again later."
TOO_OLD = "The gateway did not answer for %.0f s; the cell was not run. Run it again later."
TOO_LARGE = "The connection to the gateway was lost while this cell was sent. It was not run; run it again."
GONE = "The kernel was removed at the gateway before this cell was answered; the cell may have run."


class ElasticGatewayConnection(GatewayWebSocketConnection):
    """Made by jupyter_server for each WebSocket of a browser; ``connect`` and ``disconnect`` are its open and close."""

    kernel_ws_protocol = Unicode(
        None, allow_none=True, config=True, help="Protocol towards the browser; None takes the newest both know."
    )
    max_message_size = Int(MAX_MESSAGE, config=True, help="Largest message of a kernel, in bytes. Default 512 MiB.")
    max_backlog = Int(
        128 * 1024 * 1024,
        config=True,
        help="Bytes that may wait for a page that reads slowly; beyond them outputs are left out. Default 128 MiB.",
    )
    longest_retry = Float(2.0, config=True, help="Longest pause between two tries to connect, in seconds. Default 2.")
    connect_timeout = Float(5.0, config=True, help="Seconds within which the gateway must accept. Default 5.")
    longest_wait = Float(
        600.0, config=True, help="Seconds for which a cell may wait for the gateway before it is refused. Default 600."
    )
    ping_interval = Float(
        30.0, config=True, help="Seconds between two pings, which find out that a gateway is gone. Default 30."
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._outbox = Outbox()
        self._browser = Browser(self.websocket_handler, self.max_backlog)
        self._task: asyncio.Task[None] | None = None
        self._held: asyncio.TimerHandle | None = None

    # --- jupyter_server's side -------------------------------------------------------------------

    async def connect(self) -> None:
        """The browser's WebSocket is open: begin to connect to the gateway, and go on until it closes."""
        self.websocket_handler.set_nodelay(True)
        if isinstance(self.multi_kernel_manager, ElasticMappingKernelManager):
            self._outbox = self.multi_kernel_manager.parking.take(self.kernel_id, self.session_id)
        self._task = asyncio.create_task(self._keep_connected())

    def disconnect(self) -> None:
        """The browser's WebSocket closed."""
        self.disconnected = True
        self._end_hold()
        if self._task is not None:
            self._task.cancel()
        if self.ws is not None:
            self.ws.close()
        if isinstance(self.multi_kernel_manager, ElasticMappingKernelManager):
            self.multi_kernel_manager.parking.park(self.kernel_id, self.session_id, self._outbox)

    def handle_incoming_message(self, message: str | bytes) -> None:
        """A message of the browser: to the gateway, or kept until it is back."""
        try:
            v1 = self._browser.speaks_v1 and isinstance(message, bytes)
            frame = unpack_v1(message) if v1 else unpack_legacy(message)  # type: ignore[arg-type]
            data = pack_v1(frame)
            frame.header["msg_type"]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self.log.warning("Kernel %s: a message of the browser was dropped: %r", self.kernel_id, error)
            return
        if self._held is None and self._give(data):
            self._outbox.sent(frame, data)
        elif not self._outbox.wait(monotonic(), frame):
            self._refuse([frame], NO_ROOM)

    # --- the gateway's side ----------------------------------------------------------------------

    def _request(self) -> HTTPRequest:
        client = GatewayClient.instance()
        url = url_path_join(client.ws_url or "", client.kernels_endpoint, url_escape(self.kernel_id), "channels")
        arguments = client.load_connection_args()
        # For a WebSocket the second is the time until it is accepted, not its life.
        arguments |= {"connect_timeout": self.connect_timeout, "request_timeout": self.connect_timeout}
        return HTTPRequest(f"{url}?session_id={url_escape(self.session_id)}", **arguments)

    async def _open(self) -> WebSocketClientConnection:
        opening = websocket_connect(
            self._request(),
            subprotocols=[V1],
            max_message_size=self.max_message_size,
            ping_interval=self.ping_interval,
        )
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # tornado goes on connecting; without this the WebSocket would stay open with nobody to read it
            opening.add_done_callback(_close_when_open)
            raise
        assert isinstance(opened, WebSocketClientConnection)
        if opened.protocol is not None and opened.protocol.stream is not None:
            stream = opened.protocol.stream
            stream.max_buffer_size = max(stream.max_buffer_size, self.max_message_size + stream.read_chunk_size)
        return opened

    async def _keep_connected(self) -> None:
        pause = 0.1
        while not self.disconnected:
            try:
                self.ws = await self._open()
            except HTTPClientError as error:
                if error.code == 404 and await self._is_gone():
                    self._kernel_is_gone()
                    return
                self.log.info("Kernel %s: the gateway answered %s, trying again", self.kernel_id, error.code)
            except (OSError, TimeoutError, WebSocketError, ValueError) as error:
                self.log.info("Kernel %s: the gateway does not answer (%r), trying again", self.kernel_id, error)
            else:
                since = monotonic()
                self._connected()
                await self._read()
                self._end_hold()
                self.ws = None
                # A gateway that accepts and closes at once is asked as seldom as one that refuses.
                pause = 0.1 if monotonic() - since > self.longest_retry else pause
            self._refuse(self._outbox.too_old(monotonic(), self.longest_wait), TOO_OLD % self.longest_wait)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
            pause = min(pause * 2, self.longest_retry)

    def _connected(self) -> None:
        """Ask about the cells without a reply, if there are any; what waits goes after the answer, so in order."""
        if unanswered := self._outbox.unanswered:
            content = {"msg_ids": unanswered}
            self._give(pack_v1(new_frame("control", "elastic_pending", content, session=self.session_id)))
            self._held = asyncio.get_running_loop().call_later(PENDING_LIMIT, self._flush)
        else:
            self._flush()

    def _end_hold(self) -> None:
        if self._held is not None:
            self._held.cancel()
            self._held = None

    def _flush(self) -> None:
        self._end_hold()
        while (waiting := self._outbox.first()) is not None and self._give(waiting[1]):
            self._outbox.sent(*waiting)
            self._outbox.drop_first()

    async def _read(self) -> None:
        assert isinstance(self.ws, WebSocketClientConnection)
        while (message := await self.ws.read_message()) is not None:
            try:
                self._from_gateway(message)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                self.log.warning("Kernel %s: a message of the gateway was dropped: %r", self.kernel_id, error)
        if not self.disconnected:
            self.log.info("Kernel %s: the connection to the gateway was lost, connecting again", self.kernel_id)

    def _from_gateway(self, message: str | bytes) -> None:
        # A gateway that is not ours may know only the older protocol.
        v1 = isinstance(message, bytes) and self._v1_at_gateway()
        frame = unpack_v1(message) if v1 else unpack_legacy(message)  # type: ignore[arg-type]
        kind = frame.header.get("msg_type")
        if kind == "elastic_resend":
            self._resend([str(i) for i in json.loads(frame.parts[3])["msg_ids"]])
            return
        if kind == "execute_reply" and frame.channel == "shell":
            if not self._outbox.answered(frame.parent_id):
                return
        elif kind == "error" and self._outbox.is_done(frame.parent_id) and _is_guess(frame):
            return
        self._browser.send(frame, message if v1 else None)  # type: ignore[arg-type]

    def _resend(self, msg_ids: list[str]) -> None:
        for data in self._outbox.again(msg_ids):
            self._give(data)
        self._refuse(self._outbox.not_kept(msg_ids), TOO_LARGE)
        self._flush()

    def _v1_at_gateway(self) -> bool:
        protocol = getattr(self.ws, "protocol", None)
        return protocol is not None and protocol.selected_subprotocol == V1

    def _give(self, data: bytes) -> bool:
        """Write to the gateway; False if that is surely in vain."""
        ws = self.ws
        if ws is None or ws.protocol is None or ws.protocol.is_closing():
            return False
        try:
            if self._v1_at_gateway():
                written = ws.write_message(data, binary=True)
            else:
                legacy = pack_legacy(unpack_v1(data))
                written = ws.write_message(legacy, binary=isinstance(legacy, bytes))
        except WebSocketClosedError:
            return False
        written.add_done_callback(_ignore_failure)
        return True

    # --- ends ------------------------------------------------------------------------------------

    def _refuse(self, frames: list[Frame], text: str) -> None:
        """End cells that are not sent, so that none waits for ever."""
        for frame in frames:
            if frame.header.get("msg_type") == "execute_request":
                self._outbox.answered(str(frame.header.get("msg_id")))
                for answer in refusal(frame, text, self.session_id):
                    self._browser.send(answer)

    async def _is_gone(self) -> bool:
        """Whether the gateway itself says that the kernel is no more; a 404 may be a proxy's."""
        if not isinstance(self.multi_kernel_manager, ElasticMappingKernelManager):
            return True
        try:
            return not await self.multi_kernel_manager.find(self.kernel_id)
        except web.HTTPError:
            return False

    def _kernel_is_gone(self) -> None:
        """The gateway knows this kernel no more: the server forgets it, and the page learns it by asking."""
        self.log.info("Kernel %s is no more", self.kernel_id)
        self._refuse(self._outbox.give_up(), GONE)
        self.multi_kernel_manager.remove_kernel(self.kernel_id)
        self._browser.close()


def _is_guess(frame: Frame) -> bool:
    """Whether an error is the gateway's "its reply is lost", which a reply that came meanwhile makes pointless."""
    return json.loads(frame.parts[3]).get("ename") in ("GatewayRestarted", "ReplyLost")


def _ignore_failure(future: asyncio.Future[None]) -> None:
    """A write that fails ends the connection, which is noticed there."""
    if not future.cancelled():
        future.exception()


def _close_when_open(opening: asyncio.Future[WebSocketClientConnection]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
