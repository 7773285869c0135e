"""Enterprise Gateway's managers with the broker in the place of a process.

What the stock managers hang on a kernel (a restarter's timer, an activity socket, a control socket, a connection
file, thirteen links) costs 100 KB, two descriptors and a fifth of a core at 10,000 kernels, and leaks the manager
when the kernel is deleted. A manager of ours lives for one start; what a kernel is stands in its broker.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from enterprise_gateway.services.kernels.remotemanager import RemoteKernelManager, RemoteMappingKernelManager
from tornado import web

from kernel_core.kernel import Owner
from process_proxies.broker.broker import Broker
from process_proxies.broker.brokers import Brokers

DATE = "%Y-%m-%dT%H:%M:%S.%fZ"


class ElasticKernelManager(RemoteKernelManager):  # type: ignore[misc]
    """The manager of one start. No socket, file or timer comes of it."""

    def start_restarter(self) -> None:
        """Restarts are the controller's; the stock one looks at each kernel every 3 s."""

    def stop_restarter(self) -> None:
        """There is none."""

    def post_start_kernel(self, **kwargs: Any) -> None:
        """The stock one connects a control socket."""

    def write_connection_file(self) -> None:
        """The connection file is in the incarnation's Secret."""
        self.shell_port = self.iopub_port = self.stdin_port = self.hb_port = self.control_port = 1

    def _link_dependent_props(self) -> None:
        """The stock one links thirteen traits to the app, and the links keep every deleted manager alive."""


def kernel_model(broker: Broker) -> dict[str, Any]:
    """A kernel as Jupyter's REST API has it; ``elastic`` is ours."""
    kernel = broker.kernel
    activity = broker.last_activity.astimezone(UTC)
    return {
        "id": kernel.name,
        "name": kernel.kernelspec_name,
        "last_activity": activity.strftime(DATE),
        "execution_state": broker.execution_state,
        "connections": broker.connections,
        "elastic": {
            "phase": kernel.status.phase.value,
            "reason": str(kernel.status.reason),
            "incarnation": kernel.status.incarnation,
            "server": kernel.owner.server,
        },
    }


class ElasticMappingKernelManager(RemoteMappingKernelManager):  # type: ignore[misc]
    """Kernels by id, read from their brokers; every act on one goes through its broker or its object."""

    brokers: Brokers

    def _kernel_manager_class_default(self) -> str:
        return f"{__name__}.{ElasticKernelManager.__name__}"

    # --- reading -----------------------------------------------------------------------------------

    def __contains__(self, kernel_id: object) -> bool:
        return self.brokers.get(str(kernel_id)) is not None

    def __len__(self) -> int:
        return len(self.brokers.all())

    def list_kernel_ids(self) -> list[str]:
        """All ids; for owners' lists see ``kernels_of``."""
        return [broker.id for broker in self.brokers.all()]

    def kernels_of(self, owner: Owner) -> list[dict[str, Any]]:
        """The models of one owner's kernels."""
        return [kernel_model(broker) for broker in self.brokers.all() if broker.kernel.owner == owner]

    def owned(self, kernel_id: str, owner: Owner) -> Broker:
        """A kernel's broker. Raises 503 when unsure, 404 for another's kernel and for none alike."""
        if not self.brokers.controller.synced:
            raise web.HTTPError(503, "Kernels are not known yet; try again in a moment.")
        broker = self.brokers.get(kernel_id)
        if broker is None or broker.kernel.owner != owner:
            raise web.HTTPError(404, f"Kernel does not exist: {kernel_id}")
        return broker

    def check_kernel_id(self, kernel_id: str) -> None:
        """Called by stock code; our handlers ask ``owned``."""
        if kernel_id not in self:
            raise web.HTTPError(404, f"Kernel does not exist: {kernel_id}")

    def kernel_model(self, kernel_id: str) -> dict[str, Any]:
        """One model."""
        self.check_kernel_id(kernel_id)
        broker = self.brokers.get(kernel_id)
        assert broker is not None
        return kernel_model(broker)

    def list_kernels(self) -> list[dict[str, Any]]:
        """All models, of all owners; never given to a client."""
        return [kernel_model(broker) for broker in self.brokers.all()]

    # --- acting ------------------------------------------------------------------------------------

    async def start_kernel(self, *, kernel_name: str, **kwargs: Any) -> str:
        """Start by Enterprise Gateway's own path, through the process proxy that the kernelspec names."""
        new = kwargs["new_kernel"]
        manager = self.kernel_manager_factory(
            connection_file=f"{self.connection_dir}/kernel-{new.id}.json",
            parent=self,
            log=self.log,
            kernel_name=kernel_name,
            kernel_spec_manager=self.kernel_spec_manager,
        )
        manager.kernel_id = new.id
        await manager.start_kernel(env={"KERNEL_ID": new.id, "KERNEL_USERNAME": new.owner.user}, new_kernel=new)
        return str(new.id)

    async def interrupt_kernel(self, kernel_id: str) -> None:
        """By the broker: jupyter_client's own would open a socket that leaks."""
        await self._broker(kernel_id).interrupt()

    async def restart_kernel(self, kernel_id: str, now: bool = False) -> None:
        """By the broker."""
        await self._broker(kernel_id).restart()

    async def shutdown_kernel(self, kernel_id: str, now: bool = False, restart: bool = False) -> None:
        """Delete the object; pod and Secrets go with it."""
        await self.brokers.kernels.delete(kernel_id)

    def remove_kernel(self, kernel_id: str) -> None:
        """Kernels are removed with their objects."""

    def cull_kernels(self) -> None:
        """Idle time is the controller's."""

    def start_watching_activity(self, kernel_id: str) -> None:
        """Activity is the broker's."""

    def _broker(self, kernel_id: str) -> Broker:
        broker = self.brokers.get(kernel_id)
        if broker is None:
            raise web.HTTPError(404, f"Kernel does not exist: {kernel_id}")
        return broker
