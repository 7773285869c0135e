"""The back side: sockets to one incarnation's kernel, and the proof that it is that kernel.

Addresses of pods are given out again, and a ZMQ DEALER would reconnect to whoever holds one for ever. So no socket
here reconnects: a broken connection ends the sockets, new ones are made, and after each connect nothing of a
user's is sent until a reply signed with this incarnation's key has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from datetime import timedelta
from typing import Protocol

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from kernel_core.manifests import ConnectionInfo
from process_proxies.broker.framing import BadMessageError, Message, Signer, make

log = logging.getLogger(__name__)

LISTEN_INTERVAL = 0.02
"""Seconds between two looks whether the kernel listens yet."""
PROBE_INTERVAL = 0.1
"""Seconds between two probes of a kernel that listens and has not answered."""
SEND_LIMIT = 2000
"""Milliseconds a send may wait for a peer that takes nothing."""
OWN_SESSION = "elastic-broker"
"""Session of the broker's own requests; what answers them is not for any tab."""
_OWN = b'"' + OWN_SESSION.encode() + b'"'


class BackListener(Protocol):
    """The broker, as its back side sees it."""

    def proven(self, kernel_info: bytes | None) -> None:
        """The kernel has proved itself; the content of its kernel_info_reply if it came on shell."""

    def shell_answered(self) -> None:
        """The shell has worked off all that was sent before."""

    def broken(self) -> None:
        """The connection broke; nothing can be sent until the next proof."""

    def from_kernel(self, prefix: bytes, message: Message) -> None:
        """A message of the kernel, its signature checked."""


