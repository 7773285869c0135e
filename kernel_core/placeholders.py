"""``{username}`` and its like in what an administrator writes.

Pure. Every value is a slug before it is put in, so that no user, whatever they are called, reaches another folder,
claim or label by their name. Values are put in once, in one pass: what one of them looks like is never read again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kernel_core.kernel import Kernel
from kernel_core.names import safe_slug

_PLACEHOLDER = re.compile(r"\{(username|servername|kernel_id|namespace|kernel_name)\}")

_LENGTH = 48
"""KubeSpawner's, so that the same placeholder names the same folder there and here."""

FILLED_POD_FIELDS = ("volumes", "resourceClaims")
FILLED_CONTAINER_FIELDS = ("env", "envFrom", "volumeMounts", "workingDir")
"""Where placeholders are filled, besides labels and annotations. Not in commands: ``{namespace}`` is jsonpath there."""


def placeholder_values(kernel: Kernel, namespace: str) -> dict[str, str]:
    """What the placeholders stand for. The default server has no name, and gives an empty one."""
    return {
        "username": safe_slug(kernel.owner.user, _LENGTH),
        "servername": safe_slug(kernel.owner.server, _LENGTH) if kernel.owner.server else "",
        "kernel_id": safe_slug(kernel.name, 63),
        "namespace": safe_slug(namespace, 63),
        "kernel_name": safe_slug(kernel.kernelspec_name, 63),
    }


def filled(value: Any, values: Mapping[str, str]) -> Any:
    """A JSON value with all its strings filled; keys and unknown placeholders stay as they are written."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: values[match[1]], value)
    if isinstance(value, Mapping):
        return {key: filled(entry, values) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [filled(entry, values) for entry in value]
    return value


def filled_pod(pod: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """A pod spec, filled where placeholders are known."""
    made = _filled_fields(pod, FILLED_POD_FIELDS, values)
    for kind in ("containers", "initContainers"):
        if kind in made:
            made[kind] = [_filled_fields(entry, FILLED_CONTAINER_FIELDS, values) for entry in made[kind]]
    return made


def _filled_fields(item: Mapping[str, Any], fields: tuple[str, ...], values: Mapping[str, str]) -> dict[str, Any]:
    return {key: filled(value, values) if key in fields else value for key, value in item.items()}
