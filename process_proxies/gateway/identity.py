"""Who is asking: the Hub's word for a token, and nothing that a request says of itself.

A user server sends its own Hub token with every request. The Hub is asked once for each token and the answer kept
for a short time, by digest, so that no token is held in memory longer than its request.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

import aiohttp

from kernel_core.kernel import Owner

log = logging.getLogger(__name__)

NEGATIVE_LIFETIME = 5.0
"""Seconds for which "the Hub knows no such token" is believed: a new server's first request must not lock it out."""
HUB_LIMIT = 10.0
"""Seconds within which the Hub must answer."""
MAX_ENTRIES = 20000


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller that the Hub vouches for."""

    owner: Owner
    groups: frozenset[str] = frozenset()
    admin: bool = False


class UnknownCallerError(Exception):
    """No token, or one that stands for nobody who may have kernels."""


class HubUnavailableError(Exception):
    """The Hub could not be asked, so nobody knows who is calling."""


def token_of(headers: Mapping[str, str]) -> str:
    """The token in an Authorization header, or ""."""
    match = re.fullmatch(r"\s*(?:token|bearer)\s+(\S+)\s*", headers.get("Authorization", ""), re.IGNORECASE)
    return match.group(1) if match else ""


def _servers(user: str, scopes: Iterable[str]) -> set[str]:
    prefix = f"access:servers!server={user}/"
    return {scope.removeprefix(prefix) for scope in scopes if scope.startswith(prefix)}


def identity_of(model: Mapping[str, Any]) -> Identity:
    """The identity in the Hub's answer to ``GET /user``. Raises UnknownCallerError.

    A user server's token may access exactly one server: that server is the owner. A user's own API token, which
    may access all of theirs, acts for the default server. A service has no kernels.
    """
    name = model.get("name")
    if model.get("kind") != "user" or not isinstance(name, str) or not name:
        raise UnknownCallerError(f"{model.get('kind')} {name!r} has no kernels")
    scopes = [str(scope) for scope in model.get("scopes") or []]
    servers = _servers(name, scopes)
    if len(servers) == 1:
        server = servers.pop()
    elif {f"access:servers!user={name}", "access:servers"} & set(scopes):
        server = ""
    else:
        raise UnknownCallerError(f"the token of {name} names no single server")
    return Identity(Owner(name, server), frozenset(model.get("groups") or ()), bool(model.get("admin")))


@dataclass(slots=True)
class _Entry:
    identity: Identity | None
    checked: float


class HubIdentities:
    """Asks the Hub, once for each token at a time."""

    def __init__(self, api_url: str, lifetime: timedelta, outage_lifetime: timedelta) -> None:
        """``lifetime``: how long an answer is believed; ``outage_lifetime``: how long while the Hub is away."""
        self._url = f"{api_url.rstrip('/')}/user"
        self._lifetime = lifetime.total_seconds()
        self._outage_lifetime = outage_lifetime.total_seconds()
        self._entries: dict[str, _Entry] = {}
        self._asking: dict[str, asyncio.Task[Identity | None]] = {}
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the connection pool."""
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HUB_LIMIT))

    async def stop(self) -> None:
        """Close it."""
        if self._http is not None:
            await self._http.close()

    async def identify(self, token: str) -> Identity:
        """Who a token stands for. Raises UnknownCallerError, or HubUnavailableError when nobody knows."""
        if not token:
            raise UnknownCallerError("no token")
        key = hashlib.sha256(token.encode()).hexdigest()
        now = monotonic()
        entry = self._entries.get(key)
        if entry is not None:
            lifetime = self._lifetime if entry.identity else NEGATIVE_LIFETIME
            if now - entry.checked < lifetime:
                return _known(entry.identity)
        try:
            identity = await self._ask_once(key, token)
        except HubUnavailableError:
            if entry is not None and entry.identity and now - entry.checked < self._outage_lifetime:
                return entry.identity
            raise
        if len(self._entries) >= MAX_ENTRIES:
            self._entries.clear()
        self._entries[key] = _Entry(identity, monotonic())
        return _known(identity)

    async def _ask_once(self, key: str, token: str) -> Identity | None:
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(token))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, token: str) -> Identity | None:
        if self._http is None:
            raise RuntimeError("HubIdentities was not started.")
        try:
            async with self._http.get(self._url, headers={"Authorization": f"token {token}"}) as answer:
                if answer.status in (401, 403, 404):
                    return None
                if answer.status != 200:
                    raise HubUnavailableError(f"the Hub answered {answer.status}")
                return identity_of(await answer.json())
        except UnknownCallerError as error:
            log.info("A token was refused: %s", error)
            return None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise HubUnavailableError(f"the Hub at {self._url} does not answer: {type(error).__name__}") from error


def _known(identity: Identity | None) -> Identity:
    if identity is None:
        raise UnknownCallerError("the Hub knows no such token")
    return identity
