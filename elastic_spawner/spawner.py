"""ElasticSpawner: user servers without kernels of their own.

The one place where KubeSpawner is subclassed. It adds three things to a user server's pod and life: the
environment that sends kernels to the gateway, the removal of accelerators, and the JupyterNotebook that tells
kernels where the user's home is. All else, configuration included, is KubeSpawner's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

import aiohttp
from jupyterhub.utils import maybe_future
from kubernetes_asyncio.client import ApiException
from kubespawner import KubeSpawner
from kubespawner.clients import shared_client
from kubespawner.slugs import is_valid_label, safe_slug
from traitlets import Bool, Enum, Float, Integer, List, TraitError, Unicode, default, validate

from elastic_spawner.accelerators import ACCELERATORS, strip_accelerators
from elastic_spawner.environment import GatewayUrlError, clean_url, gateway_environment
from elastic_spawner.home import HomeMode, Mount, find_home, find_mount
from elastic_spawner.mirror import MirrorError, NotebookMirror, notebook_object
from kernel_core import names


class ElasticSpawner(KubeSpawner):
    """A KubeSpawner whose user servers are light and find their kernels at an elastic gateway.

    Select it with ``c.JupyterHub.spawner_class = "elastic"``. Everything set for ``c.KubeSpawner`` applies, and
    every trait below may be set by ``group_overrides`` and by a profile's ``kubespawner_override`` too.
    """

    gateway_url = Unicode(
        "",
        config=True,
        help="""
        URL of the gateway as user servers reach it, such as ``http://elastic-gateway:8888``.

        Empty: user servers run kernels themselves, as with KubeSpawner. The gateway is not asked at spawn; a
        server starts although nobody answers there.
        Default from ``ELASTIC_GATEWAY_URL`` if set.
        """,
    )

    gateway_ws_url = Unicode(
        "",
        config=True,
        help="""
        WebSocket URL of the gateway, if it is not ``gateway_url`` with ``ws`` for ``http``.

        It is always passed on explicitly, because a jupyter_server that derives it lower-cases the URL.
        """,
    )

    home_mode = Enum(
        [str(mode) for mode in HomeMode],
        default_value=str(HomeMode.AUTO),
        config=True,
        help="""
        How kernels mount the user's home.

        ``Shared``: the claim can be mounted by pods on all nodes (ReadWriteMany); kernels run anywhere.
        ``SameNode``: it can be mounted on one node (ReadWriteOnce); kernels run on the user server's node only.
        ``None``: kernels get an empty home of their own, gone with the pod.
        ``Auto``: Shared or SameNode by the access modes of the claim, None if the user server mounts no claim.
        Default from ``ELASTIC_HOME_MODE`` if set.
        """,
    )

    home_mount_path = Unicode(
        "",
        config=True,
        help="""
        Where the user server mounts the home, an absolute path.

        Empty: found by itself, from the spawner's own claim, the server's HOME and working directory.
        Needed only if several claims are mounted and the wrong one is taken.
        """,
    )

    notebook_mirror = Bool(
        True,
        config=True,
        help="""
        Whether to write a JupyterNotebook object for each user server, from which kernels take their home.

        Without it kernels start with an empty home.
        """,
    )

    notebook_mirror_timeout = Float(
        5.0,
        config=True,
        help="""
        Seconds within which the JupyterNotebook of a user server must be written.

        It is written while the pod starts. If it cannot be written in this time, that is logged and the server
        starts all the same.
        """,
    )

    kernel_only_resources = List(
        Unicode(),
        default_value=list(ACCELERATORS),
        config=True,
        help="""
        Extended resources that only kernels may hold, as shell patterns such as ``nvidia.com/*``.

        A user server's pod never asks for them, whatever profiles and ``extra_resource_limits`` say: it would
        hold them for as long as it runs. An empty list leaves user servers what they ask for.
        """,
    )

    delete_grace_period = Integer(
        5,
        config=True,
        help="""
        Seconds that a user server has to end by itself before it is killed.

        KubeSpawner's is 1; a user server uses the time to have its idle kernels suspended.
        """,
    )

    _mirroring: asyncio.Task[bool] | None = None
    _started_at = 0.0

    @default("gateway_url")
    def _gateway_url_default(self) -> str:
        return os.environ.get("ELASTIC_GATEWAY_URL", "")

    @default("home_mode")
    def _home_mode_default(self) -> str:
        return os.environ.get("ELASTIC_HOME_MODE") or str(HomeMode.AUTO)

    @validate("gateway_url")
    def _check_gateway_url(self, proposal: Any) -> str:
        return _checked("gateway_url", proposal.value, ("http", "https"))

    @validate("gateway_ws_url")
    def _check_gateway_ws_url(self, proposal: Any) -> str:
        return _checked("gateway_ws_url", proposal.value, ("ws", "wss"))

    @validate("home_mount_path")
    def _check_home_mount_path(self, proposal: Any) -> str:
        if proposal.value and not proposal.value.startswith("/"):
            raise TraitError(f"home_mount_path {proposal.value!r} must be an absolute path, such as /home/jovyan")
        return str(proposal.value)

    @validate("notebook_mirror_timeout")
    def _check_notebook_mirror_timeout(self, proposal: Any) -> float:
        if not 0 < proposal.value < float("inf"):
            raise TraitError(f"notebook_mirror_timeout {proposal.value!r} must be a number of seconds above 0")
        return float(proposal.value)

    def get_env(self) -> dict[str, str]:
        """Called for each pod manifest. What an administrator put into ``environment`` wins."""
        env: dict[str, str] = super().get_env()
        ours = gateway_environment(self.gateway_url, self.gateway_ws_url, self.api_token or "")
        for name, value in ours.items():
            env.setdefault(name, value)
        return env

    async def get_pod_manifest(self) -> Any:
        """Called once for each pod. A ``modify_pod_hook`` runs afterwards and has the last word."""
        pod = await super().get_pod_manifest()
        removed = strip_accelerators(pod, self.kernel_only_resources)
        if removed:
            self.log.warning(
                "Left out of the user server of %s: %s. Accelerators belong to kernels: offer them as kernel sizes.",
                self._log_name,
                ", ".join(f"{name}={quantity}" for name, quantity in sorted(removed.items())),
            )
        return pod

    async def _start(self) -> Any:
        """KubeSpawner's start, followed by what is left of the mirroring that ran beside it."""
        self._started_at, self._mirroring = monotonic(), None
        if not self.gateway_url:
            self.log.warning("No gateway_url is set: the server of %s runs kernels itself", self._log_name)
        url = await super()._start()
        await self._finish_mirroring()
        return url

    async def _make_create_pod_request(self, pod: Any, request_timeout: float) -> Any:
        """Called by KubeSpawner with the pod as it will be asked for, all hooks done; again if that fails."""
        if self._mirroring is None:
            manifest = self.api.api_client.sanitize_for_serialization(pod)
            self._mirroring = asyncio.create_task(self._try(partial(self._mirror_home, manifest)))
        return await super()._make_create_pod_request(pod, request_timeout)

    async def run_post_stop_hook(self) -> Any:
        """Called by the Hub after a server ended, however it ended."""
        result = await maybe_future(super().run_post_stop_hook())
        if self._mirroring is not None:
            self._mirroring.cancel()
            self._mirroring = None
        await self._try(partial(self._mirror().write_status, self._notebook_name, {"phase": "Stopped"}), quiet=True)
        return result

    async def rename(self, old_name: str, new_name: str) -> None:
        """Called by a Hub 6 before a stopped server gets another name; the home follows it.

        Kernels are owned by (user, server) for ever: those of the old name are not found under the new one, and
        end when their retention is over.
        """
        parent = getattr(super(), "rename", None)  # a Hub 5 has none
        if parent is not None:
            await maybe_future(parent(old_name, new_name))
        await self._try(partial(self._mirror().move, self.user.name, old_name, new_name))

    async def delete_forever(self) -> None:
        """Called by the Hub when the server, or its user, is deleted."""
        await super().delete_forever()
        await self._try(partial(self._mirror().delete, self.user.name, self.name))

    @property
    def _notebook_name(self) -> str:
        return names.notebook_name(self.user.name, self.name)

    def _mirror(self) -> NotebookMirror:
        limit = timedelta(seconds=self.notebook_mirror_timeout)
        return NotebookMirror(shared_client("CustomObjectsApi"), self.namespace, limit, self.log)

    async def _try(self, work: Callable[[], Awaitable[None]], *, quiet: bool = False) -> bool:
        """Do something with the JupyterNotebook and tell whether it was done; a failure is logged, once."""
        if not self.notebook_mirror:
            return False
        try:
            await work()
        except MirrorError as error:
            say = self.log.debug if quiet else self.log.error
            say("The home of %s is not recorded. %s", self._log_name, error)
            return False
        except Exception:  # a user's server is worth more than its record, whatever is wrong with that
            self.log.exception("The home of %s is not recorded", self._log_name)
            return False
        return True

    async def _mirror_home(self, pod: dict[str, Any]) -> None:
        """Write the JupyterNotebook for this pod."""
        home_path = self.home_mount_path
        mount = find_mount(pod, pvc_name=self.pvc_name, mount_path=home_path)
        mode = HomeMode(self.home_mode)
        access = await self._access_modes(mount) if mount and mode is HomeMode.AUTO else None
        found = find_home(pod, mount, mode, access_modes=access, mount_path=home_path)
        if found.note:
            self.log.warning("Home of %s: %s", self._log_name, found.note)
        labels = {
            "app": "jupyterhub",
            names.LABEL_USERNAME: safe_slug(self.user.name, is_valid=is_valid_label),
        }
        annotations = {names.LABEL_USERNAME: self.user.name}
        notebook = notebook_object(self.user.name, self.name, found.home, labels, annotations)
        await self._mirror().write(notebook)

    async def _access_modes(self, mount: Mount) -> list[str] | None:
        """The access modes of the claim itself, else those that a claim of this spawner is made with."""
        limit = self.notebook_mirror_timeout / 2
        try:
            async with asyncio.timeout(limit):
                claim = await self.api.read_namespaced_persistent_volume_claim(mount.claim_name, self.namespace)
            return list(claim.spec.access_modes or ())
        except (ApiException, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            self.log.debug("Claim %s of %s could not be read: %s", mount.claim_name, self._log_name, error)
        own = self.storage_pvc_ensure and mount.claim_name == self.pvc_name
        return list(self.storage_access_modes) if own else None

    async def _finish_mirroring(self) -> None:
        """Wait for the JupyterNotebook, never so long that the Hub's ``start_timeout`` would end the spawn."""
        if self._mirroring is None:
            return
        pod = self.pod_reflector.pods.get(f"{self.namespace}/{self.pod_name}") or {}
        node = (pod.get("spec") or {}).get("nodeName")
        self._mirroring = asyncio.create_task(self._mirror_running(self._mirroring, node))
        spare = self.start_timeout - (monotonic() - self._started_at) - 1
        if spare > 0:
            await asyncio.wait({self._mirroring}, timeout=spare)

    async def _mirror_running(self, writing: asyncio.Task[bool], node: str | None) -> bool:
        """Once the object is there, say where the server runs: kernels of a SameNode home follow it."""
        if not await writing:
            return False
        status = {"phase": "Running", "nodeName": node}
        return await self._try(partial(self._mirror().write_status, self._notebook_name, status))


def _checked(trait: str, url: str, schemes: tuple[str, ...]) -> str:
    try:
        return clean_url(url, schemes)
    except GatewayUrlError as error:
        raise TraitError(f"{trait}: {error}") from None
