"""A hub of one's own: the example configuration in the hub's environment, with its proxy, on free ports."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.waiting import eventually

CHECKOUT = Path(__file__).parents[2]
READY_LIMIT = 60.0
"""Seconds within which the Hub must answer through its proxy."""
STOP_LIMIT = 20.0


@dataclass(slots=True)
class RunningHub:
    """A hub that answers."""

    url: str
    token: str
    users: dict[str, str]
    log: Path
    process: asyncio.subprocess.Process
    settings_file: Path
    kubeconfig: Path

    async def api(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One REST call as the administrator's service: status and parsed answer."""
        headers = {"Authorization": f"token {self.token}"}
        async with (
            aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as http,
            http.request(method, f"{self.url}/hub/api/{path}", json=body) as answer,
        ):
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text

    async def start_again(self) -> None:
        """Start the hub that was killed, as its Deployment would."""
        self.process = await start_process(self.settings_file, self.kubeconfig, self.log)
        await wait_until_ready(self)

    async def kill(self) -> None:
        """End the Hub as a lost machine would."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody uses now, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


async def start_process(settings_file: Path, kubeconfig: Path, log: Path) -> asyncio.subprocess.Process:
    """The hub's process; it dies with the test."""
    bin_dir = CHECKOUT / ".build" / "envs" / "hub" / "bin"
    env = {
        "PATH": f"{bin_dir}:{os.environ.get('PATH', os.defpath)}",
        "LANG": "C.UTF-8",
        "HOME": str(settings_file.parent),
        "ELASTIC_HUB_SETTINGS": str(settings_file),
        "KUBECONFIG": str(kubeconfig),
    }
    argv = [str(bin_dir / "jupyterhub"), "-f", str(CHECKOUT / "hub_config" / "jupyterhub_config.py")]
    with log.open("ab") as out:
        return await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", "--", *argv,
            env=env, cwd=settings_file.parent, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip


async def wait_until_ready(hub: RunningHub) -> None:
    """Wait until the Hub answers through its proxy."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
        await eventually(lambda: _answers(http, hub), within=READY_LIMIT, what=f"the hub answers ({hub.log})")


async def _answers(http: aiohttp.ClientSession, hub: RunningHub) -> bool:
    if hub.process.returncode is not None:
        raise AssertionError(f"the hub ended with {hub.process.returncode}:\n{_tail(hub.log)}")
    try:
        async with http.get(f"{hub.url}/hub/api") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-6000:]


def _settings(directory: Path, namespace: str, users: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Write the hub's settings file and return what is in it."""
    directory.mkdir(parents=True, exist_ok=True)
    port, hub_port, proxy_api_port = free_ports(3)
    content = {
        "state_dir": str(directory / "state"),
        "namespace": namespace,
        "port": port,
        "hub_port": hub_port,
        "proxy_api_port": proxy_api_port,
        "proxy_command": str(CHECKOUT / ".build" / "node" / "node_modules" / ".bin" / "configurable-http-proxy"),
        "users": {name: secrets.token_urlsafe(9) for name in users},
        "admin_token": secrets.token_hex(24),
        **settings,
    }
    file = directory / "hub.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(content))
    return content


@asynccontextmanager
async def running_hub(
    directory: Path, kubeconfig: Path, namespace: str, users: list[str], **settings: Any
) -> AsyncIterator[RunningHub]:
    """A hub that answers, for the length of a block."""
    content = _settings(directory, namespace, users, settings)
    file = directory / "hub.json"
    log = directory / "hub.log"
    process = await start_process(file, kubeconfig, log)
    hub = RunningHub(
        url=f"http://127.0.0.1:{content['port']}",
        token=content["admin_token"],
        users=content["users"],
        log=log,
        process=process,
        settings_file=file,
        kubeconfig=kubeconfig,
    )
    try:
        await wait_until_ready(hub)
        yield hub
    finally:
        if hub.process.returncode is None:
            hub.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(hub.process.wait(), STOP_LIMIT)
            except TimeoutError:
                await hub.kill()
