"""What the benchmarks share: a demo of their own, tokens, percentiles, a WebSocket client without a browser."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

from local_cluster.cluster import LocalCluster  # noqa: E402  # the checkout is put on the path first
from local_cluster.demo import stack  # noqa: E402
from local_cluster.demo.settings import DemoSettings  # noqa: E402


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def summary(values: Sequence[float], unit: str = "ms", scale: float = 1000) -> str:
    """p50 and p95 of seconds, in another unit."""
    return f"p50 {statistics.median(values) * scale:.1f} {unit}, p95 {percentile(values, 0.95) * scale:.1f} {unit}"


@asynccontextmanager
async def demo(*, users: int = 1, gpus: int = 4, idle: float = 3600) -> AsyncIterator[stack.Demo]:
    """A demo in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="elastic-benchmark-") as scratch:
        settings = DemoSettings(Path(scratch) / "state", idle_timeout=timedelta(seconds=idle), gpus=gpus, users=users)
        async with stack.running(settings, lambda text: print(f"  {text}", flush=True)) as running:
            yield running


async def user_token(running: stack.Demo, name: str) -> str:
    """An API token of a user's own, made by the Hub's administrator."""
    headers = {"Authorization": f"token {running.admin_token}"}
    url = f"{running.hub_url}/hub/api/users/{name}"
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(url) as made:
            if made.status not in (201, 409):
                raise RuntimeError(f"user {name}: {made.status} {await made.text()}")
        async with http.post(f"{url}/tokens", json={"note": "benchmark"}) as answer:
            return str((await answer.json())["token"])


class Cell:
    """A WebSocket to one kernel, in the older framing that every server takes."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._session = uuid.uuid4().hex

    async def run(self, code: str, timeout: float = 60) -> float:
        """Seconds from the request to its reply and idle."""
        msg_id = uuid.uuid4().hex
        header = {
            "msg_id": msg_id, "session": self._session, "username": "", "date": datetime.now(UTC).isoformat(),
            "msg_type": "execute_request", "version": "5.3",
        }  # fmt: skip
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        started = monotonic()
        await self._socket.send_str(json.dumps(message))
        left = {"execute_reply", "idle"}
        async with asyncio.timeout(timeout):
            while left:
                answer = json.loads((await self._socket.receive()).data)
                if answer["parent_header"].get("msg_id") != msg_id:
                    continue
                kind = answer["header"]["msg_type"]
                left.discard(kind)
                if kind == "status":
                    left.discard(answer["content"]["execution_state"])
        return monotonic() - started


@asynccontextmanager
async def jupyter_server(scratch: Path, **environment: str) -> AsyncIterator[str]:
    """A user server without a hub, and its URL; with a gateway if the environment names one."""
    port = stack.free_port()
    prefix = CHECKOUT / ".build" / "envs" / "user" / "bin"
    env = {"PATH": f"{prefix}:{os.environ['PATH']}", "HOME": str(scratch), "JUPYTER_TOKEN": "benchmark", **environment}
    command = [str(prefix / "jupyter"), "server", "--allow-root", "--no-browser", f"--port={port}", "--ip=127.0.0.1"]
    scratch.mkdir(parents=True, exist_ok=True)
    with (scratch / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=env, cwd=scratch, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(60):
            while True:
                try:
                    async with http.get(f"{url}/api") as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.2)
        yield url
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def kernel(url: str, token: str, body: dict[str, Any]) -> AsyncIterator[Cell]:
    """A new kernel of a server or gateway, with one WebSocket."""
    headers = {"Authorization": f"token {token}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(f"{url}/api/kernels", json=body) as answer:
            made = await answer.json()
        channels = f"{url}/api/kernels/{made['id']}/channels?session_id={uuid.uuid4().hex}"
        async with http.ws_connect(channels, max_msg_size=0) as socket:
            yield Cell(socket)
        async with http.delete(f"{url}/api/kernels/{made['id']}") as gone:
            await gone.read()


__all__ = [
    "CHECKOUT",
    "Cell",
    "LocalCluster",
    "demo",
    "jupyter_server",
    "kernel",
    "percentile",
    "summary",
    "user_token",
]
