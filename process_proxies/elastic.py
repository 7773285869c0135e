"""Enterprise Gateway's handle on one kernel, and nothing more.

Enterprise Gateway makes one for each start and asks it the questions it would ask a process. A start writes one
JupyterKernel and returns at once; there is no process to ask about, so every other answer comes from memory.
"""

from __future__ import annotations

from typing import Any

from enterprise_gateway.services.processproxies.processproxy import BaseProcessProxyABC

from process_proxies.broker.brokers import Brokers


class ElasticProcessProxy(BaseProcessProxyABC):  # type: ignore[misc]
    """Named in kernelspecs as ``metadata.process_proxy.class_name``."""

    def __init__(self, kernel_manager: Any, proxy_config: dict[str, Any]) -> None:
        """Called by Enterprise Gateway with exactly these keywords, at each start."""
        super().__init__(kernel_manager, proxy_config)
        self._brokers: Brokers = kernel_manager.parent.brokers

    async def launch_process(self, kernel_cmd: list[str], **kwargs: Any) -> ElasticProcessProxy:
        """Write the JupyterKernel; its pod comes with the first cell. Called once, by the start."""
        await super().launch_process(kernel_cmd, **kwargs)
        new = kwargs["new_kernel"]
        kernel = await self._brokers.kernels.create(new)
        self._brokers.kernel_changed(kernel)
        return self

    def poll(self) -> bool | None:
        """None while the kernel exists, in whatever phase. Asked by jupyter_client's shutdown only."""
        return None if self._brokers.get(self.kernel_manager.kernel_id) else False

    def wait(self) -> None:
        """There is no process to wait for."""

    def send_signal(self, signum: int) -> None:
        """Signals become messages of the broker; see the mapping manager."""

    def kill(self) -> None:
        """Ending is the mapping manager's, by the object."""

    def terminate(self) -> None:
        """Ending is the mapping manager's, by the object."""

    def cleanup(self) -> None:
        """Nothing was made here."""
