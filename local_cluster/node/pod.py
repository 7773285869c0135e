"""The life of one pod on the process node: volumes, containers, status, end."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernel_core.cluster.client import PODS, ApiError, Client, NotFoundError, Resource, UnavailableError
from local_cluster.node.container import ContainerProcess, now
from local_cluster.node.environment import MissingReferenceError, container_environment
from local_cluster.node.images import Image, Images
from local_cluster.node.sandbox import Sandbox
from local_cluster.node.status import Container, pod_status, terminated, waiting
from local_cluster.node.volumes import Mount, Volumes, mounts_of

log = logging.getLogger(__name__)

RETRY_PAUSE = 0.5
"""Seconds between two looks for something that a pod needs and that is not there."""
LONGEST_BACK_OFF = 60.0

READABLE = {
    "secrets": Resource("", "v1", "secrets"),
    "configmaps": Resource("", "v1", "configmaps"),
    "persistentvolumeclaims": Resource("", "v1", "persistentvolumeclaims"),
    "persistentvolumes": Resource("", "v1", "persistentvolumes"),
}


def references(pod: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Every Secret, ConfigMap and claim that a pod names."""
    found: set[tuple[str, str]] = set()
    for volume in pod["spec"].get("volumes") or []:
        if "secret" in volume:
            found.add(("secrets", volume["secret"]["secretName"]))
        if "configMap" in volume:
            found.add(("configmaps", volume["configMap"]["name"]))
        if "persistentVolumeClaim" in volume:
            found.add(("persistentvolumeclaims", volume["persistentVolumeClaim"]["claimName"]))
    for container in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
        for entry in container.get("env") or []:
            origin = entry.get("valueFrom") or {}
            if "secretKeyRef" in origin:
                found.add(("secrets", origin["secretKeyRef"]["name"]))
            if "configMapKeyRef" in origin:
                found.add(("configmaps", origin["configMapKeyRef"]["name"]))
        for source in container.get("envFrom") or []:
            if "secretRef" in source:
                found.add(("secrets", source["secretRef"]["name"]))
            if "configMapRef" in source:
                found.add(("configmaps", source["configMapRef"]["name"]))
    return found


