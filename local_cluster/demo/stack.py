"""Everything the demo runs, in the order in which it is started and the reverse in which it is stopped.

The cluster is real, the gateway and the Hub are ordinary processes beside it with ServiceAccounts and Roles of
their own, user servers and kernels are pods.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from local_cluster.cluster import LocalCluster
from local_cluster.demo import manifests, parts
from local_cluster.demo.files import clear, write_private
from local_cluster.demo.settings import NAMESPACE, DemoSettings, SettingsError


@dataclass(slots=True)
class Demo:
    """A demo that is ready."""

    settings: DemoSettings
    hub_url: str
    gateway_url: str
    kubeconfig: Path
    kubectl: list[str]
    users: list[dict[str, str]]
    admin_token: str
    parts: list[parts.Part] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """What ``demo.json`` holds: passwords and a token, so it is written with mode 0600."""
        return {
            "hub_url": self.hub_url,
            "gateway_url": self.gateway_url,
            "kubeconfig": str(self.kubeconfig),
            "kubectl": self.kubectl,
            "namespace": NAMESPACE,
            "users": self.users,
            "admin_token": self.admin_token,
            "idle_timeout_seconds": self.settings.idle_timeout.total_seconds(),
            "gpus": self.settings.gpus,
        }


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_port(port: int) -> None:
    """Raise SettingsError if a port that was asked for is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SettingsError(f"PORT={port} cannot be used: {error.strerror}. Give another, or none.") from None


@contextlib.contextmanager
def sole_use(state_dir: Path) -> Any:
    """Hold a state directory; a second demo in the same one is refused."""
    state_dir.mkdir(parents=True, exist_ok=True)
    lock: IO[str] = (state_dir / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"Another demo runs in {state_dir}. Stop it, or give this one a STATE_DIR of its own."
            ) from None
        yield


@asynccontextmanager
async def running(settings: DemoSettings, say: Callable[[str], None]) -> AsyncIterator[Demo]:
    """Start everything, yield the ready demo, and stop everything."""
    if settings.port:
        check_port(settings.port)
    state = settings.state_dir
    async with AsyncExitStack() as stack:
        stack.enter_context(sole_use(state))
        await asyncio.to_thread(clear, state)
        for name in ("run", "logs"):
            (state / name).mkdir()
        say("Kubernetes: API server, scheduler, controllers, one node")
        cluster = await stack.enter_async_context(
            LocalCluster(state / "cluster", gpus=settings.gpus, images=parts.images())
        )
        say("objects: custom resources, sizes, kernelspecs, roles")
        await manifests.apply_all(cluster, settings)
        ports = parts.Ports(
            hub=settings.port or free_port(), proxy_api=free_port(), hub_api=free_port(), gateway=free_port()
        )
        users = [{"name": name, "password": secrets.token_urlsafe(9)} for name in settings.user_names]
        token = secrets.token_hex(24)
        say("gateway")
        gateway = parts.gateway(settings, ports, await manifests.gateway_account(cluster))
        await stack.enter_async_context(gateway)
        say("hub")
        hub = parts.hub(settings, ports, await manifests.hub_account(cluster), users, token)
        await stack.enter_async_context(hub)
        demo = Demo(
            settings=settings,
            hub_url=f"http://127.0.0.1:{ports.hub}",
            gateway_url=f"http://127.0.0.1:{ports.gateway}",
            kubeconfig=cluster.kubeconfig,
            kubectl=[str(word) for word in cluster.kubectl],
            users=users,
            admin_token=token,
            parts=[gateway, hub],
        )
        write_private(state / "demo.json", json.dumps(demo.as_json(), indent=2) + "\n")
        try:
            yield demo
        finally:
            (state / "demo.json").unlink(missing_ok=True)
