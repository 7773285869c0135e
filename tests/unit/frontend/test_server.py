"""The extension in a real jupyter_server, beside a gateway that a test can take away."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from elastic_frontend.protocol import V1, Frame, new_frame, pack_v1, unpack_v1

TOKEN = "test"
KERNEL = "0e5a5b1e-3f5c-4f0e-9c6e-1d1f0e0a0b0c"
SPEC = {"argv": [], "env": {}, "display_name": "Python 3 · CPU", "language": "python", "metadata": {}}
LARGE = 20 * 1024 * 1024


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
        self.answer_cells = True
        self.sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where user servers find it."""
        return f"http://127.0.0.1:{self.port}"

    async def come(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=2 * LARGE)
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

    async def specs(self, request: web.Request) -> web.Response:
        spec = {"name": "python3-cpu", "spec": SPEC, "resources": {}}
        return web.json_response({"default": "python3-cpu", "kernelspecs": {"python3-cpu": spec}})

    async def listed(self, request: web.Request) -> web.Response:
        return web.json_response(list(self.kernels.values()))

    async def started(self, request: web.Request) -> web.Response:
        return web.json_response(self.add(KERNEL), status=201)

    async def one(self, request: web.Request) -> web.Response:
        found = self.kernels.get(request.match_info["id"])
        return web.json_response(found) if found else web.json_response({"message": "no"}, status=404)

    async def noted(self, request: web.Request) -> web.Response:
        self.calls.append(f"{request.method} {request.path}")
        return web.Response(status=204)

    async def channels(self, request: web.Request) -> web.WebSocketResponse:
        opened = web.WebSocketResponse(protocols=[V1], max_msg_size=2 * LARGE)
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
            self.pending.append(json.loads(frame.parts[3])["msg_ids"])
        elif kind == "comm_msg":
            await opened.send_bytes(pack_v1(Frame("iopub", frame.parts)))
        elif kind == "execute_request":
            code = json.loads(frame.parts[3])["code"]
            self.cells.append(code)
            if self.answer_cells:
                await self.reply(opened, frame.parts[0], "x" * LARGE if code == "large" else code)

    async def reply(self, opened: web.WebSocketResponse, parent: bytes, text: str) -> None:
        """What a kernel sends for a cell."""
        for channel, kind, content in (
            ("iopub", "stream", {"name": "stdout", "text": text}),
            ("shell", "execute_reply", {"status": "ok", "execution_count": 1}),
            ("iopub", "status", {"execution_state": "idle"}),
        ):
            await opened.send_bytes(pack_v1(new_frame(channel, kind, content, session="k", parent=parent)))


@pytest.fixture
async def gateway() -> AsyncIterator[GatewayThatGoesAway]:
    """A gateway that is there."""
    stand_in = GatewayThatGoesAway()
    await stand_in.come()
    yield stand_in
    await stand_in.go()


@asynccontextmanager
async def user_server(home: Path, gateway_url: str = "") -> AsyncIterator[Callable[..., Any]]:
    """A jupyter_server process; yields a function that calls its REST API."""
    port = free_port()
    home.mkdir(exist_ok=True)
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "JUPYTER_TOKEN": TOKEN}
    if gateway_url:
        env |= {"JUPYTER_GATEWAY_URL": gateway_url, "JUPYTER_GATEWAY_WS_URL": gateway_url.replace("http", "ws", 1)}
    command = [sys.executable, "-m", "jupyter", "server", "--allow-root", "--no-browser", f"--port={port}"]
    with (home / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*command, cwd=home, env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"token {TOKEN}"}
    async with aiohttp.ClientSession(headers=headers) as http:

        async def call(method: str, path: str, body: object = None, status: int = 200) -> Any:
            async with http.request(method, f"{url}/{path}", json=body) as answer:
                text = await answer.text()
                assert answer.status == status, f"{method} {path}: {answer.status} {text[:300]}"
                return json.loads(text) if text else None

        call.connect = lambda: http.ws_connect(  # type: ignore[attr-defined]
            f"{url}/api/kernels/{KERNEL}/channels?session_id={uuid.uuid4().hex}", protocols=[V1], max_msg_size=2 * LARGE
        )
        try:
            async with asyncio.timeout(40):
                while True:
                    try:
                        await call("GET", "api")
                        break
                    except aiohttp.ClientError:
                        assert process.returncode is None, (home / "log").read_text()[-2000:]
                        await asyncio.sleep(0.1)
            yield call
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(15):
                await process.wait()


SESSION = {"path": "n.ipynb", "name": "n.ipynb", "type": "notebook", "kernel": {"name": "python3-cpu"}}


async def send(browser: aiohttp.ClientWebSocketResponse, code: str) -> str:
    """Send a cell as JupyterLab does; returns its id."""
    frame = new_frame("shell", "execute_request", {"code": code}, session="tab")
    await browser.send_bytes(pack_v1(frame))
    return str(frame.header["msg_id"])


