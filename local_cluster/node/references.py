"""What a pod names beside itself: Secrets, ConfigMaps, claims and tokens, read when they are needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from kernel_core.cluster.client import ApiError, Client, NotFoundError, Resource, UnavailableError
from local_cluster.node.environment import Reader

READABLE = {
    "secrets": Resource("", "v1", "secrets"),
    "configmaps": Resource("", "v1", "configmaps"),
    "persistentvolumeclaims": Resource("", "v1", "persistentvolumeclaims"),
    "persistentvolumes": Resource("", "v1", "persistentvolumes"),
}
ACCOUNTS = Resource("", "v1", "serviceaccounts")
TOKEN_SECONDS = 3600
RENEW_AT = 0.8
"""The part of a token's life after which it is replaced, as a kubelet does."""


def _mounted(volume: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "secret" in volume:
        yield "secrets", volume["secret"].get("secretName") or volume["secret"]["name"]
    if "configMap" in volume:
        yield "configmaps", volume["configMap"]["name"]
    if "persistentVolumeClaim" in volume:
        yield "persistentvolumeclaims", volume["persistentVolumeClaim"]["claimName"]
    for source in (volume.get("projected") or {}).get("sources") or []:
        yield from _mounted(source)


def mounted(pod: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Every Secret, ConfigMap and claim among a pod's volumes."""
    return {name for volume in pod["spec"].get("volumes") or [] for name in _mounted(volume)}


def references(pod: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Every Secret, ConfigMap and claim that a pod names."""
    found = mounted(pod)
    for container in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
        origins = [entry.get("valueFrom") or {} for entry in container.get("env") or []]
        for source in [*origins, *(container.get("envFrom") or [])]:
            for key, kind in (("secret", "secrets"), ("configMap", "configmaps")):
                named = source.get(f"{key}KeyRef") or source.get(f"{key}Ref")
                if named:
                    found.add((kind, named["name"]))
    return found


def tokens(pod: Mapping[str, Any]) -> dict[str, int]:
    """The audiences of the ServiceAccount tokens that a pod mounts, with their seconds."""
    found: dict[str, int] = {}
    for volume in pod["spec"].get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            if token := source.get("serviceAccountToken"):
                found[token.get("audience", "")] = int(token.get("expirationSeconds", TOKEN_SECONDS))
    return found


class References:
    """Reads what one pod names."""

    def __init__(self, client: Client, pod: Mapping[str, Any]) -> None:
        self._client = client
        self._meta = dict(pod["metadata"])
        self._account = pod["spec"].get("serviceAccountName") or "default"
        self._names = references(pod)
        self._audiences = tokens(pod)
        self._tokens: dict[str, tuple[str, float]] = {}

    @property
    def renewal(self) -> float | None:
        """Seconds until a token has to be replaced, or None if there is none."""
        return min((max(at - monotonic(), 1.0) for _, at in self._tokens.values()), default=None)

    async def read(self) -> Reader:
        """A reader of everything the pod names, as it is now; None for what cannot be had."""
        namespace = self._meta["namespace"]
        items: dict[tuple[str, str], Mapping[str, Any] | None] = {}

        async def one(kind: str, name: str) -> None:
            scope = "" if kind == "persistentvolumes" else namespace
            try:
                items[kind, name] = await self._client.get(READABLE[kind], scope, name)
            except (NotFoundError, UnavailableError):
                items[kind, name] = None

        async def token(audience: str, seconds: int) -> None:
            items["tokens", audience] = {"token": text} if (text := await self._token(audience, seconds)) else None

        await asyncio.gather(
            *(one(kind, name) for kind, name in self._names), *(token(*asked) for asked in self._audiences.items())
        )
        bound = [(c or {}).get("spec", {}).get("volumeName") for (k, _), c in items.items() if k.endswith("claims")]
        await asyncio.gather(*(one("persistentvolumes", name) for name in bound if name))
        return lambda kind, name: items.get((kind, name))

    async def _token(self, audience: str, seconds: int) -> str:
        known = self._tokens.get(audience)
        if known is not None and monotonic() < known[1]:
            return known[0]
        pod = {"apiVersion": "v1", "kind": "Pod", "name": self._meta["name"], "uid": self._meta["uid"]}
        spec: dict[str, Any] = {"expirationSeconds": seconds, "boundObjectRef": pod}
        if audience:
            spec["audiences"] = [audience]
        path = ACCOUNTS.path(self._meta["namespace"], self._account, "token")
        try:
            answer = await self._client.request("POST", path, body={"spec": spec})
        except (ApiError, UnavailableError):
            return known[0] if known else ""
        text = str(answer["status"]["token"])
        self._tokens[audience] = (text, monotonic() + seconds * RENEW_AT)
        return text
