"""Asks what a probe asks. Every question has the probe's time limit; an answer is "" or says what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import aiohttp

from local_cluster.node.probes import Exec, HttpGet, Nothing, Probe, TcpSocket

AGENT = "kube-probe/process-node"

Run = Callable[[tuple[str, ...], float], Awaitable[tuple[int, str]]]
"""Runs a command inside the container within so many seconds: exit code and output."""


async def ask(probe: Probe, run: Run) -> str:
    """What is wrong, or "" if nothing is."""
    check = probe.check
    try:
        async with asyncio.timeout(probe.timeout):
            match check:
                case HttpGet():
                    return await _http(check)
                case TcpSocket():
                    return await _tcp(check)
                case Exec():
                    code, output = await run(check.command, probe.timeout)
                    return "" if code == 0 else output or f"command ended with {code}"
                case Nothing():
                    return check.why
    except TimeoutError:
        return f"{_name(check)}: no answer within {probe.timeout:g} s"


def _name(check: HttpGet | TcpSocket | Exec | Nothing) -> str:
    if isinstance(check, HttpGet):
        return f'Get "{check.url}"'
    if isinstance(check, TcpSocket):
        return f"dial tcp {check.host}:{check.port}"
    return f"command {' '.join(check.command)!r}" if isinstance(check, Exec) else check.why


async def _http(check: HttpGet) -> str:
    """A redirect counts as healthy and is not followed. Certificates are not looked at, as in a kubelet."""
    headers = {"User-Agent": AGENT, "Connection": "close", **check.headers}
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False, force_close=True)) as http,
            http.get(check.url, headers=headers, allow_redirects=False) as answer,
        ):
            return "" if 200 <= answer.status < 400 else f"HTTP probe failed with statuscode: {answer.status}"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f"{_name(check)}: {error}"


async def _tcp(check: TcpSocket) -> str:
    try:
        _, writer = await asyncio.open_connection(check.host, check.port)
    except OSError as error:
        return f"{_name(check)}: {error.strerror or error}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""
