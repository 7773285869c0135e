"""The node: registers itself, keeps its lease, and runs every pod that is bound to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kernel_core.cluster.client import PODS, AlreadyExistsError, ApiError, Client, Resource, UnavailableError
from kernel_core.cluster.informer import Informer
from local_cluster.addresses import Slice
from local_cluster.node.container import now
from local_cluster.node.environment import CAPACITY
from local_cluster.node.events import Recorder
from local_cluster.node.images import Images
from local_cluster.node.logs import Log, LogServer
from local_cluster.node.network import ServiceNetwork
from local_cluster.node.pod import Node, PodRunner
from local_cluster.node.references import READABLE
from local_cluster.node.services import Address

log = logging.getLogger(__name__)

NODES = Resource("", "v1", "nodes")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
LEASE_NAMESPACE = "kube-node-lease"
LEASE_INTERVAL = 8.0
"""Seconds between two renewals; the control plane waits 40."""
GPU = "nvidia.com/gpu"
HOST = "127.0.0.1"
"""The node's own address."""


def gpus_of(pod: Mapping[str, Any]) -> int:
    """How many GPUs a pod's containers ask for."""
    limits = [(c.get("resources") or {}).get("limits") or {} for c in pod["spec"]["containers"]]
    return sum(int(limit.get(GPU, 0)) for limit in limits)


