"""The objects a kernel is made of: its pod and the Secret with its connection file.

Pure. The order of precedence, weakest first: the template's pod template, the size's fields, the kernelspec's
image, command and environment, and last what must hold whatever the administrator wrote: names, labels, the
connection file, the home, no service account token.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kernel_core.kernel import Kernel, Object
from kernel_core.names import (
    API_VERSION,
    CONNECTION_DIR,
    CONNECTION_FILE,
    CONNECTION_KEY,
    KERNEL_CONTAINER,
    LABEL_INCARNATION,
    LABEL_KERNEL,
    LABEL_MANAGED_BY,
    LABEL_USERNAME,
    pod_name,
    safe_slug,
    secret_name,
)
from kernel_core.sizes import KernelSpec, Size

GRACE_SECONDS = 5
"""Seconds a pod may take to end after SIGTERM. A kernel that is PID 1 ignores SIGTERM: more would only hold the GPU."""

DEFAULT_HOME = "/home/jovyan"
DEFAULT_UID = 1000
DEFAULT_GID = 100


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """A Jupyter connection file: where a kernel listens, and the key that signs its messages."""

    key: str
    shell_port: int
    iopub_port: int
    stdin_port: int
    control_port: int
    hb_port: int
    # Inside the pod. A file without an ip is rewritten by ipykernel, which fails on a read-only mount.
    ip: str = "0.0.0.0"  # noqa: S104
    transport: str = "tcp"
    signature_scheme: str = "hmac-sha256"

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_secret(cls, secret: Object) -> ConnectionInfo:
        """From a Secret that ``connection_secret`` made."""
        return cls(**json.loads(base64.b64decode(secret["data"][CONNECTION_KEY])))


@dataclass(frozen=True, slots=True)
class Home:
    """The home directory of a user server, as the spawner resolved it."""

    claim: str = ""
    mount_path: str = DEFAULT_HOME
    sub_path: str = ""
    mode: str = "Shared"
    node: str = ""
    uid: int = DEFAULT_UID
    gid: int = DEFAULT_GID
    fs_group: int | None = DEFAULT_GID


def parse_home(item: Object) -> Home:
    """The home of a JupyterNotebook that a spawner wrote."""
    home = (item.get("spec") or {}).get("home") or {}
    return Home(
        claim=home.get("claimName", ""),
        mount_path=home.get("mountPath") or DEFAULT_HOME,
        sub_path=home.get("subPath", ""),
        mode=home.get("mode") or "Shared",
        node=(item.get("status") or {}).get("nodeName", ""),
        uid=home.get("runAsUser", DEFAULT_UID),
        gid=home.get("runAsGroup", DEFAULT_GID),
        fs_group=home.get("fsGroup", DEFAULT_GID),
    )


def _owned(kernel: Kernel, name: str, namespace: str, incarnation: int) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": namespace,
        "labels": {
            LABEL_KERNEL: kernel.name,
            LABEL_INCARNATION: str(incarnation),
            LABEL_MANAGED_BY: kernel.managed_by,
        },
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": "JupyterKernel",
                "name": kernel.name,
                "uid": kernel.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }


def connection_secret(kernel: Kernel, incarnation: int, namespace: str, info: ConnectionInfo) -> dict[str, Any]:
    """The Secret with one incarnation's connection file."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _owned(kernel, secret_name(kernel.name, incarnation), namespace, incarnation),
        "immutable": True,
        "data": {CONNECTION_KEY: base64.b64encode(info.to_json().encode()).decode()},
    }


