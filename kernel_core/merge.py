"""How two pod specs become one: the upper one's word counts, and no list ends with two entries of one key.

Pure; neither side is changed. The API server's server-side apply refuses a list with a key twice, so an entry that
comes twice is one entry: in the place of the first, with the content of the last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

WHOLE: tuple[str, ...] = ()
"""As a key: the entry itself."""

CONTAINER_LISTS: Mapping[str, tuple[str, ...]] = {
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "protocol"),
}
POD_LISTS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "tolerations": WHOLE,
    "imagePullSecrets": ("name",),
    "resourceClaims": ("name",),
    "schedulingGates": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
"""The named lists of a pod spec, and which fields name an entry."""
POD_MAPPINGS = ("nodeSelector", "affinity")
"""Merged one level deep; everything that is in none of these tables is replaced as a whole."""

_DEFAULTS = {"protocol": "TCP"}


def merged_list(key: tuple[str, ...], *lists: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """The entries of all lists, weakest first."""
    found: dict[Any, dict[str, Any]] = {}
    for entry in (entry for entries in lists for entry in entries or ()):
        if key == WHOLE:
            identity: Any = json.dumps(entry, sort_keys=True)
        else:
            identity = tuple(str(entry.get(part, _DEFAULTS.get(part, ""))) for part in key)
        found[identity] = dict(entry)
    return list(found.values())


def merged_container(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One container of two."""
    made = {**below, **above}
    for field, key in CONTAINER_LISTS.items():
        if field in made:
            made[field] = merged_list(key, below.get(field), above.get(field))
    if "resources" in made:
        made["resources"] = _merged_resources(below.get("resources") or {}, above.get("resources") or {})
    return made


def merged_pod(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One pod spec of two."""
    made = {**below, **above}
    for field, key in POD_LISTS.items():
        if field in made and field not in ("containers", "initContainers"):
            made[field] = merged_list(key, below.get(field), above.get(field))
    for field in ("containers", "initContainers"):
        if field in made:
            made[field] = _merged_containers(below.get(field) or (), above.get(field) or ())
    for field in POD_MAPPINGS:
        if field in made:
            made[field] = {**(below.get(field) or {}), **(above.get(field) or {})}
    return made


def _merged_containers(*lists: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for container in (container for containers in lists for container in containers):
        found[container["name"]] = merged_container(found.get(container["name"], {}), container)
    return list(found.values())


def _merged_resources(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    made = {**below, **above}
    for field in ("requests", "limits"):
        if field in made:
            made[field] = {**(below.get(field) or {}), **(above.get(field) or {})}
    if "claims" in made:
        made["claims"] = merged_list(("name", "request"), below.get("claims"), above.get("claims"))
    return made


def without_nulls(value: Any) -> Any:
    """A copy of a JSON value in which a null field is an absent one, as the API server reads it."""
    if isinstance(value, Mapping):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(entry) for entry in value if entry is not None]
    return value
