"""The kernels of one gateway, and the writer of what is wanted of them.

Whoever wants something of a kernel writes its spec here; status is the controller's alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from kernel_core.cluster.client import SECRETS, Client, custom
from kernel_core.cluster.informer import Informer
from kernel_core.kernel import Kernel, OperatingMode, Owner, Phase, Reason, parse_kernel
from kernel_core.manifests import ConnectionInfo
from kernel_core.names import API_VERSION, KERNELS, secret_name

KERNEL_RESOURCE = custom(KERNELS)


@dataclass(frozen=True, slots=True)
class NewKernel:
    """What a new kernel is made of."""

    id: str
    owner: Owner
    kernelspec: str
    size: str = ""
    working_dir: str = ""
    idle_timeout: timedelta | None = None
    retention: timedelta | None = None

    def manifest(self, namespace: str, manager: str) -> dict[str, Any]:
        """The JupyterKernel object: suspended, since nobody ran anything yet."""
        spec: dict[str, Any] = {
            "owner": {"user": self.owner.user, "server": self.owner.server},
            "managedBy": manager,
            "kernelSpec": self.kernelspec,
            "size": self.size,
            "operatingMode": OperatingMode.SUSPENDED.value,
            "runRequest": 0,
        }
        if self.working_dir:
            spec["workingDir"] = self.working_dir
        if self.idle_timeout is not None:
            spec["idleTimeoutSeconds"] = max(1, int(self.idle_timeout.total_seconds()))
        if self.retention is not None:
            spec["retentionSeconds"] = max(1, int(self.retention.total_seconds()))
        return {
            "apiVersion": API_VERSION,
            "kind": "JupyterKernel",
            "metadata": {"name": self.id, "namespace": namespace},
            "spec": spec,
        }


class Kernels:
    """Reads from the informer's copy, writes to the API server."""

    def __init__(self, client: Client, namespace: str, manager: str) -> None:
        self._client = client
        self.namespace = namespace
        self.manager = manager
        self.informer: Informer[Kernel] = Informer(
            client, KERNEL_RESOURCE, namespace, parse_kernel, selector={"fieldSelector": f"spec.managedBy={manager}"}
        )

    @property
    def synced(self) -> bool:
        """Whether all kernels are known."""
        return self.informer.synced

    def get(self, name: str) -> Kernel | None:
        """A kernel as last seen."""
        return self.informer.get(name)

    def all(self) -> Iterable[Kernel]:
        """All kernels of this gateway."""
        return self.informer.all()

    async def create(self, new: NewKernel) -> Kernel:
        """Write a new kernel. Raises AlreadyExistsError if its id is taken."""
        item = await self._client.create(KERNEL_RESOURCE, self.namespace, new.manifest(self.namespace, self.manager))
        self.informer.learn(item)
        return parse_kernel(item)

    async def wake(self, name: str) -> Kernel:
        """Ask for a pod; after a failure this asks for a new life."""
        kernel = await self._fresh(name)
        spec: dict[str, Any] = {"operatingMode": OperatingMode.RUNNING.value, "suspendReason": None}
        if kernel.status.phase is Phase.FAILED or kernel.status.ending:
            spec["runRequest"] = kernel.status.observed_run_request + 1
        elif kernel.operating_mode is OperatingMode.RUNNING:
            return kernel
        return await self._write(name, spec)

    async def suspend(self, name: str, reason: Reason) -> Kernel:
        """Ask to give the pod back."""
        return await self._write(name, {"operatingMode": OperatingMode.SUSPENDED.value, "suspendReason": reason.value})

    async def restart(self, name: str) -> Kernel:
        """Ask for a new life of a running kernel."""
        kernel = await self._fresh(name)
        request = max(kernel.run_request, kernel.status.observed_run_request) + 1
        spec = {"operatingMode": OperatingMode.RUNNING.value, "suspendReason": None, "runRequest": request}
        return await self._write(name, spec)

    async def delete(self, name: str) -> None:
        """End a kernel for good; its pod and Secrets go with it."""
        await self._client.delete(KERNEL_RESOURCE, self.namespace, name)
        self.informer.forget(name)

    async def connection(self, kernel: Kernel) -> ConnectionInfo:
        """Where the current incarnation listens, and its key."""
        name = secret_name(kernel.name, kernel.status.incarnation)
        return ConnectionInfo.from_secret(await self._client.get(SECRETS, self.namespace, name))

    async def _fresh(self, name: str) -> Kernel:
        kernel = self.informer.get(name)
        if kernel is None:
            kernel = parse_kernel(await self._client.get(KERNEL_RESOURCE, self.namespace, name))
        return kernel

    async def _write(self, name: str, spec: dict[str, Any]) -> Kernel:
        item = await self._client.patch(KERNEL_RESOURCE, self.namespace, name, {"spec": spec})
        self.informer.learn(item)
        return parse_kernel(item)
