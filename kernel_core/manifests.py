"""The objects a kernel is made of: its pod and the Secret with its connection file.

Pure. The order of precedence, weakest first: the template's pod template, the size's fields, the kernelspec's
image, command and environment, and last what must hold whatever the administrator wrote: names, labels, the
connection file, the home, no service account token. ``docs/reference/pod-merge.md`` has it field by field.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

from kernel_core.images import ORIGINAL_IMAGES
from kernel_core.kernel import Kernel, Object
from kernel_core.labels import our_annotations, our_labels, size_annotations, size_labels
from kernel_core.merge import merged_list, merged_pod
from kernel_core.names import (
    API_VERSION,
    CONNECTION_DIR,
    CONNECTION_KEY,
    KERNEL_CONTAINER,
    LABEL_INCARNATION,
    LABEL_KERNEL,
    LABEL_MANAGED_BY,
    pod_name,
    secret_name,
)
from kernel_core.placeholders import filled, placeholder_values
from kernel_core.pod_template import Fragment, base_pod, kernel_container
from kernel_core.security import secured
from kernel_core.spec_objects import InvalidSpecError, KernelSpec, Size

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


def _home_layer(home: Home) -> Fragment:
    """The home of the user's server, or an empty one."""
    mount: dict[str, Any] = {"name": "home", "mountPath": home.mount_path}
    layer: Fragment = {"containers": [{"name": KERNEL_CONTAINER, "volumeMounts": [mount]}]}
    if not home.claim or home.mode == "None":
        return {**layer, "volumes": [{"name": "home", "emptyDir": {}}]}
    if home.sub_path:
        mount["subPath"] = home.sub_path
    layer["volumes"] = [{"name": "home", "persistentVolumeClaim": {"claimName": home.claim}}]
    if home.mode == "SameNode" and home.node:
        # The volume cannot be mounted on two nodes; the name is the node's label, so the scheduler still decides.
        layer["nodeSelector"] = {"kubernetes.io/hostname": home.node}
    return layer


def _connection_layer(kernel: Kernel, incarnation: int) -> Fragment:
    """The connection file, and how the pod ends."""
    secret = {"secretName": secret_name(kernel.name, incarnation), "defaultMode": 0o440}
    mount = {"name": "connection", "mountPath": CONNECTION_DIR, "readOnly": True}
    return {
        "volumes": [{"name": "connection", "secret": secret}],
        "containers": [{"name": KERNEL_CONTAINER, "volumeMounts": [mount]}],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
    }


def _our_env(kernel: Kernel, home: Home) -> list[dict[str, Any]]:
    return [
        {"name": "HOME", "value": home.mount_path},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        # A dollar in a name must not be read as a reference to another variable.
        {"name": "JUPYTERHUB_USER", "value": kernel.owner.user.replace("$", "$$")},
    ]


def kernel_pod(
    kernel: Kernel,
    incarnation: int,
    namespace: str,
    spec: KernelSpec,
    size: Size | None,
    home: Home,
    *,
    images: Mapping[str, str] = ORIGINAL_IMAGES,
) -> dict[str, Any]:
    """The pod of one incarnation, merged in the order that the module's first lines give.

    ``images`` maps old image names to those that run. Raises InvalidSpecError if no image is named anywhere.
    """
    base = base_pod(kernel, namespace, spec, size, images)
    pod = reduce(merged_pod, [_home_layer(home), _connection_layer(kernel, incarnation)], base.pod)
    container = kernel_container(pod)
    if not container.get("image"):
        raise InvalidSpecError(f"JupyterKernelSpec {spec.name}: spec.image is missing; name the image its kernels run.")
    ours = _our_env(kernel, home)
    # Ours come first, so that an administrator's variable may refer to them: $(HOME)/cache.
    container["env"] = merged_list(("name",), ours, container.get("env"), ours)
    container["workingDir"] = kernel.working_dir or container.get("workingDir") or home.mount_path
    meta = _owned(kernel, pod_name(kernel.owner.user, kernel.name, incarnation), namespace, incarnation)
    values = placeholder_values(kernel, namespace)
    meta["labels"] = {**filled(size_labels(size), values), **our_labels(kernel), **meta["labels"]}
    meta["annotations"] = {**filled(size_annotations(size), values), **our_annotations(kernel, base.adapted)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": secured(pod, home.uid, home.gid, home.fs_group),
    }