class Back:
    """Connects, proves, carries messages, and does so again when the connection breaks, until closed."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        address: str,
        info: ConnectionInfo,
        identity: str,
        listener: BackListener,
        *,
        adopted: bool,
    ) -> None:
        """``adopted``: the kernel ran before us and may be busy, so a proof on control must do."""
        self._context = context
        self._address = address
        self._info = info
        self._signer = Signer(info.key)
        self._identity = identity.encode()
        self._listener = listener
        self._adopted = adopted
        self._sockets: dict[str, zmq.asyncio.Socket] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._heard: set[str] = set()
        self._kernel_info: bytes | None = None
        self._broke = asyncio.Event()
        self._answered = asyncio.Event()
        self.gone = asyncio.Event()
        """Set whenever the kernel's connection has ended."""
        self.is_proven = False

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._run(), name=f"back {self._identity.decode()}")

    def close(self) -> None:
        """Drop everything at once."""
        self.is_proven = False
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._drop_sockets()

    async def _run(self) -> None:
        while True:
            await self._until_it_listens()
            self._open_sockets()
            try:
                await self._prove()
                await self._broke.wait()
            finally:
                self._drop_sockets()
            if self.is_proven:
                self.is_proven = False
                self._listener.broken()
            self.gone.set()
            self._adopted = True
            await asyncio.sleep(PROBE_INTERVAL)

    async def _until_it_listens(self) -> None:
        while True:
            try:
                async with asyncio.timeout(2):
                    _, writer = await asyncio.open_connection(self._address, self._info.shell_port)
            except (OSError, TimeoutError):
                await asyncio.sleep(LISTEN_INTERVAL)
                continue
            writer.close()
            return

    def _open_sockets(self) -> None:
        self._broke.clear()
        self._answered.clear()
        self.gone.clear()
        self._heard.clear()
        ports = {
            "shell": self._info.shell_port,
            "control": self._info.control_port,
            "stdin": self._info.stdin_port,
            "iopub": self._info.iopub_port,
        }
        for channel, port in ports.items():
            kind = zmq.SUB if channel == "iopub" else zmq.DEALER
            socket: zmq.asyncio.Socket = self._context.socket(kind)
            socket.linger = 0
            socket.setsockopt(zmq.RECONNECT_IVL, -1)
            socket.setsockopt(zmq.IMMEDIATE, 1)
            socket.setsockopt(zmq.RCVHWM, 0)
            socket.setsockopt(zmq.SNDTIMEO, SEND_LIMIT)
            if kind == zmq.SUB:
                socket.setsockopt(zmq.SUBSCRIBE, b"")
            else:
                socket.setsockopt(zmq.IDENTITY, self._identity)
            monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
            socket.connect(f"tcp://{self._address}:{port}")
            self._sockets[channel] = socket
            self._tasks.append(asyncio.create_task(self._read(channel, socket)))
            self._tasks.append(asyncio.create_task(self._watch(monitor)))

    def _drop_sockets(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        for socket in self._sockets.values():
            with contextlib.suppress(zmq.ZMQError):
                socket.disable_monitor()
            socket.close(0)
        self._sockets.clear()

    async def _watch(self, monitor: zmq.asyncio.Socket) -> None:
        try:
            while True:
                event = parse_monitor_message(await monitor.recv_multipart())
                if event["event"] in (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED, zmq.EVENT_MONITOR_STOPPED):
                    self._broke.set()
                    self.gone.set()
                    return
        finally:
            monitor.close(0)

    async def _read(self, channel: str, socket: zmq.asyncio.Socket) -> None:
        while True:
            frames: list[bytes] = await socket.recv_multipart()
            try:
                prefix, message = self._signer.message(channel, frames)
                self._take(prefix, message)
            except BadMessageError as error:
                log.warning("%s: a message on %s was dropped: %s", self._identity.decode(), channel, error)

    def _take(self, prefix: bytes, message: Message) -> None:
        if _OWN in message.parent_header and message.parent.get("session") == OWN_SESSION:
            self._heard.add(message.channel)
            if message.channel == "shell" and message.msg_type == "kernel_info_reply":
                self._kernel_info = message.content
                if self.is_proven:
                    self._listener.shell_answered()
            self._answered.set()
            return
        if self.is_proven:
            self._listener.from_kernel(prefix, message)

    def _enough(self) -> bool:
        if self._adopted:
            return bool({"control", "shell"} & self._heard)
        return {"shell", "iopub"} <= self._heard

    async def _prove(self) -> None:
        """Ask until enough has answered; a subscription takes a moment, so the question is repeated."""
        while not self._enough():
            if self._broke.is_set():
                return
            self._answered.clear()
            channels = ("control", "shell") if self._adopted else ("shell",)
            for channel in channels:
                if channel == "shell" and self._adopted and "asked" in self._heard:
                    continue  # once is enough behind a busy cell
                if await self._ask(channel) and channel == "shell":
                    self._heard.add("asked")
            deadline = asyncio.get_running_loop().time() + PROBE_INTERVAL
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    while not self._enough():
                        self._answered.clear()
                        await self._answered.wait()
        if self._broke.is_set():
            return
        self.is_proven = True
        self._listener.proven(self._kernel_info)
        if "shell" in self._heard:
            self._listener.shell_answered()

    async def _ask(self, channel: str) -> bool:
        request = make("kernel_info_request", {}, session=OWN_SESSION, channel=channel)
        try:
            await self._sockets[channel].send_multipart(
                self._signer.frames(request, OWN_SESSION.encode()), flags=zmq.NOBLOCK
            )
        except zmq.Again:
            await asyncio.sleep(0.005)
            return False
        return True

    def send(self, message: Message, prefix: str) -> bool:
        """Give a message to the kernel; False if there is no proven kernel to give it to."""
        socket = self._sockets.get(message.channel)
        if not self.is_proven or socket is None or self._broke.is_set():
            return False
        frames = self._signer.frames(message, prefix.encode())
        future = asyncio.ensure_future(socket.send_multipart(frames))
        future.add_done_callback(_noted)
        return True

    async def ask_to_end(self, limit: timedelta) -> None:
        """Send shutdown_request and wait until the kernel's connection ends, at most ``limit``."""
        request = make("shutdown_request", {"restart": False}, session=OWN_SESSION, channel="control")
        if not self.send(request, OWN_SESSION):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit.total_seconds()):
                await self.gone.wait()


def _noted(future: asyncio.Future[object]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("A message to a kernel was not taken: %s", error)


def asks_exit(content: bytes) -> bool:
    """Whether an execute_reply says that its kernel is about to end, as ``exit()`` does."""
    if b"ask_exit" not in content:
        return False
    body = json.loads(content)
    return any(p.get("source") == "ask_exit" and not p.get("keepkernel") for p in body.get("payload") or [])
