"""A pod's volumes as directories on this machine, and where they appear inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_cluster.node import atomic_files
from local_cluster.node.atomic_files import File
from local_cluster.node.environment import MissingReferenceError, Reader, expand, field, resource

WRITTEN = ("secret", "configMap", "downwardAPI", "projected")
"""Volumes whose files this node writes: read-only inside, and kept up to date."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One directory or file made visible inside a pod."""

    source: Path
    target: str
    read_only: bool = False


def _data(kind: str, name: str, optional: bool, read: Reader) -> dict[str, bytes]:
    item = read(kind, name)
    if item is None:
        if optional:
            return {}
        singular = "secret" if kind == "secrets" else "configmap"
        raise MissingReferenceError(f'MountVolume.SetUp failed: {singular} "{name}" not found')
    data = item.get("data") or {}
    if kind == "secrets":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary = {key: base64.b64decode(value) for key, value in (item.get("binaryData") or {}).items()}
    return {**{key: value.encode() for key, value in data.items()}, **binary}


def _selected(data: dict[str, bytes], source: Mapping[str, Any], mode: int, name: str) -> dict[str, File]:
    items = source.get("items")
    if not items:
        return {key: File(content, mode) for key, content in data.items()}
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not source.get("optional"):
        raise MissingReferenceError(f"MountVolume.SetUp failed: references non-existent key {missing[0]} of {name}")
    return {i["path"]: File(data[i["key"]], i.get("mode", mode)) for i in items if i["key"] in data}


def _downward(pod: Mapping[str, Any], items: list[Mapping[str, Any]], mode: int) -> dict[str, File]:
    containers = {c["name"]: c for c in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]}
    files = {}
    for item in items:
        if "fieldRef" in item:
            text = field(pod, item["fieldRef"]["fieldPath"])
        else:
            reference = item["resourceFieldRef"]
            text = resource(containers.get(reference.get("containerName", ""), {}), reference)
        files[item["path"]] = File(text.encode(), item.get("mode", mode))
    return files


def files_of(volume: Mapping[str, Any], pod: Mapping[str, Any], read: Reader, mode: int = 0o644) -> dict[str, File]:
    """What a Secret's, ConfigMap's, downwardAPI's or projected volume holds. Pure."""
    if source := volume.get("secret"):
        name, mode = source.get("secretName") or source["name"], source.get("defaultMode", mode)
        return _selected(_data("secrets", name, source.get("optional", False), read), source, mode, name)
    if source := volume.get("configMap"):
        name, mode = source["name"], source.get("defaultMode", mode)
        return _selected(_data("configmaps", name, source.get("optional", False), read), source, mode, name)
    if "downwardAPI" in volume:
        source = volume["downwardAPI"]
        return _downward(pod, source.get("items") or [], source.get("defaultMode", mode))
    if token := volume.get("serviceAccountToken"):
        held = read("tokens", token.get("audience", ""))
        if held is None:
            raise MissingReferenceError("MountVolume.SetUp failed: failed to fetch token of the pod's ServiceAccount")
        return {token["path"]: File(held["token"].encode(), mode)}
    files: dict[str, File] = {}
    projected = volume.get("projected") or {}
    for part in projected.get("sources") or []:
        files.update(files_of(part, pod, read, projected.get("defaultMode", mode)))
    return files


class Volumes:
    """Makes the volumes of one pod below a directory of its own."""

    def __init__(self, directory: Path, pod: Mapping[str, Any], read: Reader) -> None:
        self._dir = directory
        self._pod = pod
        self._read = read

    def make(self) -> dict[str, Path]:
        """Volume name to directory. Raises MissingReferenceError for what must exist and does not."""
        return {volume["name"]: self._one(volume) for volume in self._pod["spec"].get("volumes") or []}

    def update(self) -> None:
        """Show what changed in the files that this node writes; what is gone meanwhile stays as it was."""
        for volume in self._pod["spec"].get("volumes") or []:
            if any(kind in volume for kind in WRITTEN):
                try:
                    self._one(volume)
                except MissingReferenceError:
                    continue

    def _one(self, volume: Mapping[str, Any]) -> Path:
        directory = self._dir / "volumes" / str(volume["name"])
        if "persistentVolumeClaim" in volume:
            return self._claim(volume["persistentVolumeClaim"]["claimName"])
        if "hostPath" in volume:
            path = Path(str(volume["hostPath"]["path"]))
            if volume["hostPath"].get("type") == "DirectoryOrCreate":
                path.mkdir(parents=True, exist_ok=True)
            return path
        if any(kind in volume for kind in WRITTEN):
            atomic_files.write(directory, files_of(volume, self._pod, self._read))
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _claim(self, name: str) -> Path:
        claim = self._read("persistentvolumeclaims", name)
        bound = (claim or {}).get("spec", {}).get("volumeName")
        volume = self._read("persistentvolumes", bound) if bound else None
        if volume is None:
            raise MissingReferenceError(f'persistentvolumeclaim "{name}" is not bound')
        return Path(str(volume["spec"]["hostPath"]["path"]))


def written(pod: Mapping[str, Any]) -> set[str]:
    """The names of a pod's volumes that this node writes."""
    volumes = pod["spec"].get("volumes") or []
    return {volume["name"] for volume in volumes if any(kind in volume for kind in WRITTEN)}


def mounts_of(
    container: Mapping[str, Any],
    volumes: Mapping[str, Path],
    read_only: set[str] | frozenset[str] = frozenset(),
    environment: Mapping[str, str] | None = None,
) -> list[Mount]:
    """Where a container sees its volumes; a subPath is taken as it is now and does not follow changes."""
    mounts = []
    for mount in container.get("volumeMounts") or []:
        name = mount["name"]
        source = volumes[name]
        below = mount.get("subPath") or expand(mount.get("subPathExpr", ""), environment or {})
        if below:
            source = source / below
            if not source.exists() and name not in read_only:
                source.mkdir(parents=True)
            source = source.resolve() if name in read_only else source
        mounts.append(Mount(source, mount["mountPath"], name in read_only or bool(mount.get("readOnly", False))))
    return mounts
