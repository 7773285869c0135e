"""The labels and annotations of a kernel's pod, by which people count and charge for it.

Pure. Ours stand above everything: by them pods are found again. A user's label is written exactly as KubeSpawner
writes it on the user's server, so that dashboards and bills by user and server join both.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from kernel_core.kernel import Kernel
from kernel_core.names import GROUP, LABEL_USERNAME
from kernel_core.spec_objects import Size, as_text

LABEL_SERVERNAME = "hub.jupyter.org/servername"
LABEL_KERNEL_ID = "kernel_id"
"""Enterprise Gateway's."""
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
ANNOTATION_ADAPTED = f"{GROUP}/adapted"
"""What was changed about objects of the original operator, in words."""

DEFAULT_ANNOTATIONS: Mapping[str, str] = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
"""A running kernel has variables. Templates and sizes may say otherwise."""

METADATA_FIELDS = frozenset(
    {
        "name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences", "uid",
        "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "selfLink", "managedFields",
    }
)  # fmt: skip
"""What may stand in an object's metadata. Anything else in a template's is a label that was put too high."""

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def user_label(name: str) -> str:
    """A user's or server's name as KubeSpawner 7 writes it in a label."""
    if "--" not in name and (not name or _LABEL.fullmatch(name)):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-")[:21].rstrip("-")
    if stem and not stem[0].isalpha():
        stem = f"x-{stem[:19]}"
    return f"{stem or 'x'}---{digest}"


def template_labels(template: Mapping[str, Any]) -> dict[str, str]:
    """Labels of a pod template; the original's samples have ``app`` and ``component`` beside ``labels``."""
    metadata: Mapping[str, Any] = template.get("metadata") or {}
    stray = {k: v for k, v in metadata.items() if k not in METADATA_FIELDS and isinstance(v, str | int | float)}
    return {key: as_text(value) for key, value in {**stray, **(metadata.get("labels") or {})}.items()}


def size_labels(size: Size | None) -> dict[str, str]:
    """An administrator's labels, unfilled."""
    if size is None:
        return {}
    queue = {LABEL_QUEUE: size.queue} if size.queue else {}
    return {**template_labels(size.template), **size.labels, **queue}


def size_annotations(size: Size | None) -> dict[str, str]:
    """An administrator's annotations above the defaults, unfilled."""
    if size is None:
        return dict(DEFAULT_ANNOTATIONS)
    template: Mapping[str, Any] = (size.template.get("metadata") or {}).get("annotations") or {}
    return {**DEFAULT_ANNOTATIONS, **{key: as_text(value) for key, value in template.items()}, **size.annotations}


def our_labels(kernel: Kernel) -> dict[str, str]:
    """What says whose kernel a pod is; the labels by which the controller finds it come on top."""
    return {
        "app": "jupyterhub",
        "component": "jupyter-kernel",
        "app.kubernetes.io/name": "jupyter-kernel",
        "app.kubernetes.io/component": "kernel",
        "app.kubernetes.io/part-of": "elastic-jupyter",
        "app.kubernetes.io/managed-by": "elastic-jupyter",
        LABEL_KERNEL_ID: kernel.id,
        LABEL_USERNAME: user_label(kernel.owner.user),
        LABEL_SERVERNAME: user_label(kernel.owner.server),
    }


def our_annotations(kernel: Kernel, adapted: str) -> dict[str, str]:
    """Names as they are, and what was changed about the administrator's objects."""
    return {
        LABEL_USERNAME: kernel.owner.user,
        **({LABEL_SERVERNAME: kernel.owner.server} if kernel.owner.server else {}),
        **({ANNOTATION_ADAPTED: adapted} if adapted else {}),
    }
