"""The names by which the parts find each other's objects.

Pure. A name made here is valid in Kubernetes whatever the user is called, and two users never share one.
"""

from __future__ import annotations

import hashlib
import re

GROUP = "kubeflow.tkestack.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

KERNELS = "jupyterkernels"
KERNEL_SPECS = "jupyterkernelspecs"
KERNEL_TEMPLATES = "jupyterkerneltemplates"
NOTEBOOKS = "jupyternotebooks"

LABEL_KERNEL = f"{GROUP}/kernel"
"""On a pod or Secret: the JupyterKernel that it serves."""
LABEL_INCARNATION = f"{GROUP}/incarnation"
"""On a pod or Secret: which of the kernel's pod lives it belongs to."""
LABEL_MANAGED_BY = f"{GROUP}/managed-by"
"""On a pod or Secret: the gateway whose controller made it."""
LABEL_USERNAME = "hub.jupyter.org/username"
"""KubeSpawner's own label and annotation, so that dashboards by user count kernels too."""

KERNEL_CONTAINER = "kernel"
CONNECTION_KEY = "connection.json"
CONNECTION_DIR = "/run/elastic-jupyter/connection"
CONNECTION_FILE = f"{CONNECTION_DIR}/{CONNECTION_KEY}"

_VALID = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def safe_slug(name: str, max_length: int = 40) -> str:
    """``name`` as part of an object's name: lower-case letters, digits and dashes.

    A name that needed no change is kept. Any other gets a digest of the original, so two names never
    share a slug.
    """
    if len(name) <= max_length and _VALID.fullmatch(name) and "--" not in name:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: max_length - 11].strip("-")
    return f"{stem}---{digest}" if stem else f"x---{digest}"


def pod_name(user: str, kernel: str, incarnation: int) -> str:
    """The pod of one incarnation. It starts with ``jupyter-`` so that dashboards of user pods show it."""
    return f"jupyter-{safe_slug(user, 20)}-{kernel}-{incarnation}"


def secret_name(kernel: str, incarnation: int) -> str:
    """The Secret with the connection file of one incarnation."""
    return f"kernel-{kernel}-{incarnation}"


def notebook_name(user: str, server: str) -> str:
    """The JupyterNotebook of a user server; spawner and gateway derive it from the same two strings."""
    if not server:
        return safe_slug(user, 60)
    return f"{safe_slug(user, 40)}--{safe_slug(server, 40)}"


def kernelspec_name(spec: str, size: str) -> str:
    """What Jupyter calls a JupyterKernelSpec in one size. Notebooks store it, so it never changes."""
    return f"{spec}-{size}" if size else spec
