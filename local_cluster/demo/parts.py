"""The demo's own processes beside the cluster: the gateway and the Hub, kept running.

A part is restarted when it ends unasked, as a Deployment would do; its process id lies in ``run/<name>.pid``
and its words in ``logs/<name>.log``. It dies with the demo, however the demo ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from local_cluster.demo.files import write_private
from local_cluster.demo.settings import NAMESPACE, DemoSettings
from local_cluster.processes import Process, ProcessError

CHECKOUT = Path(__file__).parents[2]
ENVS = CHECKOUT / ".build" / "envs"
GATEWAY_NAME = "elastic-gateway"
START_LIMIT = 60.0
"""Seconds within which a part must answer."""
RESTART_PAUSE = 0.5
"""Seconds between the end of a part and its next start."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The loopback ports of a demo."""

    hub: int
    proxy_api: int
    hub_api: int
    gateway: int


def images() -> dict[str, str]:
    """Which environment stands in for which image."""
    user = str(ENVS / "user")
    return {"elastic-jupyter/user-server*": user, "elastic-jupyter/kernel-python*": user}


class Part:
    """One supervised process."""

    def __init__(self, name: str, argv: list[str], env: dict[str, str], state_dir: Path, ready_url: str) -> None:
        self.name = name
        self._process = Process(name, argv, log=state_dir / "logs" / f"{name}.log", env=env, cwd=state_dir)
        self._pid_file = state_dir / "run" / f"{name}.pid"
        self._ready_url = ready_url
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._start()
        try:
            await self._answers()
        except BaseException:
            await self._process.stop()
            raise
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self._process.stop()

    async def _start(self) -> None:
        await self._process.start()
        self._pid_file.write_text(str(self._process.pid))

    async def _answers(self) -> None:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            try:
                async with asyncio.timeout(START_LIMIT):
                    while not await self._answers_now(http):
                        await asyncio.sleep(0.1)
            except TimeoutError:
                raise ProcessError(
                    f"The {self.name} did not answer {self._ready_url} within {START_LIMIT:.0f} s. "
                    f"{self._process.last_words()}"
                ) from None

    async def _answers_now(self, http: aiohttp.ClientSession) -> bool:
        self._process.check()
        try:
            async with http.get(self._ready_url) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _keep(self) -> None:
        while True:
            await self._process.wait()
            await asyncio.sleep(RESTART_PAUSE)
            await self._start()


def _environment(environment: str, **extra: str) -> dict[str, str]:
    """A process's environment, made afresh: nothing of the caller's leaks into it."""
    path = f"{ENVS / environment / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    return {"PATH": path, "LANG": "C.UTF-8", "HOME": extra.pop("HOME"), **extra}


def gateway(settings: DemoSettings, ports: Ports, kubeconfig: Path) -> Part:
    """The gateway, on its own ServiceAccount."""
    argv = [str(ENVS / "gateway" / "bin" / "jupyter-elasticgateway"), "--ip=127.0.0.1", f"--port={ports.gateway}"]
    env = _environment(
        "gateway",
        HOME=str(settings.state_dir),
        KUBECONFIG=str(kubeconfig),
        ELASTIC_NAMESPACE=NAMESPACE,
        ELASTIC_GATEWAY_NAME=GATEWAY_NAME,
        ELASTIC_IDLE_TIMEOUT=str(int(settings.idle_timeout.total_seconds())),
        JUPYTERHUB_API_URL=f"http://127.0.0.1:{ports.hub_api}/hub/api",
    )
    return Part("gateway", argv, env, settings.state_dir, f"http://127.0.0.1:{ports.gateway}/healthz")


def hub(settings: DemoSettings, ports: Ports, kubeconfig: Path, users: list[dict[str, str]], token: str) -> Part:
    """The Hub with its proxy and idle culler, on its own ServiceAccount."""
    state = settings.state_dir
    file = state / "hub.json"
    write_private(file, json.dumps(_hub_settings(settings, ports, users, token), indent=2))
    argv = [
        str(ENVS / "hub" / "bin" / "jupyterhub"),
        "-f",
        str(CHECKOUT / "hub_config" / "jupyterhub_config.py"),
    ]
    env = _environment("hub", HOME=str(state), KUBECONFIG=str(kubeconfig), ELASTIC_HUB_SETTINGS=str(file))
    return Part("hub", argv, env, state, f"http://127.0.0.1:{ports.hub}/hub/api")


def _hub_settings(settings: DemoSettings, ports: Ports, users: list[dict[str, str]], token: str) -> dict[str, Any]:
    return {
        "state_dir": str(settings.state_dir / "hub"),
        "namespace": NAMESPACE,
        "gateway_url": f"http://127.0.0.1:{ports.gateway}",
        "port": ports.hub,
        "proxy_api_port": ports.proxy_api,
        "hub_port": ports.hub_api,
        "users": {user["name"]: user["password"] for user in users},
        "admin_token": token,
        "cull_timeout": int(settings.cull_timeout.total_seconds()),
        "proxy_command": str(CHECKOUT / ".build" / "node" / "node_modules" / ".bin" / "configurable-http-proxy"),
    }
