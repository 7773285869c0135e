"""The demo's own processes beside the cluster: the gateway and the Hub, kept running.

A part is restarted when it ends unasked, as a Deployment would do; its process id lies in ``run/<name>.pid``
and its words in ``logs/<name>.log``. It dies with the demo, however the demo ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from local_cluster.demo.settings import NAMESPACE, DemoSettings

CHECKOUT = Path(__file__).parents[2]
ENVS = CHECKOUT / ".build" / "envs"
GATEWAY_NAME = "elastic-gateway"
START_LIMIT = 60.0
"""Seconds within which a part must answer."""
STOP_LIMIT = 15.0
"""Seconds from SIGTERM to SIGKILL."""
RESTART_PAUSE = 0.5
"""Seconds between the end of a part and its next start."""


class PartError(RuntimeError):
    """A part that did not start; the message names it and its log."""


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
        self._argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
        self._env = env
        self._log = state_dir / "logs" / f"{name}.log"
        self._pid_file = state_dir / "run" / f"{name}.pid"
        self._cwd = state_dir
        self._ready_url = ready_url
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._start()
        try:
            await self._answers()
        except BaseException:
            await self._end()
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
        await self._end()

    async def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                env=self._env,
                cwd=self._cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._pid_file.write_text(str(self._process.pid))

    async def _answers(self) -> None:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            try:
                async with asyncio.timeout(START_LIMIT):
                    while not await self._answers_now(http):
                        await asyncio.sleep(0.1)
            except TimeoutError:
                raise PartError(
                    f"The {self.name} did not answer {self._ready_url} within {START_LIMIT:.0f} s. Its log: {self._log}"
                ) from None

    async def _answers_now(self, http: aiohttp.ClientSession) -> bool:
        assert self._process is not None
        if self._process.returncode is not None:
            tail = self._log.read_text(errors="replace")[-2000:]
            raise PartError(f"The {self.name} ended with {self._process.returncode}. Its log, {self._log}:\n{tail}")
        try:
            async with http.get(self._ready_url) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _keep(self) -> None:
        while True:
            assert self._process is not None
            await self._process.wait()
            await asyncio.sleep(RESTART_PAUSE)
            await self._start()

    async def _end(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_LIMIT):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()


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
    from local_cluster.demo.stack import write_private

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


def _hub_settings(
    settings: DemoSettings, ports: Ports, users: list[dict[str, str]], token: str
) -> dict[str, Any]:
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
