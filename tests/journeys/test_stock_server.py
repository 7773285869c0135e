"""A user server without our extension works with the gateway, as far as stock parts allow."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from local_cluster.demo.client import Notebook
from tests.support.waiting import eventually

CHECKOUT = Path(__file__).parents[2]
TOKEN = "stock"


class StockUser:
    """A person whose user server is plain jupyter_server, started by hand with a token of their own."""

    name = "ada"

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.xsrf: dict[str, str] = {}
        self._url = url

    def url(self, path: str) -> str:
        return f"{self._url}/{path}"

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        async with self.http.request(method, self.url(path), json=body) as answer:
            text = await answer.text()
            assert answer.status < 400, f"{method} {path}: {answer.status} {text[:300]}"
            return json.loads(text) if text else None


@pytest.fixture
async def stock(demo, tmp_path: Path) -> AsyncIterator[StockUser]:
    """jupyter_server with the extension switched off, pointed at the demo's gateway as ada."""
    admin = {"Authorization": f"token {demo.info['admin_token']}"}
    async with aiohttp.ClientSession(headers=admin) as hub:
        url = f"{demo.info['hub_url']}/hub/api/users/ada"
        await (await hub.post(url)).read()
        async with hub.post(f"{url}/tokens", json={"note": f"stock {uuid.uuid4().hex}"}) as answer:
            own = (await answer.json())["token"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "JUPYTER_TOKEN": TOKEN,
        "JUPYTER_GATEWAY_URL": demo.info["gateway_url"],
        "JUPYTER_GATEWAY_WS_URL": demo.info["gateway_url"].replace("http", "ws", 1),
        "JUPYTER_GATEWAY_AUTH_TOKEN": own,
    }
    python = CHECKOUT / ".build" / "envs" / "user" / "bin" / "python"
    off = "--ServerApp.jpserver_extensions={'elastic_frontend': False}"
    command = [str(python), "-m", "jupyter", "server", "--allow-root", "--no-browser", f"--port={port}", off]
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=env, stdout=log, stderr=log)
    async with aiohttp.ClientSession(headers={"Authorization": f"token {TOKEN}"}) as http:
        person = StockUser(http, f"http://127.0.0.1:{port}")

        async def answers() -> bool:
            try:
                return bool(await person.call("GET", "api"))
            except aiohttp.ClientError:
                return False

        try:
            await eventually(answers, within=40, what="the stock server")
            yield person
        finally:
            process.kill()
            await process.wait()
    assert "elastic_frontend: kernels run at" not in (tmp_path / "log").read_text()


async def test_a_stock_user_server_opens_runs_suspends_and_resumes(stock, objects) -> None:
    """And what would break it is kept from it: binary data, and messages over its limit."""
    kernel = await stock.call("POST", "api/kernels", {"name": "python3-cpu"})
    notebook = Notebook(stock, {"path": "stock.ipynb", "kernel": kernel})  # type: ignore[arg-type]
    await notebook.connect()
    try:
        assert await objects.kernel_pods(notebook.kernel_id) == []
        first = await notebook.run("x = 5; print('first')")
        assert (first.text, bool(first.waiting)) == ("first\n", True)
        pixel = "import ipywidgets, os; ipywidgets.Image(value=os.urandom(10000))"
        assert (await notebook.run(pixel)).status == "ok"
        assert (await notebook.run("print('after binary')")).text == "after binary\n"
        large = await notebook.run("from IPython.display import HTML, display; display(HTML('x' * 20 * 1024 * 1024))")
        assert "left out" in str(large.outputs)
        assert (await notebook.run("print('after large')")).text == "after large\n"

        async def asleep() -> bool:
            return not await objects.kernel_pods(notebook.kernel_id)

        await eventually(asleep, within=25, what="suspended")
        assert (await notebook.run("print('again')")).text == "again\n"
    finally:
        await notebook.close()
        await stock.call("DELETE", f"api/kernels/{notebook.kernel_id}")
