"""Serves containers' logs to the API server, for ``kubectl logs``: the one part of a kubelet's server that is here.

Only who holds the API server's certificate is answered. ``timestamps`` and ``sinceSeconds`` are not served: what
a process writes goes to its file as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CHUNK = 64 * 1024
LOOK = 0.2
"""Seconds between two looks for more of a log that is followed."""
VALID = datetime.timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Log:
    """One run of a container in its file."""

    path: Path
    start: int
    end: int | None
    running: Callable[[], bool]


Find = Callable[[str, str, str, bool], Log | None]
"""Namespace, pod, container, whether the previous run is meant."""


def make_certificate(directory: Path, name: str, address: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(made).not_valid_after(made + VALID)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    paths = directory / f"{name}.crt", directory / f"{name}.key"
    paths[1].touch(mode=0o600)
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def server_context(certificate: tuple[Path, Path], caller: Path) -> ssl.SSLContext:
    """TLS for a server that lets in only who holds ``caller``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.load_verify_locations(caller)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def tail_start(path: Path, start: int, end: int, lines: int | None) -> int:
    """Where the last so many lines begin."""
    if lines is None or lines < 0:
        return start
    with path.open("rb") as file:
        at, found, ends = end, 0, 0
        while at > start:
            size = min(CHUNK, at - start)
            file.seek(at - size)
            chunk = file.read(size)
            if at == end and chunk.endswith(b"\n"):
                ends = 1  # the end of the last line begins no new one
            for index in range(len(chunk) - 1, -1, -1):
                if chunk[index] == 0x0A:
                    found += 1
                    if found == lines + ends:
                        return at - size + index + 1
            at -= size
    return start if lines else end


class LogServer:
    """``/containerLogs/<namespace>/<pod>/<container>`` over TLS, on a port of its own."""

    def __init__(self, host: str, tls: ssl.SSLContext, find: Find) -> None:
        self._host = host
        self._tls = tls
        self._find = find
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, 0, ssl_context=self._tls).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        where, query = request.match_info, request.query
        log = self._find(where["namespace"], where["pod"], where["container"], query.get("previous") == "true")
        if log is None:
            text = f'container "{where["container"]}" in pod "{where["pod"]}" has no such log'
            return web.Response(status=404, text=text)
        try:
            lines = int(query["tailLines"]) if "tailLines" in query else None
            left = int(query["limitBytes"]) if "limitBytes" in query else None
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await self._send(response, log, lines, left, query.get("follow") == "true")
        return response

    async def _send(
        self, response: web.StreamResponse, log: Log, lines: int | None, left: int | None, follow: bool
    ) -> None:
        size = log.path.stat().st_size if log.path.exists() else 0
        at = tail_start(log.path, log.start, log.end if log.end is not None else size, lines) if size else 0
        while left is None or left > 0:
            running = follow and log.running()
            at, left = await self._copy(response, log, at, left)
            if not running:
                return
            await asyncio.sleep(LOOK)

    async def _copy(self, response: web.StreamResponse, log: Log, at: int, left: int | None) -> tuple[int, int | None]:
        """Send what there is now; where that ended."""
        with log.path.open("rb") as file:
            file.seek(at, os.SEEK_SET)
            while True:
                size = min(x for x in (CHUNK, left, None if log.end is None else log.end - at) if x is not None)
                chunk: Any = file.read(size)
                if not chunk:
                    return at, left
                await response.write(chunk)
                at += len(chunk)
                left = None if left is None else left - len(chunk)
