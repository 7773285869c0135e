"""A whole cluster for the length of a block: control plane, one process node, volumes, accounts."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from kernel_core.cluster.client import AlreadyExistsError, Client, NotFoundError, Resource
from local_cluster.addresses import claim_slice
from local_cluster.control_plane.build import cache_dir, program
from local_cluster.control_plane.start import ControlPlane, kubeconfig, write_private
from local_cluster.node.agent import HOST, NodeAgent
from local_cluster.node.images import Images
from local_cluster.node.logs import make_certificate, server_context
from local_cluster.node.provisioner import Provisioner
from local_cluster.node.shim import built_shim
from local_cluster.processes import Process

SOURCES = Path(__file__).parents[1]
NAMESPACES = Resource("", "v1", "namespaces")
ACCOUNTS = Resource("", "v1", "serviceaccounts")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")

DEFAULT_COMMANDS = {"elastic-jupyter/user-server*": ("jupyterhub-singleuser",)}


class ClusterError(RuntimeError):
    """The cluster cannot be had on this machine; the message says what to install or allow."""


def check_sandbox() -> None:
    """Raise ClusterError if bubblewrap is missing or not allowed to make user namespaces."""
    if shutil.which("bwrap") is None:
        raise ClusterError(
            "bubblewrap was not found: pods run in its sandboxes. Install it as root: apt-get install bubblewrap"
        )
    trial = ["bwrap", "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    result = subprocess.run(trial, capture_output=True, text=True, check=False, timeout=20)
    if result.returncode:
        raise ClusterError(
            f"bubblewrap may not make user namespaces here: {result.stderr.strip()}. "
            "Allow them (sysctl kernel.unprivileged_userns_clone=1, or an AppArmor profile for bwrap), or run as root."
        )


class _ControlPlane(ControlPlane):
    """Gives the API server what it needs to read logs of a node: its own certificate and the node's."""

    caller: tuple[Path, Path]
    node_authority: Path

    async def _component(self, name: str, *flags: str) -> Process:
        """Called by ControlPlane for each component, before it is started."""
        if name == "kube-apiserver":
            certificate, key = self.caller
            flags += (
                f"--kubelet-client-certificate={certificate}",
                f"--kubelet-client-key={key}",
                f"--kubelet-certificate-authority={self.node_authority}",
            )
        return await super()._component(name, *flags)


class LocalCluster:
    """``async with LocalCluster(dir, gpus=4, images={...}) as cluster: cluster.kubeconfig``."""

    def __init__(
        self, directory: Path, *, gpus: int, images: Mapping[str, str], node_name: str = "process-node"
    ) -> None:
        """``images`` maps globs of image names to Python environments."""
        self._dir = directory
        self._gpus = gpus
        self._images = Images(images, SOURCES, DEFAULT_COMMANDS)
        self._node_name = node_name
        self._stack = AsyncExitStack()
        self.control_plane: ControlPlane
        self.client: Client
        self.node: NodeAgent
        self.kubectl: list[str] = []

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.control_plane.kubeconfig

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        await asyncio.to_thread(check_sandbox)
        self._dir.mkdir(parents=True, exist_ok=True)
        binary = await asyncio.to_thread(program, os.environ, print)
        shim = await asyncio.to_thread(built_shim, cache_dir(os.environ))
        self.slice = claim_slice()
        self._stack.callback(self.slice.release)
        certificate = make_certificate(self._dir / "pki", "node", HOST)
        control_plane = _ControlPlane(binary, self._dir, self.slice.services)
        control_plane.caller = make_certificate(self._dir / "pki", "node-caller", HOST)
        control_plane.node_authority = certificate[0]
        self.control_plane = control_plane
        await self._stack.enter_async_context(self.control_plane)
        self.kubectl = [str(binary), "kubectl", f"--kubeconfig={self.kubeconfig}"]
        self.client = await self._stack.enter_async_context(Client(str(self.kubeconfig)))
        await self._stack.enter_async_context(Provisioner(self.client, self._dir))
        api = urlsplit(self.control_plane.server)
        self.node = NodeAgent(
            self.client,
            self._node_name,
            self._gpus,
            self._images,
            self.slice,
            self._dir,
            shim,
            (str(api.hostname), api.port or 443),
            server_context(certificate, control_plane.caller[0]),
        )
        await self._stack.enter_async_context(self.node)
        await self._ready()

    async def _ready(self) -> None:
        """Wait until the node takes pods: the control plane removes a taint of new nodes."""
        nodes = Resource("", "v1", "nodes")
        async with asyncio.timeout(30):
            while (await self.client.get(nodes, "", self._node_name))["spec"].get("taints"):
                await asyncio.sleep(0.1)

    async def apply_definitions(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        """Create custom resources and wait until the API server serves them."""
        for definition in definitions:
            try:
                await self.client.create(DEFINITIONS, "", definition)
            except AlreadyExistsError:
                continue
        async with asyncio.timeout(20):
            for definition in definitions:
                while not await self._established(definition["metadata"]["name"]):
                    await asyncio.sleep(0.05)

    async def _established(self, name: str) -> bool:
        status = (await self.client.get(DEFINITIONS, "", name)).get("status", {})
        return any(c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions") or [])

    async def make_namespace(self, name: str) -> None:
        """Create a namespace and wait until pods may be made in it."""
        try:
            await self.client.create(NAMESPACES, "", {"metadata": {"name": name}})
        except AlreadyExistsError:
            return
        async with asyncio.timeout(20):
            while True:
                try:
                    await self.client.get(ACCOUNTS, name, "default")
                    return
                except NotFoundError:
                    await asyncio.sleep(0.05)

    async def service_account(self, namespace: str, name: str, rules: Sequence[Mapping[str, Any]]) -> Path:
        """A ServiceAccount with a Role of these rules, and the kubeconfig that acts as it."""
        meta = {"name": name, "namespace": namespace}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        binding = {
            "metadata": meta,
            "roleRef": reference,
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
        await self.client.create(ACCOUNTS, namespace, {"metadata": meta})
        await self.client.create(ROLES, namespace, {"metadata": meta, "rules": list(rules)})
        await self.client.create(BINDINGS, namespace, binding)
        body = {"spec": {"expirationSeconds": 7 * 24 * 3600}}
        token = await self.client.request("POST", ACCOUNTS.path(namespace, name, "token"), body=body)
        path = self._dir / f"{name}.kubeconfig"
        text = kubeconfig(self.control_plane.server, self.control_plane.authority, token["status"]["token"], namespace)
        return write_private(path, text)
