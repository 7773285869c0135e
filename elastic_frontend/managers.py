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
from tornado.escape import url_escape
from traitlets import Float

from elastic_frontend.asking import NotThereError, UnsureError, ask
from elastic_frontend.kernelspecs import UNAVAILABLE
from elastic_frontend.parking import Parking


class ElasticMappingKernelManager(GatewayMappingKernelManager):
    """The server's kernels."""

    ask_limit = Float(10.0, config=True, help="Seconds that the gateway has to answer a question. Default 10.")
    shutdown_limit = Float(
        2.0, config=True, help="Seconds that the server's end may take to have its idle kernels suspended. Default 2."
    )
    busy_check_interval = Float(
        20.0, config=True, help="Seconds between two looks for busy kernels, which keep the server alive. Default 20."
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parking = Parking()
        self.answered = False
        """Whether the gateway has ever said which kernels are ours."""

    def _url(self, kernel_id: str) -> str:
        return str(url_path_join(self.kernels_url, url_escape(kernel_id)))

    async def adopt(self, model: Mapping[str, Any]) -> None:
        """Take a kernel that the gateway has for us among ours."""
        kernel_id = str(model["id"])
        kernel = self.kernel_manager_factory(parent=self, log=self.log)
        kernel.kernel_id = kernel_id
        kernel.kernel_name = model["name"]
        kernel.kernel_url = self._url(kernel_id)
        await kernel.refresh_model(dict(model))
        self._kernels[kernel_id] = kernel
        self.log.info("Kernel %s found at the gateway", kernel_id)

    async def start_kernel(self, *, kernel_id: str | None = None, path: str | None = None, **kwargs: Any) -> str:
        """A new kernel; or, if an id is given, the kernel that has it."""
        if kwargs.get("kernel_name") == UNAVAILABLE:
            raise web.HTTPError(503, "There are no kernels now. Choose one when the launcher offers them again.")
        if kernel_id is not None:
            if not await self.find(kernel_id):
                raise web.HTTPError(404, f"Kernel does not exist: {kernel_id}")
            return kernel_id
        return str(await super().start_kernel(path=path, **kwargs))

    async def kernel_model(self, kernel_id: str) -> dict[str, Any]:
        """A kernel as last seen; one that this server does not know yet is asked for."""
        if str(kernel_id) not in self._kernels:
            await self.find(str(kernel_id))
        model: dict[str, Any] = await super().kernel_model(kernel_id)
        return model

    async def list_kernels(self, **kwargs: Any) -> list[dict[str, Any]]:
        """All of ours; as last seen while the gateway does not answer."""
        try:
            return await self.look()
        except UnsureError as error:
            self.log.info("Kernels are shown as last seen: %s", error)
            return [kernel.kernel for kernel in self._kernels.values() if kernel.kernel]

    async def look(self) -> list[dict[str, Any]]:
        """All that the gateway has for us. Raises UnsureError when it cannot say."""
        known = list(self._kernels)
        try:
            models = {str(model["id"]): model for model in await ask(self.kernels_url, limit=self.ask_limit)}
        except (NotThereError, LookupError, TypeError) as error:
            raise UnsureError("the gateway does not list kernels") from error
        self.answered = True
        for kernel_id, model in models.items():
            if kernel_id in self._kernels:
                await self._kernels[kernel_id].refresh_model(model)
            else:
                await self.adopt(model)
        for kernel_id in known:  # not those started since the gateway was asked
            if kernel_id not in models and kernel_id in self._kernels:
                await self._look_again(kernel_id)
        return [kernel.kernel for kernel in self._kernels.values() if kernel.kernel]

    async def _look_again(self, kernel_id: str) -> None:
        try:
            await self._kernels[kernel_id].refresh_model(await ask(self._url(kernel_id), limit=self.ask_limit))
        except NotThereError:
            self.log.info("Kernel %s is no more", kernel_id)
            self.remove_kernel(kernel_id)
        except UnsureError as error:
            self.log.info("Kernel %s is kept as last seen: %s", kernel_id, error)

    async def find(self, kernel_id: str) -> bool:
        """Whether the gateway has this kernel for us. Raises 503 when it cannot say."""
        try:
            model = await ask(self._url(kernel_id), limit=self.ask_limit)
            if kernel_id not in self._kernels:
                await self.adopt(model)
        except NotThereError:
            self.remove_kernel(kernel_id)
            return False
        except (UnsureError, LookupError, TypeError, ValueError) as error:
            raise web.HTTPError(503, f"The gateway cannot be asked for kernel {kernel_id} now: {error}") from error
        return True

    async def shutdown_all(self, now: bool = False) -> None:
        """The server ends: its idle kernels are suspended at once, busy ones go on, none is deleted."""
        try:
            async with asyncio.timeout(self.shutdown_limit):
                await asyncio.gather(*(self._suspend(kernel_id) for kernel_id in list(self._kernels)))
        except TimeoutError:
            self.log.warning("Not all kernels were asked to suspend within %.0f s", self.shutdown_limit)

    async def _suspend(self, kernel_id: str) -> None:
        url = url_path_join(self._url(kernel_id), "suspend")
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