class PodRunner:
    """Runs one pod until it is deleted."""

    def __init__(
        self,
        client: Client,
        images: Images,
        pod: dict[str, Any],
        ip: str,
        host_ip: str,
        directory: Path,
        shim: Path,
        devices: Mapping[str, str],
    ) -> None:
        self._client = client
        self._images = images
        self._pod = copy.deepcopy(pod)
        self.ip = ip
        self._host_ip = host_ip
        self._dir = directory
        self._shim = shim
        self._devices = devices
        self._containers = {
            c["name"]: Container(c["name"], c.get("image", ""), waiting("ContainerCreating"))
            for c in pod["spec"]["containers"]
        }
        self._processes: dict[str, ContainerProcess] = {}
        self._stopping = False
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._pod.setdefault("status", {}).update({"podIP": ip, "hostIP": host_ip})

    @property
    def name(self) -> str:
        """Namespace and name, for people."""
        return f"{self._pod['metadata']['namespace']}/{self._pod['metadata']['name']}"

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name=f"pod {self.name}")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Pod %s: %r", self.name, error, exc_info=error)

    async def _run(self) -> None:
        while not self._stopping:
            try:
                read = await self._fetch()
                volumes = await asyncio.to_thread(Volumes(self._dir, self._pod, read).make)
                break
            except MissingReferenceError as error:
                await self._all_waiting("ContainerCreating", str(error))
            await asyncio.sleep(RETRY_PAUSE)
        else:
            return
        for spec in self._pod["spec"].get("initContainers") or []:
            code = await self._once(spec, volumes, read)
            if code:
                await self._all_waiting("PodInitializing", f"init container {spec['name']} ended with {code}")
                return
        await asyncio.gather(*(self._keep(spec, volumes, read) for spec in self._pod["spec"]["containers"]))

    async def _fetch(self) -> Any:
        """A reader of everything the pod names, read now."""
        namespace = self._pod["metadata"]["namespace"]
        items: dict[tuple[str, str], Mapping[str, Any] | None] = {}

        async def one(kind: str, name: str) -> None:
            try:
                items[kind, name] = await self._client.get(
                    READABLE[kind], "" if kind == "persistentvolumes" else namespace, name
                )
            except (NotFoundError, UnavailableError):
                items[kind, name] = None

        await asyncio.gather(*(one(kind, name) for kind, name in references(self._pod)))
        bound = [(c or {}).get("spec", {}).get("volumeName") for (k, _), c in items.items() if k.endswith("claims")]
        await asyncio.gather(*(one("persistentvolumes", name) for name in bound if name))
        return lambda kind, name: items.get((kind, name))

    def _image(self, spec: Mapping[str, Any]) -> Image | None:
        return self._images.find(spec.get("image", ""))

    def _box(self, spec: Mapping[str, Any], image: Image, mounts: list[Mount], read: Any) -> Sandbox:
        environment = {**self._devices, **container_environment(self._pod, spec, read)}
        context = {**(self._pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
        uid, gid = context.get("runAsUser", image.uid), context.get("runAsGroup", image.gid)
        argv = [*(spec.get("command") or image.command), *(spec.get("args") or [])]
        files = self._dir / "etc"
        files.mkdir(parents=True, exist_ok=True)
        passwd, group, hosts = files / "passwd", files / "group", files / "hosts"
        home = environment.get("HOME", image.home)
        passwd.write_text(f"root:x:0:0:root:/root:/bin/sh\njovyan:x:{uid}:{gid}::{home}:/bin/bash\n")
        group.write_text(f"root:x:0:\nusers:x:{gid}:\n")
        hostname = self._pod["spec"].get("hostname") or self._pod["metadata"]["name"][:63].rstrip("-.")
        hosts.write_text(f"127.0.0.1 localhost\n{self.ip} {hostname}\n")
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
            self._shim,
            -1,
        )

    async def _begin(self, spec: Mapping[str, Any], volumes: Mapping[str, Path], read: Any) -> ContainerProcess | None:
        """The container's process, or None after saying what is missing."""
        image = self._image(spec)
        if image is None:
            message = f'Back-off pulling image "{spec.get("image")}": no environment stands for it on this node'
            await self._set(spec["name"], waiting("ImagePullBackOff", message))
            return None
        try:
            box = self._box(spec, image, mounts_of(spec, volumes), read)
        except MissingReferenceError as error:
            await self._set(spec["name"], waiting("CreateContainerConfigError", str(error)))
            return None
        if self._stopping:
            return None
        process = ContainerProcess(box, self.ip, self._dir / "logs" / f"{spec['name']}.log")
        await process.start()
        log.info("Pod %s: %s started: %s", self.name, spec["name"], shlex.join(box.argv))
        self._processes[spec["name"]] = process
        if self._stopping:
            await process.stop(0)
        return process

    async def _once(self, spec: Mapping[str, Any], volumes: Mapping[str, Path], read: Any) -> int:
        process = await self._begin(spec, volumes, read)
        return await process.wait() if process else 1

    async def _keep(self, spec: Mapping[str, Any], volumes: Mapping[str, Path], read: Any) -> None:
        name, policy, back_off = spec["name"], self._pod["spec"].get("restartPolicy", "Always"), 1.0
        while not self._stopping:
            process = await self._begin(spec, volumes, read)
            if process is None:
                await asyncio.sleep(RETRY_PAUSE)
                read = await self._fetch()
                continue
            await self._set(name, {"running": {"startedAt": process.started}})
            code = await process.wait()
            end = terminated(code, process.started, now())
            if self._stopping or policy == "Never" or (policy == "OnFailure" and code == 0):
                await self._set(name, end)
                return
            await self._set(
                name, {**waiting("CrashLoopBackOff", f"back-off {back_off:.0f}s restarting failed container")}, 1
            )
            await asyncio.sleep(back_off)
            back_off = min(back_off * 2, LONGEST_BACK_OFF)

    async def _all_waiting(self, reason: str, message: str) -> None:
        for name in self._containers:
            await self._set(name, waiting(reason, message), write=False)
        await self._write()

    async def _set(self, name: str, state: Mapping[str, Any], restarts: int = 0, *, write: bool = True) -> None:
        old = self._containers[name]
        new = Container(name, old.image, state, old.restarts + restarts)
        if new != old:
            self._containers[name] = new
            if write:
                await self._write()

    async def _write(self) -> None:
        """Write the status as it is now; the uid guards against another pod of the same name."""
        meta = self._pod["metadata"]
        async with self._writing:
            for pause in (0.1, 0.5, 2.0, 5.0):
                status = pod_status(
                    self._pod, list(self._containers.values()), ip=self.ip, host_ip=self._host_ip, now=now()
                )
                patch = {"metadata": {"uid": meta["uid"]}, "status": status}
                try:
                    self._pod = await self._client.patch(
                        PODS, meta["namespace"], meta["name"], patch, subresource="status"
                    )
                except UnavailableError:
                    await asyncio.sleep(pause)
                except ApiError as error:
                    log.debug("Pod %s: status not taken: %s", self.name, error)
                    return
                else:
                    return

    def refresh(self, pod: dict[str, Any]) -> None:
        """Take the object's newest form, for the conditions that others write."""
        self._pod = copy.deepcopy(pod)

    async def stop(self, grace: float) -> None:
        """End all processes and remove what they left."""
        self._stopping = True
        await asyncio.gather(*(process.stop(grace) for process in self._processes.values()))
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await asyncio.wait({self._task})
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._dir / "volumes", True)
