"""Which image stands in for one of the original operator's.

Pure. The original's images need its own launcher and an Enterprise Gateway of 2022, and its registries may be gone;
objects that name them must work all the same. The table is data: whoever has images of their own gives another.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

GATEWAY_IMAGE = "elastic-jupyter/gateway:0.1.0"
KERNEL_IMAGE = "elastic-jupyter/kernel-python:0.1.0"
KEEP = ""
"""As a target: the image stays, whatever a later pattern says."""

ORIGINAL_IMAGES: Mapping[str, str] = {
    "jupyter/base-notebook:*": KEEP,
    # A gateway first: its name may end in -with-kernel-spec.
    "ghcr.io/skai-x/enterprise-gateway*": GATEWAY_IMAGE,
    "ccr.ccs.tencentyun.com/kubeflow-oteam/enterprise-gateway*": GATEWAY_IMAGE,
    "ghcr.io/skai-x/jupyter-kernel-py*": KERNEL_IMAGE,
    "ccr.ccs.tencentyun.com/kubeflow-oteam/jupyter-kernel-py*": KERNEL_IMAGE,
}
"""Patterns as in a shell (``*`` and ``?``, case matters) to images; the first that fits decides."""


def mapped_image(image: str, table: Mapping[str, str] = ORIGINAL_IMAGES) -> tuple[str, bool]:
    """The image to run, and whether it is another than was asked for."""
    target = next((target for pattern, target in table.items() if fnmatchcase(image, pattern)), KEEP)
    if target in (KEEP, image):
        return image, False
    return target, True
