"""What a container's probes ask, when, and what follows from the answers. Pure; ``checks`` asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a probe is for, as events name it."""

    STARTUP = "Startup"
    READINESS = "Readiness"
    LIVENESS = "Liveness"
    PRE_STOP = "PreStop"  # no probe, but it is asked in the same ways


@dataclass(frozen=True, slots=True)
class HttpGet:
    """Healthy if it answers below 400."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """Healthy if somebody listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Exec:
    """Healthy if it ends with 0, inside the container."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nothing:
    """A probe that this node cannot ask; it always fails and says why."""

    why: str


Check = HttpGet | TcpSocket | Exec | Nothing


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe with its times in seconds."""

    kind: Kind
    check: Check
    initial_delay: float = 0
    period: float = 10
    timeout: float = 1
    successes: int = 1
    failures: int = 3
    grace: float | None = None
    """How long a container has to end after this probe failed; None means as long as its pod says."""


def port_of(container: Mapping[str, Any], port: Any) -> int | None:
    """A probe's port, by number or by the name that the container gives it."""
    if isinstance(port, int):
        return port
    named = {p.get("name"): p["containerPort"] for p in container.get("ports") or []}
    return named.get(port)


def _check(container: Mapping[str, Any], spec: Mapping[str, Any], ip: str) -> Check:
    if "exec" in spec:
        return Exec(tuple(spec["exec"].get("command") or ()))
    asked = spec.get("httpGet") or spec.get("tcpSocket") or spec.get("grpc")
    if asked is None:
        return Nothing("missing probe handler")
    port, host = port_of(container, asked["port"]), asked.get("host") or ip
    if port is None:
        return Nothing(f"couldn't find port: {asked['port']}")
    if "httpGet" not in spec:
        return TcpSocket(host, port)  # grpc too: that it listens is all that is asked here
    path = "/" + (asked.get("path") or "/").lstrip("/")
    headers = {h["name"]: h["value"] for h in asked.get("httpHeaders") or []}
    return HttpGet(f"{asked.get('scheme', 'HTTP').lower()}://{host}:{port}{path}", headers)


def probes_of(container: Mapping[str, Any], ip: str) -> dict[Kind, Probe]:
    """A container's probes."""
    found = {}
    for kind in (Kind.STARTUP, Kind.READINESS, Kind.LIVENESS):
        spec = container.get(f"{kind.lower()}Probe")
        if spec:
            found[kind] = Probe(
                kind,
                _check(container, spec, ip),
                float(spec.get("initialDelaySeconds") or 0),
                float(spec.get("periodSeconds") or 10),
                float(spec.get("timeoutSeconds") or 1),
                int(spec.get("successThreshold") or 1),
                int(spec.get("failureThreshold") or 3),
                spec.get("terminationGracePeriodSeconds"),
            )
    return found


def pre_stop(container: Mapping[str, Any], ip: str, limit: float) -> tuple[Check | None, float]:
    """What is to be done before a container is told to end, and how many seconds to wait before that."""
    hook = (container.get("lifecycle") or {}).get("preStop") or {}
    pause = min(float((hook.get("sleep") or {}).get("seconds") or 0), limit)
    return (_check(container, hook, ip) if hook and "sleep" not in hook else None), pause


@dataclass(slots=True)
class Verdict:
    """What a probe's answers in a row mean."""

    probe: Probe
    _last: bool | None = field(default=None, init=False)
    _run: int = field(default=0, init=False)

    def take(self, healthy: bool) -> bool | None:
        """True or False once as many answers in a row say so, None until then."""
        self._run = self._run + 1 if healthy == self._last else 1
        self._last = healthy
        needed = self.probe.successes if healthy else self.probe.failures
        return healthy if self._run >= needed else None
