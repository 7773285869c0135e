"""A real jupyter_server process, and a gateway beside it that a test can take away or make misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
from aiohttp import web

from elastic_frontend.protocol import V1, Frame, new_frame, pack_v1, unpack_v1

TOKEN = "test"
KERNEL = "0e5a5b1e-3f5c-4f0e-9c6e-1d1f0e0a0b0c"
SPEC = {"argv": [], "env": {}, "display_name": "Python 3 · CPU", "language": "python", "metadata": {}}
LARGE = 20 * 1024 * 1024
MAX_MESSAGE = 200 * 1024 * 1024
SESSION = {"path": "n.ipynb", "name": "n.ipynb", "type": "notebook", "kernel": {"name": "python3-cpu"}}


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class GatewayThatGoesAway:
    """A gateway with one kernel, which answers cells and can be taken away and brought back."""

    def __init__(self) -> None:
        self.port = free_port()
        self.kernels: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.cells: list[str] = []
        self.pending: list[list[str]] = []
        self.handshakes: list[float] = []
        self.answer_cells = True
        self.never_had: list[str] = []
        """What it says it never had, when it is asked."""
        self.refuses_channels_with = 0
        self.sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where user servers find it."""
        return f"http://127.0.0.1:{self.port}"

    async def come(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=MAX_MESSAGE)
        app.add_routes(
            [
                web.get("/api/kernelspecs", self.specs),
                web.get("/api/kernels", self.listed),
                web.post("/api/kernels", self.started),
                web.get("/api/kernels/{id}", self.one),
                web.delete("/api/kernels/{id}", self.noted),
                web.post("/api/kernels/{id}/{action}", self.noted),
                web.get("/api/kernels/{id}/channels", self.channels),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def go(self) -> None:
        """Drop every connection and listen no more."""
        for opened in list(self.sockets):
            if opened._req is not None and opened._req.transport is not None:
                opened._req.transport.abort()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def add(self, kernel_id: str, state: str = "idle") -> dict[str, Any]:
        """A kernel of this user's."""
        self.kernels[kernel_id] = {
            "id": kernel_id, "name": "python3-cpu", "last_activity": "2026-01-01T00:00:00.000000Z",
            "execution_state": state, "connections": 0,
        }  # fmt: skip
        return self.kernels[kernel_id]

    async def specs(self, request: web.Request) -> web.StreamResponse:
        spec = {"name": "python3-cpu", "spec": SPEC, "resources": {}}
        return web.json_response({"default": "python3-cpu", "kernelspecs": {"python3-cpu": spec}})

    async def listed(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(list(self.kernels.values()))

    async def started(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.add(KERNEL), status=201)

    async def one(self, request: web.Request) -> web.StreamResponse:
        found = self.kernels.get(request.match_info["id"])
        return web.json_response(found) if found else web.json_response({"message": "no"}, status=404)

    async def noted(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path}")
        return web.Response(status=204)

    async def channels(self, request: web.Request) -> web.StreamResponse:
        self.handshakes.append(monotonic())
        if self.refuses_channels_with:
            return web.json_response({"message": "not now"}, status=self.refuses_channels_with)
        if request.match_info["id"] not in self.kernels:
            return web.json_response({"message": "no"}, status=404)
        opened = web.WebSocketResponse(protocols=[V1], max_msg_size=MAX_MESSAGE)
        await opened.prepare(request)
        self.sockets.add(opened)
        try:
            async for frame in opened:
                if frame.type is aiohttp.WSMsgType.BINARY:
                    await self.take(opened, unpack_v1(frame.data))
        finally:
            self.sockets.discard(opened)
        return opened

    async def take(self, opened: web.WebSocketResponse, frame: Frame) -> None:
        """Answer a cell; a comm message goes back as it came."""
        kind = frame.header["msg_type"]
        if kind == "elastic_pending":
            await self.asked(opened, json.loads(frame.parts[3])["msg_ids"])
        elif kind == "comm_msg":
            await opened.send_bytes(pack_v1(Frame("iopub", frame.parts)))
        elif kind == "execute_request":
            code = json.loads(frame.parts[3])["code"]
            self.cells.append(code)
            if self.answer_cells:
                await self.reply(opened, frame.parts[0], "x" * LARGE if code == "large" else code)

    async def asked(self, opened: web.WebSocketResponse, msg_ids: list[str]) -> None:
        """A user server tells what it still waits for."""
        self.pending.append(msg_ids)
        content = {"msg_ids": self.never_had}
        await opened.send_bytes(pack_v1(new_frame("control", "elastic_resend", content, session="k")))

    async def reply(self, opened: web.WebSocketResponse, parent: bytes, text: str) -> None:
        """What a kernel sends for a cell."""
        for channel, kind, content in (
            ("iopub", "stream", {"name": "stdout", "text": text}),
            ("shell", "execute_reply", {"status": "ok", "execution_count": 1}),
            ("iopub", "status", {"execution_state": "idle"}),
        ):
            await opened.send_bytes(pack_v1(new_frame(channel, kind, content, session="k", parent=parent)))


class GatewayThatNeverAnswers:
    """Something that accepts connections and says nothing."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where user servers find it."""
        return f"http://127.0.0.1:{self.port}"

    async def come(self) -> None:
        """Accept."""
        self._server = await asyncio.start_server(self._hold, "127.0.0.1", self.port)

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await reader.read(65536):
                continue
        except ConnectionError:
            return
        finally:
            self._open.discard(writer)
            writer.close()

    async def go(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()


class UserServer:
    """A running jupyter_server."""

    def __init__(self, home: Path, port: int, http: aiohttp.ClientSession, process: asyncio.subprocess.Process) -> None:
        self.home, self.process = home, process
        self._url = f"http://127.0.0.1:{port}"
        self._http = http

    @property
    def log(self) -> str:
        """What it logged, also its predecessors in the same home."""
        return (self.home / "log").read_text()

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Call its REST API: status and answer."""
        async with self._http.request(method, f"{self._url}/{path}", json=body) as answer:
            text = await answer.text()
            try:
                return answer.status, json.loads(text) if text else None
            except ValueError:
                return answer.status, text

    async def __call__(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """Call its REST API and expect this status."""
        got, answer = await self.ask(method, path, body)
        assert got == status, f"{method} {path}: {got} {str(answer)[:300]}\n{self.log[-2000:]}"
        return answer

    def connect(self, session: str = "", protocols: tuple[str, ...] = (V1,)) -> Any:
        """A notebook's WebSocket."""
        url = f"{self._url}/api/kernels/{KERNEL}/channels?session_id={session or uuid.uuid4().hex}"
        return self._http.ws_connect(url, protocols=protocols, max_msg_size=MAX_MESSAGE)


@asynccontextmanager
async def user_server(home: Path, gateway_url: str = "", **traits: object) -> AsyncIterator[UserServer]:
    """Start one; ``Class__trait=value`` sets a trait. Ends as the Hub ends it, with SIGTERM."""
    port = free_port()
    home.mkdir(exist_ok=True)
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "JUPYTER_TOKEN": TOKEN}
    if gateway_url:
        env |= {"JUPYTER_GATEWAY_URL": gateway_url, "JUPYTER_GATEWAY_WS_URL": gateway_url.replace("http", "ws", 1)}
    command = [sys.executable, "-m", "jupyter", "server", "--allow-root", "--no-browser", f"--port={port}"]
    command += [f"--{name.replace('__', '.')}={value}" for name, value in traits.items()]
    with (home / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*command, cwd=home, env=env, stdout=log, stderr=log)
    async with aiohttp.ClientSession(headers={"Authorization": f"token {TOKEN}"}) as http:
        server = UserServer(home, port, http, process)
        try:
            async with asyncio.timeout(40):
                while True:
                    try:
                        await server("GET", "api")
                        break
                    except aiohttp.ClientError:
                        assert process.returncode is None, server.log[-2000:]
                        await asyncio.sleep(0.1)
            yield server
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(15):
                await process.wait()


async def send(browser: aiohttp.ClientWebSocketResponse, code: str) -> str:
    """Send a cell as JupyterLab does; returns its id."""
    frame = new_frame("shell", "execute_request", {"code": code}, session="tab")
    await browser.send_bytes(pack_v1(frame))
    return str(frame.header["msg_id"])


async def next_frame(browser: aiohttp.ClientWebSocketResponse) -> Frame:
    """The next message that the page gets."""
    message = await browser.receive()
    assert message.type is aiohttp.WSMsgType.BINARY, f"the page got {message!r}"
    return unpack_v1(message.data)


async def answer_of(
    browser: aiohttp.ClientWebSocketResponse, msg_id: str, within: float = 15
) -> tuple[str, dict[str, Any]]:
    """All text of a cell and its reply, once that has come."""
    text = ""
    async with asyncio.timeout(within):
        while True:
            frame = await next_frame(browser)
            if frame.parent_id != msg_id:
                continue
            if frame.header["msg_type"] == "stream":
                text += json.loads(frame.parts[3])["text"]
            if frame.header["msg_type"] == "execute_reply":
                return text, json.loads(frame.parts[3])


async def until_reply(browser: aiohttp.ClientWebSocketResponse, msg_id: str, within: float = 15) -> str:
    """All text of a cell, once its reply has come."""
    return (await answer_of(browser, msg_id, within))[0]
