"""A whole cluster as one object: control plane and node start together and end together.

All of it runs in processes of its own, so the owner's event loop may be busy, blocked or ended without the node
missing a heartbeat. ``kill -9`` of the owner ends every process: each is told by the kernel.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local_cluster.access import Access
from local_cluster.api import Api, ApiError, ApiUnavailable
from local_cluster.control_plane.binaries import Binaries
from local_cluster.control_plane.build import ensure
from local_cluster.control_plane.start import ADMIN, LOOK, READY_LIMIT, ControlPlane
from local_cluster.directory import Directory
from local_cluster.errors import ComponentError
from local_cluster.kubeconfig import kubeconfig, write_kubeconfig, write_private
from local_cluster.node.settings import NodeSettings
from local_cluster.processes import Component
from local_cluster.slices import SliceLock

NODE_NAME = "local"
STOP_LIMIT = timedelta(seconds=5)
"""How long the node may take to end its pods before it is killed with them."""
LOOK_AFTER = 0.5
"""Seconds between two looks at whether all processes still run."""


class LocalCluster:
    """``async with LocalCluster(directory, gpus=4) as cluster``: a cluster that is ready, and gone afterwards."""

    def __init__(
        self,
        directory: Path | str,
        *,
        gpus: int = 0,
        images: Mapping[str, Any] | None = None,
        cpus: int = 64,
        memory: str = "256Gi",
        resources: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        addresses: Sequence[str] | None = None,
    ) -> None:
        """Nothing happens yet.

        `images` maps image name patterns to what stands in for them (see `images.ImageMap`). `cpus` and `memory`
        are what the node promises to the scheduler: by default more than the machine has, as processes share it.
        `addresses` are the only ones pods get (a test gives a dead pod's address to the next pod so).
        """
        self.directory = Path(directory).absolute()
        self._gpus = gpus
        self._images = dict(images or {})
        self._promises = {"cpu": str(cpus), "memory": memory, "pods": "1000", **(resources or {})}
        if gpus:
            self._promises["nvidia.com/gpu"] = str(gpus)
        self._labels = dict(labels or {})
        self._addresses = list(addresses or [])
        self._held = Directory(self.directory)
        self._slice = SliceLock()
        self._control_plane: ControlPlane | None = None
        self._node: Component | None = None
        self._access: Access | None = None

    @property
    def access(self) -> Access:
        """The cluster seen from outside; raises RuntimeError before it has started."""
        if self._access is None:
            raise RuntimeError("The local cluster has not started.")
        return self._access

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.access.kubeconfig

    @property
    def kubectl(self) -> list[str]:
        """The argument prefix of kubectl, kubeconfig included."""
        return self.access.kubectl

    async def service_account(self, namespace: str, name: str, rules: Sequence[Mapping[str, Any]] = ()) -> Path:
        """A kubeconfig for a ServiceAccount with a Role of these rules in its namespace; see `Access`."""
        return await self.access.service_account(namespace, name, rules)

    def give_next(self, *addresses: str) -> None:
        """Let the next pods have these addresses, if they are free then; for tests of reused addresses."""
        write_private(self.directory / "node" / "next-addresses", "\n".join(addresses) + "\n")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything; returns when a pod could be created and would run."""
        binaries = await asyncio.to_thread(ensure, os.environ)
        await asyncio.to_thread(self._held.open)
        try:
            plane = ControlPlane(self.directory, binaries, self._slice.take(), NODE_NAME)
            self._control_plane = plane
            await plane.start(on_api=lambda: self._start_node(plane))
            self._access = self._write_access(plane, binaries)
            await self._node_ready(plane)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all processes; safe to call twice, and after a failed start."""
        await asyncio.shield(asyncio.to_thread(self._stop))

    async def watch(self) -> None:
        """Return never, unless a process ends: then raise ComponentError with the end of its log."""
        while True:
            self.check()
            await asyncio.sleep(LOOK_AFTER)

    def check(self) -> None:
        """Raise ComponentError if a process has ended."""
        if self._control_plane is not None:
            self._control_plane.check()
        if self._node is not None:
            self._node.check()

    def _stop(self) -> None:
        if self._node is not None:
            self._node.terminate()
            if not self._node.wait(STOP_LIMIT):
                self._node.kill()
                self._node.wait(STOP_LIMIT)
            self._node = None
        if self._control_plane is not None:
            self._control_plane.kill()
            self._control_plane.wait(STOP_LIMIT)
            self._control_plane = None
        self._slice.close()
        self._held.close()

    def _start_node(self, plane: ControlPlane) -> None:
        settings = NodeSettings(
            name=NODE_NAME,
            directory=self.directory / "node",
            slice=plane.layout.slice.number,
            api_port=plane.layout.api_port,
            promises=self._promises,
            labels=self._labels,
            images=self._images,
            addresses=self._addresses,
        )
        write_kubeconfig(
            settings.kubeconfig,
            kubeconfig(plane.layout.server, plane.node.ca, plane.node_token, f"system:node:{NODE_NAME}"),
        )
        write_kubeconfig(
            settings.admin_kubeconfig,
            kubeconfig(plane.layout.server, plane.admin.ca, plane.admin_token, ADMIN),
        )
        file = settings.directory / "settings.json"
        write_private(file, json.dumps(settings.as_json(), indent=1))
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(settings.directory), "LANG": "C.UTF-8"}
        self._node = Component(
            "node",
            [sys.executable, "-m", "local_cluster.node", str(file)],
            self.directory / "logs" / "node.log",
            {**env, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=settings.directory,
        )
        self._node.start()

    def _write_access(self, plane: ControlPlane, binaries: Binaries) -> Access:
        path = self.directory / "kubeconfig"
        write_kubeconfig(path, kubeconfig(plane.layout.server, plane.admin.ca, plane.admin_token, ADMIN))
        return Access(path, binaries.argv("kubectl", f"--kubeconfig={path}"))

    async def _node_ready(self, plane: ControlPlane) -> None:
        node = self._node
        assert node is not None
        async with Api(plane.admin) as api:
            try:
                async with asyncio.timeout(READY_LIMIT.total_seconds()):
                    while not await _is_ready(api):
                        self.check()
                        await asyncio.sleep(LOOK)
            except TimeoutError:
                raise ComponentError(
                    f"The node was not ready within {READY_LIMIT.total_seconds():.0f} s.\n{node.tail()}"
                ) from None


async def _is_ready(api: Api) -> bool:
    """Whether the scheduler would use the node: it reports Ready and its start-up taint is gone."""
    try:
        node = await api.get(f"/api/v1/nodes/{NODE_NAME}")
    except (ApiError, ApiUnavailable):
        return False
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node.get("status", {}).get("conditions", []))
    return ready and not node["spec"].get("taints")