async def until_reply(browser: aiohttp.ClientWebSocketResponse, msg_id: str, within: float = 15) -> str:
    """All text of a cell, once its reply has come."""
    text = ""
    async with asyncio.timeout(within):
        while True:
            frame = unpack_v1((await browser.receive()).data)
            if frame.parent_id != msg_id:
                continue
            if frame.header["msg_type"] == "stream":
                text += json.loads(frame.parts[3])["text"]
            if frame.header["msg_type"] == "execute_reply":
                return text


async def test_a_cell_clicked_while_the_gateway_is_away_runs_once_when_it_is_back(gateway, tmp_path: Path) -> None:
    """Kept, in order, and sent once."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            assert await until_reply(browser, await send(browser, "before")) == "before"
            await gateway.go()
            await asyncio.sleep(0.5)
            ids = [await send(browser, code) for code in ("while away 1", "while away 2")]
            await asyncio.sleep(3)
            await gateway.come()
            assert [await until_reply(browser, i) for i in ids] == ["while away 1", "while away 2"]
    assert gateway.cells == ["before", "while away 1", "while away 2"]


async def test_a_cell_without_a_reply_is_asked_about_after_a_reconnect_and_not_sent_again(
    gateway, tmp_path: Path
) -> None:
    """It may have run, so only the gateway can say."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            gateway.answer_cells = False
            msg_id = await send(browser, "in flight")
            async with asyncio.timeout(5):
                while not gateway.cells:
                    await asyncio.sleep(0.05)
            await gateway.go()
            await gateway.come()
            async with asyncio.timeout(10):
                while not gateway.pending:
                    await asyncio.sleep(0.05)
    assert gateway.pending[0] == [msg_id]
    assert gateway.cells == ["in flight"]


async def test_binary_data_and_twenty_megabytes_pass_both_ways(gateway, tmp_path: Path) -> None:
    """What the stock connection breaks on."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        async with call.connect() as browser:
            assert len(await until_reply(browser, await send(browser, "large"))) == LARGE
            frame = new_frame("shell", "comm_msg", {"comm_id": "c"}, session="tab")
            frame.parts.append(b"\xff\xfe" * (LARGE // 4))
            await browser.send_bytes(pack_v1(frame))
            async with asyncio.timeout(15):
                while (back := unpack_v1((await browser.receive()).data)).header["msg_type"] != "comm_msg":
                    continue
            assert back.parts[4] == frame.parts[4]
            assert await until_reply(browser, await send(browser, "after")) == "after"


async def test_without_a_gateway_the_server_starts_and_its_launcher_says_why_there_are_no_kernels(
    tmp_path: Path,
) -> None:
    """And offers them as soon as the gateway answers."""
    gateway = GatewayThatGoesAway()
    async with user_server(tmp_path / "home", gateway.url) as call:
        specs = (await call("GET", "api/kernelspecs"))["kernelspecs"]
        assert [s["spec"]["display_name"] for s in specs.values()] == ["No kernels now: the gateway does not answer"]
        assert await call("GET", "api/status")
        assert await call("GET", "api/kernels") == []
        await gateway.come()
        try:
            assert list((await call("GET", "api/kernelspecs"))["kernelspecs"]) == ["python3-cpu"]
        finally:
            await gateway.go()


async def test_the_servers_end_deletes_no_kernel_and_a_new_server_finds_it_with_its_notebook(
    gateway, tmp_path: Path
) -> None:
    """Idle kernels are asked to be suspended."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
    assert gateway.calls == [f"POST /api/kernels/{KERNEL}/suspend"]
    async with user_server(tmp_path / "home", gateway.url) as call:
        sessions = await call("GET", "api/sessions")
        assert [(s["path"], s["kernel"]["id"]) for s in sessions] == [("n.ipynb", KERNEL)]


async def test_while_the_gateway_is_away_a_notebook_keeps_its_kernel(gateway, tmp_path: Path) -> None:
    """Unknown is not gone: neither the session nor the kernel is dropped."""
    async with user_server(tmp_path / "home", gateway.url) as call:
        await call("POST", "api/sessions", SESSION, status=201)
        await gateway.go()
        assert [k["id"] for k in await call("GET", "api/kernels")] == [KERNEL]
        assert (await call("GET", f"api/kernels/{KERNEL}"))["id"] == KERNEL
        assert len(await call("GET", "api/sessions")) == 1
        await gateway.come()
        gateway.kernels.clear()
        assert await call("GET", "api/kernels") == []
        await call("GET", f"api/kernels/{KERNEL}", status=404)


async def test_a_server_that_is_not_pointed_at_a_gateway_is_as_without_the_extension(tmp_path: Path) -> None:
    """Its own kernels, its own connection, no file of ours."""
    async with user_server(tmp_path / "home") as call:
        assert "python3" in (await call("GET", "api/kernelspecs"))["kernelspecs"]
    assert "elastic_frontend: kernels run at" not in (tmp_path / "home" / "log").read_text()
    assert not list((tmp_path / "home").rglob("sessions-*.db"))
