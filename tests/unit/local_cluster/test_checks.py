"""What probes hear: answers, refusals, silence, and certificates that nobody signed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from local_cluster.node.checks import ask
from local_cluster.node.logs import make_certificate
from local_cluster.node.probes import Check, Exec, HttpGet, Kind, Nothing, Probe, TcpSocket


async def run(command: tuple[str, ...], limit: float) -> tuple[int, str]:
    """A container in which a command ends with the code it is named after."""
    return int(command[0]), "words" if command[0] == "3" else ""


async def heard(check: Check, timeout: float = 2) -> str:
    """What is wrong."""
    return await ask(Probe(Kind.READINESS, check, timeout=timeout), run)


@asynccontextmanager
async def server(answer: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that says one thing, or nothing if that is empty."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not answer:
            await reader.read()
        writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [("200 OK", ""), ("302 Found\r\nLocation: /else", ""), ("503 No", "HTTP probe failed with statuscode: 503")],
)
async def test_an_answer_below_400_is_healthy(answer: str, wrong: str) -> None:
    """Redirects too."""
    async with server(answer) as port:
        assert await heard(HttpGet(f"http://127.0.0.1:{port}/ready", {})) == wrong


async def test_a_certificate_of_ones_own_is_good_enough(tmp_path: Path) -> None:
    """As for a kubelet, which does not look at it."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*make_certificate(tmp_path, "server", "127.0.0.1"))
    async with server("200 OK", tls) as port:
        assert await heard(HttpGet(f"https://127.0.0.1:{port}/", {})) == ""
        assert await heard(HttpGet(f"http://127.0.0.1:{port}/", {})) != ""


async def test_silence_is_a_failure_after_the_probes_time() -> None:
    """It takes the connection and says nothing."""
    async with server("") as port:
        url = f"http://127.0.0.1:{port}/"
        assert await heard(HttpGet(url, {}), 0.2) == f'Get "{url}": no answer within 0.2 s'
        assert await heard(TcpSocket("127.0.0.1", port)) == ""


async def test_who_does_not_listen_is_not_healthy() -> None:
    """By its address."""
    assert "127.0.0.1:1" in await heard(TcpSocket("127.0.0.1", 1))
    assert "127.0.0.1:1" in await heard(HttpGet("http://127.0.0.1:1/", {}))


async def test_a_command_is_healthy_when_it_ends_with_0() -> None:
    """Its words are the reason, its code if it has none."""
    codes = {code: await heard(Exec((code,))) for code in ("0", "1", "3")}
    assert codes == {"0": "", "1": "command ended with 1", "3": "words"}
    assert await heard(Nothing("why")) == "why"
