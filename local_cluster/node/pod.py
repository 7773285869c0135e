"""The life of one pod on the process node: volumes, containers in their order, status, end."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from kernel_core.cluster.client import PODS, ApiError, Client, UnavailableError
from local_cluster.node.container import ContainerProcess, now
from local_cluster.node.environment import MissingReferenceError, Reader, container_environment
from local_cluster.node.events import Recorder
from local_cluster.node.hosts import HostsFile
from local_cluster.node.images import Image, Images
from local_cluster.node.keeper import RETRY_PAUSE, Keeper, NotYetError, Surroundings
from local_cluster.node.network import ServiceNetwork
from local_cluster.node.references import References, mounted
from local_cluster.node.restarts import init_policy
from local_cluster.node.sandbox import Sandbox
from local_cluster.node.status import pod_status
from local_cluster.node.volumes import Mount, Volumes, mounts_of, written

log = logging.getLogger(__name__)

WRITE_PAUSES = (0.1, 0.5, 2.0, 5.0, 10.0, 10.0, 10.0, 10.0)
"""Seconds between tries to write a status while the API server does not answer."""
SIDECAR_GRACE = 2.0
"""Seconds that sidecars have at least to end, after the containers that they serve."""


@dataclass(frozen=True, slots=True)
class Node:
    """What all pods of a node share."""

    client: Client
    images: Images
    host_ip: str
    shim: Path
    network: ServiceNetwork
    events: Recorder


def is_sidecar(spec: Mapping[str, Any]) -> bool:
    """Whether an init container goes on running beside the containers."""
    return bool(spec.get("restartPolicy") == "Always")


class PodRunner:
    """Runs one pod until it is deleted."""

    def __init__(self, node: Node, pod: dict[str, Any], ip: str, directory: Path, devices: Mapping[str, str]) -> None:
        self._node = node
        self._pod = copy.deepcopy(pod)
        self._meta = self._pod["metadata"]
        self.ip = ip
        self._dir = directory
        self._devices = devices
        self._references = References(node.client, self._pod)
        self._read: Reader = lambda kind, name: None
        self._volumes: dict[str, Path] = {}
        self._stopping = asyncio.Event()
        self._stale = asyncio.Event()
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed = False
        self._pod.setdefault("status", {}).update({"podIP": ip, "hostIP": node.host_ip})
        spec = self._pod["spec"]
        policy = spec.get("restartPolicy", "Always")
        inits = spec.get("initContainers") or []
        self._inits = {
            c["name"]: Keeper(c, self._around(c, "Always" if is_sidecar(c) else init_policy(policy))) for c in inits
        }
        self._sidecars = [c["name"] for c in inits if is_sidecar(c)]
        reason = "PodInitializing" if inits else "ContainerCreating"
        self._mains = {c["name"]: Keeper(c, self._around(c, policy), reason=reason) for c in spec["containers"]}

    @property
    def name(self) -> str:
        """Namespace and name, for people."""
        return f"{self._meta['namespace']}/{self._meta['name']}"

    @property
    def grace(self) -> float:
        """How many seconds its containers have to end."""
        return float(self._pod["spec"].get("terminationGracePeriodSeconds", 30))

    def _around(self, spec: Mapping[str, Any], policy: str) -> Surroundings:
        label = f"{self._meta['name']}_{self._meta['namespace']}({self._meta['uid']})"
        return Surroundings(
            self.ip,
            label,
            policy,
            self.grace,
            self.log_file(spec["name"]),
            self._stopping,
            self._make,
            self._write,
            lambda *said: self._node.events.record(self._pod, *said),
        )

    def log_file(self, container: str) -> Path:
        """Where a container's words go, over all its starts."""
        return self._dir / "logs" / f"{container}.log"

    def container(self, name: str) -> Keeper | None:
        """One of its containers."""
        return self._mains.get(name) or self._inits.get(name)

    def start(self) -> None:
        """Begin."""
        self._spawn(self._run())

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=f"pod {self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Pod %s: %r", self.name, error, exc_info=error)

    async def _run(self) -> None:
        if not await self._prepare():
            return
        updating = self._spawn(self._update()) if written(self._pod) else None
        try:
            await self._containers()
        finally:
            if updating is not None:
                updating.cancel()

    async def _containers(self) -> None:
        sidecars = []
        for name, keeper in self._inits.items():
            if name in self._sidecars:
                sidecars.append(self._spawn(keeper.keep()))
                await self._until_begun(keeper)
            elif await keeper.keep():
                self._failed = not self._stopping.is_set()
                break
            if self._stopping.is_set():
                break
        else:
            await asyncio.gather(*(keeper.keep() for keeper in self._mains.values()))
        if sidecars and not self._stopping.is_set():
            self._stopping.set()
            await asyncio.gather(*(self._inits[name].stop(self.grace) for name in reversed(self._sidecars)))
        await asyncio.gather(*sidecars)
        await self._write()

    async def _until_begun(self, keeper: Keeper) -> None:
        """A startup probe may fail for ever, so this lasts as long as the pod at most."""
        waits = [asyncio.ensure_future(event.wait()) for event in (keeper.begun, self._stopping)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _prepare(self) -> bool:
        """Make the volumes; False if the pod is stopped before all they need is there."""
        while not self._stopping.is_set():
            try:
                self._read = await self._references.read()
                self._volumes = await asyncio.to_thread(Volumes(self._dir, self._pod, self._read).make)
                return True
            except MissingReferenceError as error:
                self._node.events.record(self._pod, "Warning", "FailedMount", str(error))
                news = [keeper.wait_for("ContainerCreating", str(error)) for keeper in self._mains.values()]
                if any(news):
                    await self._write()
            await asyncio.sleep(RETRY_PAUSE)
        return False

    def mounts(self, kind: str, name: str) -> bool:
        """Whether a Secret or ConfigMap is among its volumes."""
        return (kind, name) in mounted(self._pod)

    def outdated(self) -> None:
        """Something that its volumes show has changed."""
        self._stale.set()

    async def _update(self) -> None:
        """Keep the files of Secrets, ConfigMaps and tokens up to date."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._references.renewal):
                    await self._stale.wait()
            self._stale.clear()
            try:
                read = await self._references.read()
                await asyncio.to_thread(Volumes(self._dir, self._pod, read).update)
            except (ApiError, OSError, ValueError) as error:
                log.warning("Pod %s: its volumes could not be brought up to date: %s", self.name, error)

    async def _make(self, spec: Mapping[str, Any]) -> ContainerProcess:
        """A container's process. Raises NotYetError."""
        image = self._node.images.find(spec.get("image", ""))
        if image is None:
            message = f'Back-off pulling image "{spec.get("image")}": no environment stands for it on this node'
            raise NotYetError("ImagePullBackOff", message)
        keeper = self.container(spec["name"])
        if keeper is not None and keeper.state.last is not None:
            self._read = await self._references.read()
        try:
            box = self._box(spec, image)
        except MissingReferenceError as error:
            self._read = await self._references.read()
            raise NotYetError("CreateContainerConfigError", str(error)) from None
        log.info("Pod %s: %s starts: %s", self.name, spec["name"], shlex.join(box.argv))
        return ContainerProcess(box, self.ip, self.log_file(spec["name"]))

    def _box(self, spec: Mapping[str, Any], image: Image) -> Sandbox:
        services = self._node.network.environment(self._pod)
        environment = {**self._devices, **container_environment(self._pod, spec, self._read, services)}
        context = {**(self._pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
        uid, gid = context.get("runAsUser", image.uid), context.get("runAsGroup", image.gid)
        argv = [*(spec.get("command") or image.command), *(spec.get("args") or [])]
        files = self._dir / "etc"
        files.mkdir(parents=True, exist_ok=True)
        passwd, group, hosts = files / "passwd", files / "group", files / "hosts"
        home = environment.get("HOME", image.home)
        passwd.write_text(f"root:x:0:0:root:/root:/bin/sh\njovyan:x:{uid}:{gid}::{home}:/bin/bash\n")
        group.write_text(f"root:x:0:\nusers:x:{gid}:\n")
        hostname = self._pod["spec"].get("hostname") or self._meta["name"][:63].rstrip("-.")
        aliases = self._pod["spec"].get("hostAliases") or []
        extra = tuple(f"{alias['ip']} {' '.join(alias.get('hostnames') or [])}" for alias in aliases)
        self._node.network.add(self._meta["uid"], HostsFile(hosts, self._meta["namespace"], self.ip, hostname, extra))
        mounts: list[Mount] = mounts_of(spec, self._volumes, written(self._pod), environment)
        return Sandbox(
            image,
            mounts,
            environment,
            argv,
            spec.get("workingDir") or image.home,
            uid,
            gid,
            hostname,
            passwd,
            group,
            hosts,
            self._node.shim,
            -1,
        )

    async def _write(self) -> None:
        """Write the status as it is now; the uid guards against another pod of the same name."""
        meta = self._meta
        async with self._writing:
            for pause in WRITE_PAUSES:
                patch = {"metadata": {"uid": meta["uid"]}, "status": self._status()}
                try:
                    answer = await self._node.client.patch(
                        PODS, meta["namespace"], meta["name"], patch, subresource="status"
                    )
                except UnavailableError:
                    await asyncio.sleep(pause)
                except ApiError as error:
                    log.debug("Pod %s: status not taken: %s", self.name, error)
                    return
                else:
                    self.refresh(answer)
                    return

    def _status(self) -> dict[str, Any]:
        inits = [keeper.state for keeper in self._inits.values()]
        return pod_status(
            self._pod,
            [keeper.state for keeper in self._mains.values()],
            ip=self.ip,
            host_ip=self._node.host_ip,
            now=now(),
            inits=inits,
            sidecars=self._sidecars,
            initialized=all(c.exit_code == 0 or (c.name in self._sidecars and c.running) for c in inits),
            failed=self._failed,
        )

    def refresh(self, pod: dict[str, Any]) -> None:
        """Take the object's newest form, for the conditions that others write."""
        if int(pod["metadata"]["resourceVersion"]) > int(self._pod["metadata"]["resourceVersion"]):
            if any(pod["metadata"].get(key) != self._meta.get(key) for key in ("labels", "annotations")):
                self.outdated()
            self._pod = copy.deepcopy(pod)
            self._meta = self._pod["metadata"]

    async def stop(self, grace: float) -> None:
        """End all processes, sidecars last, and remove what they left."""
        self._stopping.set()
        began = monotonic()
        await asyncio.gather(*(keeper.stop(grace) for keeper in self._mains.values()))
        rest = min(max(grace - (monotonic() - began), SIDECAR_GRACE), grace)
        await asyncio.gather(*(keeper.stop(rest) for keeper in self._inits.values()))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._node.network.remove(self._meta["uid"])
        await asyncio.to_thread(shutil.rmtree, self._dir / "volumes", True)
