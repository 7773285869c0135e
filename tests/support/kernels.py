"""Kernels without Jupyter: hosts with one behaviour each, and a record of what was seen on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from kernel_core.cluster.client import PODS, Client, Resource, UnavailableError
from kernel_core.cluster.controller import KernelController
from kernel_core.cluster.store import KERNEL_RESOURCE
from kernel_core.kernel import ExecutionState, Kernel, Phase, Status, parse_status
from tests.support.edges import may_follow


class HostThatAnswersAtOnce:
    """Its kernels answer as soon as they have an address, and are idle from then on."""

    def __init__(self) -> None:
        self.controller: KernelController
        self.gone: list[str] = []
        self.stopped: list[tuple[str, int]] = []
        self.allows_suspension = True

    def kernel_changed(self, kernel: Kernel) -> None:
        """Answer once the pod has an address."""
        status = kernel.status
        if status.pod_ip and status.phase in (Phase.STARTING, Phase.RUNNING):
            self.controller.report_answered(kernel.name, status.incarnation)
            if not status.execution_state or status.execution_state == ExecutionState.BUSY:
                self.controller.report_activity(kernel.name, status.incarnation, ExecutionState.IDLE, datetime.now(UTC))

    def kernel_gone(self, name: str) -> None:
        """Remember it."""
        self.gone.append(name)

    def prepare_suspend(self, name: str, incarnation: int) -> bool:
        """As the test says."""
        return self.allows_suspension

    def in_use(self, name: str) -> bool:
        """No notebook is open."""
        return False

    async def stop_kernel(self, kernel: Kernel, limit: timedelta) -> None:
        """Remember who was asked; these processes end by SIGTERM."""
        self.stopped.append((kernel.name, kernel.status.incarnation))


class HostWhoseKernelsNeverAnswer(HostThatAnswersAtOnce):
    """Pods run, and nobody speaks."""

    def kernel_changed(self, kernel: Kernel) -> None:
        """Say nothing."""


class ClientThatCountsWrites(Client):
    """Counts requests that change something."""

    def __init__(self, kubeconfig: str) -> None:
        super().__init__(kubeconfig)
        self.writes: list[str] = []

    async def request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """One call."""
        if method != "GET":
            self.writes.append(f"{method} {path}")
        return await super().request(method, path, **arguments)


class ClientThatStopsBeforeThePod(Client):
    """Hangs where the pod would be made, until its controller is ended."""

    def __init__(self, kubeconfig: str) -> None:
        super().__init__(kubeconfig)
        self.reached = asyncio.Event()

    async def create(self, resource: Resource, namespace: str, item: Mapping[str, Any]) -> dict[str, Any]:
        """Create, but never a pod."""
        if resource == PODS:
            self.reached.set()
            await asyncio.get_running_loop().create_future()
        return await super().create(resource, namespace, item)


class ClientThatLosesTheAnswer(Client):
    """The first pod is made, and its maker never hears of it."""

    lost = False

    async def create(self, resource: Resource, namespace: str, item: Mapping[str, Any]) -> dict[str, Any]:
        """Create, and fail after the first pod."""
        made = await super().create(resource, namespace, item)
        if resource == PODS and not self.lost:
            self.lost = True
            raise UnavailableError("the connection broke after the request was sent")
        return made


@asynccontextmanager
async def running_controller(
    kubeconfig: Path, namespace: str, host: HostThatAnswersAtOnce, client: type[Client] = Client
) -> AsyncIterator[KernelController]:
    """A controller of the manager ``gw`` for the length of a block."""
    async with client(str(kubeconfig)) as connection:
        controller = KernelController(connection, namespace, "gw", host)
        host.controller = controller
        try:
            await controller.start()
            yield controller
        finally:
            await controller.stop()


class Record:
    """Everything that a watch tells of a namespace's kernels and pods."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self.statuses: dict[str, list[Status]] = {}
        self.pods_made: list[dict[str, Any]] = []
        self.most_pods = 0
        self._standing: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Record:
        for resource in (KERNEL_RESOURCE, PODS):
            version = (await self._client.list(resource, self._namespace, {}))["metadata"]["resourceVersion"]
            self._tasks.append(asyncio.create_task(self._follow(resource, version)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _follow(self, resource: Resource, version: str) -> None:
        async for event in self._client.watch(resource, self._namespace, {}, version):
            item = event["object"]
            if event["type"] == "BOOKMARK":
                continue
            if resource == PODS:
                self._pod(event["type"], item)
            elif item.get("status"):
                self.statuses.setdefault(item["metadata"]["name"], []).append(parse_status(item["status"]))

    def _pod(self, kind: str, item: dict[str, Any]) -> None:
        name = item["metadata"]["name"]
        if kind == "ADDED":
            self.pods_made.append(item)
        (self._standing.discard if kind == "DELETED" else self._standing.add)(name)
        self.most_pods = max(self.most_pods, len(self._standing))

    def phases(self, name: str) -> list[Phase]:
        """The phases of a kernel in the order in which they were seen, each once."""
        seen = [status.phase for status in self.statuses.get(name, [])]
        return [phase for index, phase in enumerate(seen) if not index or seen[index - 1] is not phase]

    def check(self) -> None:
        """Only edges that the design allows."""
        for name, statuses in self.statuses.items():
            for before, after in pairwise(statuses):
                assert may_follow(before, after), f"{name}: {before} -> {after}"