class NodeAgent:
    """One process node."""

    def __init__(
        self,
        client: Client,
        name: str,
        gpus: int,
        images: Images,
        addresses: Slice,
        directory: Path,
        shim: Path,
        api: Address,
        tls: ssl.SSLContext,
    ) -> None:
        """``api`` is where the API server listens, ``tls`` how it is let in to read logs."""
        self._client = client
        self.name = name
        self._gpus = gpus
        self._addresses = addresses
        self._dir = directory
        self._stack = AsyncExitStack()
        self.network = ServiceNetwork(client, lambda: self._pods.all(), api)
        self._node = Node(client, images, HOST, shim, self.network, Recorder(client, name))
        self._logs = LogServer(HOST, tls, self._log_of)
        self._watched = [self._follow(kind) for kind in ("secrets", "configmaps")]
        self._runners: dict[str, PodRunner] = {}
        self._devices: dict[str, set[int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pods: Informer[dict[str, Any]] = Informer(
            client, PODS, "", dict, selector={"fieldSelector": f"spec.nodeName={name}"}, key=namespaced
        )
        self._pods.on_change(self._seen)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _start(self) -> None:
        for part in (self._logs, self._node.events, self.network):
            await self._stack.enter_async_context(part)
        await self._register()
        self._stack.push_async_callback(self._stop)
        self._spawn(self._keep_lease())
        for informer in (*self._watched, self._pods):
            await informer.start(timedelta(seconds=30))

    def _follow(self, kind: str) -> Informer[dict[str, Any]]:
        """Tell the pods whose volumes show a Secret or ConfigMap that it has changed."""

        def changed(key: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
            namespace, name = key.split("/", 1)
            if after is not None:
                for runner in self._runners.values():
                    if runner.name.startswith(f"{namespace}/") and runner.mounts(kind, name):
                        runner.outdated()

        informer: Informer[dict[str, Any]] = Informer(self._client, READABLE[kind], "", _identity, key=namespaced)
        informer.on_change(changed)
        return informer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _stop(self) -> None:
        for informer in (self._pods, *self._watched):
            await informer.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(runner.stop(0) for runner in self._runners.values()))

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Node %s: %r", self.name, error, exc_info=error)

    async def _register(self) -> None:
        node = {
            "metadata": {
                "name": self.name,
                "labels": {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"},
            }
        }
        with contextlib.suppress(AlreadyExistsError):
            await self._client.create(NODES, "", node)
        capacity = {**CAPACITY, "pods": "500", GPU: str(self._gpus)}
        status = {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [{"type": "InternalIP", "address": HOST}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._logs.port}},
            "nodeInfo": {"kubeletVersion": "process-node", "operatingSystem": "linux", "architecture": "amd64"}
            | _BLANK,
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "ProcessNodeReady",
                    "message": "runs pods as processes",
                    "lastHeartbeatTime": now(),
                    "lastTransitionTime": now(),
                }
            ],
        }
        await self._client.patch(NODES, "", self.name, {"status": status}, subresource="status")

    async def _keep_lease(self) -> None:
        while True:
            renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            spec = {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": renewed}
            body = {"metadata": {"name": self.name, "namespace": LEASE_NAMESPACE}, "spec": spec}
            try:
                try:
                    await self._client.create(LEASES, LEASE_NAMESPACE, body)
                except AlreadyExistsError:
                    await self._client.patch(LEASES, LEASE_NAMESPACE, self.name, {"spec": spec})
            except (ApiError, UnavailableError) as error:
                log.warning("Node %s: lease not renewed: %s", self.name, error)
                await asyncio.sleep(1)
                continue
            await asyncio.sleep(LEASE_INTERVAL)

    def _seen(self, name: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        self.network.changed()
        pod = after or before
        assert pod is not None
        uid = pod["metadata"]["uid"]
        if before is not None and after is not None and before["metadata"]["uid"] != uid:
            self._spawn(self._end(before["metadata"]["uid"], before, 0, gone=True))
        if after is None:
            self._spawn(self._end(uid, pod, 0, gone=True))
        elif "deletionTimestamp" in pod["metadata"]:
            if before is None or "deletionTimestamp" not in before["metadata"]:
                grace = pod["metadata"].get("deletionGracePeriodSeconds", 30)
                self._spawn(self._end(uid, pod, grace, gone=False))
        elif uid not in self._runners and pod.get("status", {}).get("phase") in (None, "Pending"):
            self._begin(uid, pod)
        elif uid in self._runners:
            self._runners[uid].refresh(pod)

    def _begin(self, uid: str, pod: dict[str, Any]) -> None:
        ip = self._addresses.take({runner.ip for runner in self._runners.values()})
        directory = self._dir / "pods" / uid
        runner = PodRunner(self._node, pod, ip, directory, self._give_devices(uid, gpus_of(pod)))
        self._runners[uid] = runner
        runner.start()

    def _log_of(self, namespace: str, pod: str, container: str, previous: bool) -> Log | None:
        """Where the words of a container's present or previous run are, or None if there is no such run."""
        runner = next((r for r in self._runners.values() if r.name == f"{namespace}/{pod}"), None)
        keeper = runner.container(container) if runner is not None else None
        if runner is None or keeper is None or len(keeper.log_starts) <= previous:
            return None
        path, starts = runner.log_file(container), keeper.log_starts
        if previous:
            return Log(path, starts[0], starts[1], lambda: False)
        return Log(path, starts[-1], None, lambda: keeper.state.running and keeper.log_starts == starts)

    def _give_devices(self, uid: str, count: int) -> dict[str, str]:
        """What a device plugin would set: numbers of GPUs that nobody else has."""
        taken = set().union(*self._devices.values())
        mine = [n for n in range(self._gpus) if n not in taken][:count]
        if mine:
            self._devices[uid] = set(mine)
        return {"NVIDIA_VISIBLE_DEVICES": ",".join(map(str, mine)) if mine else "void"}

    async def _end(self, uid: str, pod: dict[str, Any], grace: float, *, gone: bool) -> None:
        runner = self._runners.get(uid)
        if runner is not None:
            await runner.stop(grace)
            self._runners.pop(uid, None)
            self._devices.pop(uid, None)
        if not gone:
            meta = pod["metadata"]
            for pause in (0.2, 1.0, 3.0, 10.0):
                try:
                    await self._client.delete(PODS, meta["namespace"], meta["name"], uid=uid, grace=timedelta(0))
                except (ApiError, UnavailableError) as error:
                    log.warning("Pod %s was not removed, trying again: %s", meta["name"], error)
                    await asyncio.sleep(pause)
                else:
                    return


def _identity(item: Mapping[str, Any]) -> dict[str, Any]:
    """All that is kept of a Secret or ConfigMap: which version there is."""
    return {"version": item["metadata"]["resourceVersion"]}


def namespaced(item: Mapping[str, Any]) -> str:
    """Namespace and name of an object, for copies of more than one namespace."""
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


_BLANK = dict.fromkeys(
    ("bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "machineID", "osImage", "systemUUID"), ""
)
