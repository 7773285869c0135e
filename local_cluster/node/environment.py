"""A container's environment variables, as the kubelet would make them. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class MissingReferenceError(LookupError):
    """A Secret, ConfigMap or key that a container names and that does not exist."""


Reader = Callable[[str, str], Mapping[str, Any] | None]
"""(``secrets`` or ``configmaps``, name) to the object, or None."""


def expand(text: str, known: Mapping[str, str]) -> str:
    """``$(NAME)`` replaced by a variable that is known, ``$$`` by ``$``; an unknown one stays as it is."""

    def replacement(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return known.get(match.group(1), match.group(0))

    return _REFERENCE.sub(replacement, text)


def field(pod: Mapping[str, Any], path: str) -> str:
    """The value of a fieldRef."""
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((pod["metadata"].get(match.group(1)) or {}).get(match.group(2), ""))
    value: Any = pod
    for part in path.split("."):
        value = (value or {}).get(part)
    return "" if value is None else str(value)


def key_of(kind: str, reference: Mapping[str, Any], read: Reader) -> str | None:
    """The value that a secretKeyRef or configMapKeyRef names; None if it is optional and not there."""
    item = read(kind, reference["name"])
    data = (item or {}).get("data") or {}
    if reference["key"] in data:
        value: str = data[reference["key"]]
        return base64.b64decode(value).decode() if kind == "secrets" else value
    if reference.get("optional"):
        return None
    singular = "secret" if kind == "secrets" else "configmap"
    if item is None:
        raise MissingReferenceError(f'{singular} "{reference["name"]}" not found')
    raise MissingReferenceError(f"couldn't find key {reference['key']} in {singular} {reference['name']}")


def container_environment(pod: Mapping[str, Any], container: Mapping[str, Any], read: Reader) -> dict[str, str]:
    """All variables of a container. Raises MissingReferenceError for what must exist and does not."""
    known: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix", "")
        for kind, key in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            if kind in source:
                item = read(key, source[kind]["name"]) or {}
                for name, value in (item.get("data") or {}).items():
                    known[prefix + name] = base64.b64decode(value).decode() if key == "secrets" else value
    for entry in container.get("env") or []:
        origin = entry.get("valueFrom") or {}
        value: str | None
        if "fieldRef" in origin:
            value = field(pod, origin["fieldRef"]["fieldPath"])
        elif "secretKeyRef" in origin:
            value = key_of("secrets", origin["secretKeyRef"], read)
        elif "configMapKeyRef" in origin:
            value = key_of("configmaps", origin["configMapKeyRef"], read)
        elif "resourceFieldRef" in origin:
            value = str((container.get("resources", {}).get("limits") or {}).get("memory", ""))
        else:
            value = expand(entry.get("value", ""), known)
        if value is not None:
            known[entry["name"]] = value
    return known
