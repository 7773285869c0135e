"""Which volume of a user server's pod is the user's home, and who may write there.

Pure: a pod as the API shows it goes in, a Home comes out. Kernels mount what is found here and nothing else, so
it is read from the pod that was really asked for, after every template, profile and hook.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

DEFAULT_MOUNT_PATH = "/home/jovyan"
CONTAINER = "notebook"
"""KubeSpawner's name for the container of the user server."""


class HomeMode(StrEnum):
    """Where kernels find the home; Auto asks the claim."""

    AUTO = "Auto"
    SHARED = "Shared"
    SAME_NODE = "SameNode"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Home:
    """A home as kernels are told of it."""

    mode: HomeMode
    mount_path: str = DEFAULT_MOUNT_PATH
    claim_name: str | None = None
    sub_path: str | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    fs_group: int | None = None

    def as_spec(self) -> dict[str, Any]:
        """The ``spec.home`` of a JupyterNotebook. Absent values are None, which a merge patch takes for removal."""
        return {
            "mode": str(self.mode),
            "mountPath": self.mount_path,
            "claimName": self.claim_name,
            "subPath": self.sub_path,
            "runAsUser": self.run_as_user,
            "runAsGroup": self.run_as_group,
            "fsGroup": self.fs_group,
        }


@dataclass(frozen=True, slots=True)
class Mount:
    """One claim that the user server mounts."""

    claim_name: str
    mount_path: str
    sub_path: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A home, and what an administrator should know about how it was found (empty if nothing)."""

    home: Home
    note: str = ""


def find_mount(pod: Mapping[str, Any], *, pvc_name: str, mount_path: str = "") -> Mount | None:
    """The claim that is the user's home, or None.

    A ``mount_path`` that was configured decides alone. Otherwise the spawner's own claim is preferred, then what
    is mounted at the server's HOME or working directory, then what lies under ``/home``.
    """
    container = _container(pod)
    mounts = list(_claims(pod, container))
    if mount_path:
        return next((mount for mount in mounts if mount.mount_path == mount_path.rstrip("/")), None)
    hints = {_env(container).get("HOME"), container.get("workingDir")}

    def rank(mount: Mount) -> tuple[bool, bool, bool, int]:
        own = mount.claim_name == pvc_name
        return (
            not own,
            mount.mount_path not in hints,
            not mount.mount_path.startswith("/home/"),
            len(mount.mount_path),
        )

    best = min(mounts, key=rank, default=None)
    if best is not None and rank(best)[:3] == (True, True, True):
        return None  # a data set or a scratch disk, mounted somewhere else
    return best


def find_home(
    pod: Mapping[str, Any],
    mount: Mount | None,
    mode: HomeMode,
    *,
    access_modes: Sequence[str] | None = None,
    mount_path: str = "",
) -> Found:
    """The home that kernels of this user server get.

    ``access_modes`` are those of the claim, None if nobody could tell; they decide in mode Auto, and then a claim
    that nobody knows counts as shared, as homes on a file server are.
    """
    container = _container(pod)
    path = mount.mount_path if mount else mount_path.rstrip("/") or DEFAULT_MOUNT_PATH
    user, group, fs_group = _identity(pod, container)
    identity = {"run_as_user": user, "run_as_group": group, "fs_group": fs_group}
    if mode is HomeMode.NONE:
        return Found(Home(HomeMode.NONE, path, **identity))
    if mount is None:
        where = f"at {mount_path}" if mount_path else "that looks like a home"
        note = f"no persistent volume claim is mounted {where}: kernels get an empty home"
        return Found(Home(HomeMode.NONE, path, **identity), note)
    note = ""
    if mode is HomeMode.AUTO:
        mode, note = _mode_of(access_modes, mount.claim_name)
    if mode is HomeMode.NONE:
        return Found(Home(HomeMode.NONE, path, **identity), note)
    return Found(Home(mode, path, mount.claim_name, mount.sub_path, **identity), note)


def _mode_of(access_modes: Sequence[str] | None, claim: str) -> tuple[HomeMode, str]:
    if access_modes is None:
        return HomeMode.SHARED, f"the access modes of claim {claim} are not known: it is taken for shared"
    if "ReadWriteMany" in access_modes:
        return HomeMode.SHARED, ""
    if "ReadWriteOnce" in access_modes:
        return HomeMode.SAME_NODE, ""
    return HomeMode.NONE, f"claim {claim} can be written by one pod only: kernels get an empty home"


def _container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    containers: list[Mapping[str, Any]] = pod["spec"]["containers"]
    return next((one for one in containers if one.get("name") == CONTAINER), containers[0])


def _claims(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Iterable[Mount]:
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes") or ()
        if volume.get("persistentVolumeClaim") and not volume["persistentVolumeClaim"].get("readOnly")
    }
    for mount in container.get("volumeMounts") or ():
        if mount["name"] in claims and not mount.get("readOnly") and not mount.get("subPathExpr"):
            path = mount["mountPath"].rstrip("/") or "/"
            yield Mount(claims[mount["name"]], path, mount.get("subPath") or None)


def _env(container: Mapping[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container.get("env") or () if entry.get("value")}


def _identity(pod: Mapping[str, Any], container: Mapping[str, Any]) -> tuple[int | None, int | None, int | None]:
    """uid, gid and fsGroup of the user server; None where its image decides.

    Images that start as root and become ``NB_UID`` write the home as that user, and kernels never run as root.
    """
    own, whole = container.get("securityContext") or {}, pod["spec"].get("securityContext") or {}
    user = own.get("runAsUser", whole.get("runAsUser"))
    group = own.get("runAsGroup", whole.get("runAsGroup"))
    if user == 0:
        env = _env(container)
        user, group = _number(env.get("NB_UID")), _number(env.get("NB_GID"))
    return user, group, whole.get("fsGroup")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and int(text) else None