def _container(spec: dict[str, Any]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = spec.setdefault("containers", [])
    for container in containers:
        if container.get("name") == KERNEL_CONTAINER:
            return container
    if containers:
        containers[0]["name"] = KERNEL_CONTAINER
        return containers[0]
    containers.append({"name": KERNEL_CONTAINER})
    return containers[0]


def _merge_env(container: dict[str, Any], env: list[Mapping[str, Any]]) -> None:
    named = {entry["name"]: entry for entry in [*container.get("env", []), *env]}
    container["env"] = list(named.values())


def _apply_size(spec: dict[str, Any], container: dict[str, Any], size: Size) -> None:
    if size.resources:
        resources = container.setdefault("resources", {})
        for kind in ("requests", "limits"):
            resources[kind] = {**resources.get(kind, {}), **size.resources}
    if size.node_selector:
        spec["nodeSelector"] = {**spec.get("nodeSelector", {}), **size.node_selector}
    if size.tolerations:
        spec["tolerations"] = [*spec.get("tolerations", []), *size.tolerations]
    if size.priority_class:
        spec["priorityClassName"] = size.priority_class
    if size.shared_memory:
        volume = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": size.shared_memory}}
        spec.setdefault("volumes", []).append(volume)
        container.setdefault("volumeMounts", []).append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108


def _apply_home(spec: dict[str, Any], container: dict[str, Any], home: Home) -> None:
    mount: dict[str, Any] = {"name": "home", "mountPath": home.mount_path}
    if home.claim and home.mode != "None":
        volume: dict[str, Any] = {"persistentVolumeClaim": {"claimName": home.claim}}
        if home.sub_path:
            mount["subPath"] = home.sub_path
        if home.mode == "SameNode" and home.node:
            # The volume cannot be mounted on two nodes; the name is the node's label, so the scheduler still decides.
            spec["nodeSelector"] = {**spec.get("nodeSelector", {}), "kubernetes.io/hostname": home.node}
    else:
        volume = {"emptyDir": {}}
    spec.setdefault("volumes", []).append({"name": "home", **volume})
    container.setdefault("volumeMounts", []).append(mount)


def _secure(spec: dict[str, Any], container: dict[str, Any], home: Home) -> None:
    spec["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": home.uid,
        "runAsGroup": home.gid,
        **({"fsGroup": home.fs_group} if home.fs_group is not None else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
        **spec.get("securityContext", {}),
    }
    container["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        **container.get("securityContext", {}),
    }


def kernel_pod(
    kernel: Kernel, incarnation: int, namespace: str, spec: KernelSpec, size: Size | None, home: Home
) -> dict[str, Any]:
    """The pod of one incarnation, merged in the order that the module's first lines give."""
    template = copy.deepcopy(dict(size.template)) if size else {}
    pod: dict[str, Any] = template.get("spec") or {}
    container = _container(pod)
    if size:
        _apply_size(pod, container, size)
    container["image"] = spec.image
    if spec.image_pull_policy:
        container["imagePullPolicy"] = spec.image_pull_policy
    container["command"] = [word.replace("{connection_file}", CONNECTION_FILE) for word in spec.command]
    container.pop("args", None)
    container["workingDir"] = kernel.working_dir or home.mount_path
    _merge_env(container, list(spec.env))
    _merge_env(
        container,
        [
            {"name": "HOME", "value": home.mount_path},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "JUPYTERHUB_USER", "value": kernel.owner.user},
        ],
    )
    _apply_home(pod, container, home)
    secret = {"secretName": secret_name(kernel.name, incarnation), "defaultMode": 0o440}
    pod["volumes"].append({"name": "connection", "secret": secret})
    container["volumeMounts"].append({"name": "connection", "mountPath": CONNECTION_DIR, "readOnly": True})
    _secure(pod, container, home)
    pod["restartPolicy"] = "Never"
    pod["terminationGracePeriodSeconds"] = GRACE_SECONDS
    if "serviceAccountName" not in pod:
        pod["automountServiceAccountToken"] = False
        pod["enableServiceLinks"] = False
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _pod_metadata(kernel, incarnation, namespace, template.get("metadata") or {}),
        "spec": pod,
    }


def _pod_metadata(kernel: Kernel, incarnation: int, namespace: str, template: Mapping[str, Any]) -> dict[str, Any]:
    meta = _owned(kernel, pod_name(kernel.owner.user, kernel.name, incarnation), namespace, incarnation)
    meta["labels"] = {
        **template.get("labels", {}),
        "app": "jupyterhub",
        "component": "jupyter-kernel",
        "app.kubernetes.io/component": "kernel",
        LABEL_USERNAME: safe_slug(kernel.owner.user),
        **meta["labels"],
    }
    meta["annotations"] = {**template.get("annotations", {}), LABEL_USERNAME: kernel.owner.user}
    return meta
