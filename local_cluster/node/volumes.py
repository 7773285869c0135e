"""A pod's volumes as directories on this machine, and where they appear inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_cluster.node.environment import MissingReferenceError, Reader, field


@dataclass(frozen=True, slots=True)
class Mount:
    """One directory or file made visible inside a pod."""

    source: Path
    target: str
    read_only: bool = False


def _files(directory: Path, data: Mapping[str, bytes], mode: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in data.items():
        path = directory / name
        path.write_bytes(content)
        path.chmod(mode | 0o400)


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
    return {key: value.encode() for key, value in data.items()}


def _selected(data: dict[str, bytes], items: list[Mapping[str, Any]] | None) -> dict[str, bytes]:
    return {item["path"]: data[item["key"]] for item in items if item["key"] in data} if items else data


class Volumes:
    """Makes the volumes of one pod below a directory of its own."""

    def __init__(self, directory: Path, pod: Mapping[str, Any], read: Reader) -> None:
        self._dir = directory
        self._pod = pod
        self._read = read

    def make(self) -> dict[str, Path]:
        """Volume name to directory. Raises MissingReferenceError for what must exist and does not."""
        return {volume["name"]: self._one(volume) for volume in self._pod["spec"].get("volumes") or []}

    def _one(self, volume: Mapping[str, Any]) -> Path:
        directory = self._dir / "volumes" / volume["name"]
        if "persistentVolumeClaim" in volume:
            return self._claim(volume["persistentVolumeClaim"]["claimName"])
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        if "secret" in volume:
            source = volume["secret"]
            data = _data("secrets", source["secretName"], source.get("optional", False), self._read)
            _files(directory, _selected(data, source.get("items")), source.get("defaultMode", 0o644))
        elif "configMap" in volume:
            source = volume["configMap"]
            data = _data("configmaps", source["name"], source.get("optional", False), self._read)
            _files(directory, _selected(data, source.get("items")), source.get("defaultMode", 0o644))
        elif "downwardAPI" in volume:
            items = volume["downwardAPI"].get("items") or []
            data = {i["path"]: field(self._pod, i["fieldRef"]["fieldPath"]).encode() for i in items if "fieldRef" in i}
            _files(directory, data, 0o644)
        else:
            directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _claim(self, name: str) -> Path:
        claim = self._read("persistentvolumeclaims", name)
        bound = (claim or {}).get("spec", {}).get("volumeName")
        volume = self._read("persistentvolumes", bound) if bound else None
        if volume is None:
            raise MissingReferenceError(f'persistentvolumeclaim "{name}" is not bound')
        return Path(volume["spec"]["hostPath"]["path"])


def mounts_of(container: Mapping[str, Any], volumes: Mapping[str, Path]) -> list[Mount]:
    """Where a container sees its volumes."""
    mounts = []
    for mount in container.get("volumeMounts") or []:
        if mount["name"] not in volumes:
            continue  # a projected token of a ServiceAccount: nothing here asks for one
        source = volumes[mount["name"]]
        if mount.get("subPath"):
            source = source / mount["subPath"]
            if not source.exists():
                source.mkdir(parents=True)
        mounts.append(Mount(source, mount["mountPath"], bool(mount.get("readOnly", False))))
    return mounts
