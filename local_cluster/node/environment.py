"""A container's environment variables, as the kubelet would make them. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING
from typing import Any

from kernel_core.quantities import parse_quantity

CAPACITY = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "500Gi"}
"""What the node says it has; the limit of a container that sets none."""

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


def resource(container: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """The value of a resourceFieldRef: whole multiples of its divisor, rounded up."""
    where, _, name = str(reference["resource"]).partition(".")
    amounts = container.get("resources") or {}
    text = (amounts.get(where) or {}).get(name) or (amounts.get("limits") or {}).get(name) or CAPACITY.get(name, "0")
    divisor = parse_quantity(reference.get("divisor") or "1") or parse_quantity("1")
    quantity = parse_quantity(text)
    if quantity is None or divisor is None:
        return ""
    return str(int((quantity / divisor).to_integral_value(ROUND_CEILING)))


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


def _from_whole(source: Mapping[str, Any], read: Reader) -> dict[str, str]:
    """The variables of one envFrom entry."""
    found: dict[str, str] = {}
    for key, kind, singular in (("secretRef", "secrets", "secret"), ("configMapRef", "configmaps", "configmap")):
        if key not in source:
            continue
        item = read(kind, source[key]["name"])
        if item is None and not source[key].get("optional"):
            raise MissingReferenceError(f'{singular} "{source[key]["name"]}" not found')
        for name, value in ((item or {}).get("data") or {}).items():
            text = base64.b64decode(value).decode() if kind == "secrets" else value
            found[source.get("prefix", "") + name] = text
    return found


def container_environment(
    pod: Mapping[str, Any], container: Mapping[str, Any], read: Reader, services: Mapping[str, str] | None = None
) -> dict[str, str]:
    """All variables of a container over those of Services. Raises MissingReferenceError for what must exist."""
    known: dict[str, str] = dict(services or {})
    for source in container.get("envFrom") or []:
        known.update(_from_whole(source, read))
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
            value = resource(container, origin["resourceFieldRef"])
        else:
            value = expand(entry.get("value", ""), known)
        if value is not None:
            known[entry["name"]] = value
    return known
