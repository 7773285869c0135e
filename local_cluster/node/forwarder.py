"""Forwards the TCP connections to one address to whichever endpoint is next.

Nobody listens while there is no endpoint, so a connection is refused, as kube-proxy does it. Connections that
are open stay so when the endpoints change. At most one chunk for each direction is held in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct
from collections.abc import Sequence

from local_cluster.node.services import Address

log = logging.getLogger(__name__)

CHUNK = 64 * 1024
CONNECT_LIMIT = 5.0
"""Seconds for one endpoint to take a connection; it is on the same machine."""
RESET = struct.pack("ii", 1, 0)


async def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until the source says no more, and say so to the sink."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, CHUNK):
        await loop.sock_sendall(sink, data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


async def join(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways; a broken side breaks the other, as without anybody in between."""
    for side in (one, other):
        side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ways = [asyncio.ensure_future(pump(one, other)), asyncio.ensure_future(pump(other, one))]
    try:
        await asyncio.gather(*ways)
    except OSError:
        for side in (one, other):
            reset(side)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


def reset(side: socket.socket) -> None:
    """Make the coming close a reset."""
    with contextlib.suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


class Forwarder:
    """One address of a Service."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._endpoints: tuple[Address, ...] = ()
        self._turn = 0
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._told = ""

    @property
    def listening(self) -> bool:
        """Whether connections are taken."""
        return self._listener is not None

    async def serve(self, endpoints: Sequence[Address]) -> bool:
        """Forward to these from now on. False if the address cannot be had now; it is said once."""
        self._endpoints = tuple(endpoints)
        if not endpoints:
            await self._close()
        elif self._listener is None:
            return self._listen()
        return True

    def _listen(self) -> bool:
        host, port = self.address
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        try:
            listener.bind(self.address)
            listener.listen(128)
        except OSError as error:
            listener.close()
            if self._told != str(error):
                why = f"{error.strerror} (ports below 1024 need root)" if error.errno == errno.EACCES else error
                log.warning("Service address %s:%d cannot be listened on, trying again: %s", host, port, why)
                self._told = str(error)
            return False
        self._told = ""
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener), name=f"service {host}:{port}")
        return True

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(listener)
            except OSError as error:  # no file descriptors left, or a client that has gone
                log.warning("Service %s:%d: a connection was lost: %s", *self.address, error)
                await asyncio.sleep(0.1)
                continue
            task = asyncio.create_task(self._forward(client))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _forward(self, client: socket.socket) -> None:
        with client:
            server = await self._connect()
            if server is None:
                reset(client)
                return
            with server:
                await join(client, server)

    async def _connect(self) -> socket.socket | None:
        """A connection to the next endpoint that takes one."""
        loop = asyncio.get_running_loop()
        for _ in range(len(self._endpoints)):
            endpoints = self._endpoints
            if not endpoints:
                return None
            self._turn += 1
            server = socket.socket()
            server.setblocking(False)
            try:
                async with asyncio.timeout(CONNECT_LIMIT):
                    await loop.sock_connect(server, endpoints[self._turn % len(endpoints)])
            except (OSError, TimeoutError):
                server.close()
            except BaseException:
                server.close()
                raise
            else:
                return server
        return None

    async def _close(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def stop(self) -> None:
        """Listen no longer and cut what is open."""
        await self._close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be done for it."""
        return self._listener is None and not self._connections
