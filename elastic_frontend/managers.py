"""Kernels and sessions of the user server, found again after its restart and kept at its end.

The gateway lists only what belongs to this user and server, so whatever it lists is ours. No answer is never taken
for "gone".
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from jupyter_server.gateway.gateway_client import gateway_request
from jupyter_server.gateway.managers import GatewayMappingKernelManager, GatewaySessionManager
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.escape import json_decode, url_escape
from traitlets import Float


class ElasticMappingKernelManager(GatewayMappingKernelManager):
    """The server's kernels."""

    shutdown_limit = Float(
        2.0, config=True, help="Seconds that the server's end may take to have its idle kernels suspended. Default 2."
    )

    async def adopt(self, model: Mapping[str, Any]) -> None:
        """Take a kernel that the gateway has for us among ours."""
        kernel_id = str(model["id"])
        kernel = self.kernel_manager_factory(parent=self, log=self.log)
        kernel.kernel_id = kernel_id
        kernel.kernel_name = model["name"]
        kernel.kernel_url = url_path_join(self.kernels_url, url_escape(kernel_id))
        await kernel.refresh_model(dict(model))
        self._kernels[kernel_id] = kernel
        self.log.info("Kernel %s found at the gateway", kernel_id)

    async def list_kernels(self, **kwargs: Any) -> list[dict[str, Any]]:
        """All of ours; as last seen while the gateway does not answer."""
        try:
            response = await gateway_request(self.kernels_url, method="GET")
        except (web.HTTPError, OSError, TimeoutError) as error:
            self.log.info("The gateway does not list kernels now: %s", error)
            return [kernel.kernel for kernel in self._kernels.values() if kernel.kernel]
        models = json_decode(response.body)
        for model in models:
            if model["id"] in self._kernels:
                await self._kernels[model["id"]].refresh_model(model)
            else:
                await self.adopt(model)
        present = {model["id"] for model in models}
        for kernel_id in [k for k in self._kernels if k not in present]:
            await self.find(kernel_id)
        return [model for model in models if model["id"] in self._kernels]

    async def find(self, kernel_id: str) -> bool:
        """Whether the gateway has this kernel for us. Raises 503 when it cannot say."""
        url = url_path_join(self.kernels_url, url_escape(kernel_id))
        try:
            response = await gateway_request(url, method="GET")
        except web.HTTPError as error:
            if error.status_code == 404:
                self.remove_kernel(kernel_id)
                return False
            raise web.HTTPError(503, f"The gateway cannot be asked for kernel {kernel_id} now.") from error
        except (OSError, TimeoutError) as error:
            raise web.HTTPError(503, f"The gateway cannot be asked for kernel {kernel_id} now.") from error
        if kernel_id not in self._kernels:
            await self.adopt(json_decode(response.body))
        return True

    async def shutdown_all(self, now: bool = False) -> None:
        """The server ends: its idle kernels are suspended at once, busy ones go on, none is deleted."""
        try:
            async with asyncio.timeout(self.shutdown_limit):
                await asyncio.gather(*(self._suspend(kernel_id) for kernel_id in list(self._kernels)))
        except TimeoutError:
            self.log.warning("Not all kernels were asked to suspend within %.0f s", self.shutdown_limit)

    async def _suspend(self, kernel_id: str) -> None:
        url = url_path_join(self.kernels_url, url_escape(kernel_id), "suspend")
        try:
            await gateway_request(url, method="POST", headers={"Content-Type": "application/json"}, body="{}")
        except web.HTTPError as error:
            self.log.info("Kernel %s goes on: %s", kernel_id, error)
        except OSError as error:
            self.log.info("Kernel %s was not asked to suspend: %s", kernel_id, error)


class ElasticSessionManager(GatewaySessionManager):
    """Which notebook has which kernel."""

    async def kernel_culled(self, kernel_id: str) -> bool:
        """Whether a session's kernel is gone for good: asked at the gateway if this server does not know it."""
        manager = self.kernel_manager
        if kernel_id in manager:
            return False
        return not await manager.find(kernel_id)
