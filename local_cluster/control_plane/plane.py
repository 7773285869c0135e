"""Starts the control plane and waits until it works; every failure names the component and its log.

The controller manager ends at once if the API server is not there yet, so it and the scheduler are started when
``/readyz`` says yes.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from local_cluster.api import Api, ApiError, ApiUnavailable, Credentials
from local_cluster.component import Component
from local_cluster.control_plane import flags
from local_cluster.control_plane.binaries import Binaries
from local_cluster.control_plane.flags import Layout
from local_cluster.errors import ComponentError
from local_cluster.kubeconfig import kubeconfig, write_kubeconfig, write_private
from local_cluster.pki import Authority
from local_cluster.slices import Slice

READY_LIMIT = timedelta(seconds=60)
"""A cold disk cache makes the first start slow; warm it takes three seconds."""
LOOK = 0.05
"""Seconds between two looks at something that will be ready soon."""
ADMIN = "local-cluster-admin"
COMPONENT_ENV = {"PATH": "/usr/bin:/bin", "GOGC": "75"}
"""Nothing of the caller's environment: a proxy variable would send loopback traffic away."""


class ControlPlane:
    """The four processes of one cluster."""

    def __init__(self, directory: Path, binaries: Binaries, slice_: Slice, node_name: str) -> None:
        ports = free_ports(3)
        self.layout = Layout(directory, slice_, ports[0], ports[1], ports[2])
        self.admin_token = secrets.token_urlsafe(32)
        self.node_token = secrets.token_urlsafe(32)
        self.components: list[Component] = []
        self._binaries = binaries
        self._node_name = node_name

    @property
    def admin(self) -> Credentials:
        """The administrator's way in, once the API server has started."""
        return Credentials(self.layout.server, self.layout.server_certificate.read_text(), self.admin_token)

    @property
    def node(self) -> Credentials:
        """The node's own identity: what the Node authorizer allows it, nothing more."""
        return Credentials(self.layout.server, self.layout.server_certificate.read_text(), self.node_token)

    async def start(self, on_api: Callable[[], None]) -> None:
        """Start everything; returns when API, controllers and scheduler work.

        `on_api` is called as soon as the API answers, so that a node starts beside the controllers.
        """
        await asyncio.to_thread(self._prepare)
        self._run("etcd", flags.etcd(self.layout))
        api_server = self._run("kube-apiserver", flags.api_server(self.layout))
        await self._until(self._certificate_written, api_server, "wrote no serving certificate")
        async with Api(self.admin) as api:
            await self._until(lambda: _says_ok(api, "/readyz"), api_server, "was not ready")
            write_kubeconfig(
                self.layout.components_kubeconfig,
                kubeconfig(self.layout.server, self.admin.ca, self.admin_token, ADMIN),
            )
            manager = self._run("kube-controller-manager", flags.controller_manager(self.layout))
            self._run("kube-scheduler", flags.scheduler(self.layout))
            on_api()
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            await self._until(lambda: _exists(api, account), manager, "made no default ServiceAccount")

    def check(self) -> None:
        """Raise ComponentError if one has ended."""
        for component in self.components:
            component.check()

    def kill(self) -> None:
        """End all at once: nothing in the data directory is meant to be used again."""
        for component in reversed(self.components):
            component.kill()

    def wait(self, limit: timedelta) -> None:
        """Wait until all have ended; from a thread."""
        for component in self.components:
            component.wait(limit)

    def _prepare(self) -> None:
        authority = Authority(self.layout.pki)
        authority.create()
        authority.issue("etcd", ["127.0.0.1"])
        authority.issue("apiserver-client", ["127.0.0.1"])
        authority.issue("node", [str(self.layout.slice.node)])
        node_user = f"system:node:{self._node_name}"
        write_private(
            self.layout.tokens,
            f"{self.admin_token},{ADMIN},{ADMIN},system:masters\n"
            f'{self.node_token},{node_user},{node_user},"system:nodes"\n',
        )

    def _run(self, name: str, argv: list[str]) -> Component:
        component = Component(
            name,
            self._binaries.argv(argv[0], *argv[1:]),
            self.layout.directory / "logs" / f"{name}.log",
            {**COMPONENT_ENV, "HOME": str(self.layout.directory)},
            cwd=self.layout.directory,
        )
        component.start()
        self.components.append(component)
        return component

    async def _certificate_written(self) -> bool:
        return self.layout.server_certificate.exists() and self.layout.server_certificate.stat().st_size > 0

    async def _until(self, condition: Callable[[], Awaitable[bool]], component: Component, failed: str) -> None:
        try:
            async with asyncio.timeout(READY_LIMIT.total_seconds()):
                while not await condition():
                    self.check()
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            seconds = READY_LIMIT.total_seconds()
            raise ComponentError(f"{component.name} {failed} within {seconds:.0f} s.\n{component.tail()}") from None


async def _says_ok(api: Api, path: str) -> bool:
    try:
        return await api.text(path) == "ok"
    except (ApiError, ApiUnavailable):
        return False


async def _exists(api: Api, path: str) -> bool:
    try:
        await api.get(path)
    except (ApiError, ApiUnavailable):
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody uses now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in sockets]
    finally:
        for probe in sockets:
            probe.close()
