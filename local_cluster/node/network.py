"""Services on this node: follows them, forwards their connections, and keeps the pods' hosts files true."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from kernel_core.cluster.client import Client, Resource
from kernel_core.cluster.informer import Informer
from local_cluster.node import services
from local_cluster.node.forwarder import Forwarder
from local_cluster.node.hosts import MACHINE, HostsFile, write_in_place
from local_cluster.node.services import Address

log = logging.getLogger(__name__)

SERVICES = Resource("", "v1", "services")
GATHER = 0.02
"""Seconds in which changes are gathered."""
RETRY = 2.0
"""Seconds after which an address that somebody else holds is tried again."""


class ServiceNetwork:
    """What kube-proxy and the cluster's DNS would do."""

    def __init__(self, client: Client, pods: Callable[[], list[dict[str, Any]]], api: Address) -> None:
        """``pods`` gives all pods as they are known now; ``api`` is where the API server listens."""
        self._pods = pods
        self._api = api
        self._forwarders: dict[Address, Forwarder] = {}
        self._ending: list[Forwarder] = []
        self._hosts: dict[str, HostsFile] = {}
        self._machine = ""
        self._dirty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._services: Informer[dict[str, Any]] = Informer(
            client, SERVICES, "", dict, key=lambda item: "/".join(services.identity(item))
        )
        self._services.on_change(lambda *_: self.changed())

    async def __aenter__(self) -> Self:
        self._machine = await asyncio.to_thread(_machine_hosts)
        await self._services.start(timedelta(seconds=30))
        self._task = asyncio.create_task(self._follow(), name="services")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._services.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*(f.stop() for f in [*self._forwarders.values(), *self._ending]))
        self._forwarders.clear()
        self._ending.clear()

    def changed(self) -> None:
        """A pod or a Service is not what it was."""
        self._dirty.set()

    def environment(self, pod: dict[str, Any]) -> dict[str, str]:
        """The variables of the Services that a pod's containers get."""
        return services.variables(self._services.all(), pod, self._api)

    def add(self, uid: str, file: HostsFile) -> None:
        """Keep a pod's hosts file from now on; it is there when this returns."""
        self._hosts[uid] = file
        self._write(file, {})

    def remove(self, uid: str) -> None:
        """Keep it no longer."""
        self._hosts.pop(uid, None)

    def _write(self, file: HostsFile, lines: dict[str, list[str]]) -> None:
        if file.namespace not in lines:
            lines[file.namespace] = services.host_lines(self._services.all(), self._pods(), file.namespace)
        write_in_place(file.path, file.text(lines[file.namespace], self._machine))

    async def _follow(self) -> None:
        retry = False
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY if retry else None):
                    await self._dirty.wait()
            await asyncio.sleep(GATHER)
            self._dirty.clear()
            try:
                retry = not await self._apply()
            except Exception:  # one odd Service must not end the others; it is logged and tried again
                log.exception("Services could not be brought up to date")
                retry = True

    async def _apply(self) -> bool:
        """Bring forwarders and files up to date; False if an address could not be had."""
        wanted = services.routes(self._services.all(), self._pods(), self._api)
        for address in [known for known in self._forwarders if known not in wanted]:
            forwarder = self._forwarders.pop(address)
            await forwarder.serve(())
            self._ending.append(forwarder)  # open connections end when their pods do
        self._ending = [forwarder for forwarder in self._ending if not forwarder.idle]
        good = True
        for address, endpoints in wanted.items():
            forwarder = self._forwarders.setdefault(address, Forwarder(address))
            good &= await forwarder.serve(endpoints)
        lines: dict[str, list[str]] = {}
        for file in list(self._hosts.values()):
            self._write(file, lines)
        return good


def _machine_hosts() -> str:
    try:
        return MACHINE.read_text()
    except OSError:
        return ""
