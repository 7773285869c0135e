"""Keeps one container going as its pod wants it: starts, probes, restarts with pauses, and tells its state."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from local_cluster.node.checks import ask
from local_cluster.node.container import ContainerProcess, now
from local_cluster.node.probes import Kind, Probe, Verdict, pre_stop, probes_of
from local_cluster.node.restarts import BackOff, starts_again
from local_cluster.node.status import Container, terminated, waiting

RETRY_PAUSE = 0.5
"""Seconds between two looks for something that a container needs and that is not there."""
LEAST_GRACE = 2.0
"""Seconds that a container has to end after its preStop hook took all of its grace."""


class NotYetError(Exception):
    """A container cannot be started now; ``reason`` is the kubelet's word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container's keeper needs of its pod."""

    ip: str
    label: str
    """``name_namespace(uid)``, as the kubelet's messages have it."""
    policy: str
    grace: float
    log: Path
    stopping: asyncio.Event
    make: Callable[[Mapping[str, Any]], Awaitable[ContainerProcess]]
    """The container's process, not yet started. Raises NotYetError."""
    changed: Callable[[], Awaitable[None]]
    event: Callable[[str, str, str, str], None]
    """Type, reason, message, container."""


class Keeper:
    """One container, over all its starts."""

    def __init__(self, spec: Mapping[str, Any], around: Surroundings, *, reason: str = "ContainerCreating") -> None:
        self._spec = spec
        self._around = around
        self._probes = probes_of(spec, around.ip)
        self._process: ContainerProcess | None = None
        self.name: str = spec["name"]
        self.state = Container(self.name, spec.get("image", ""), waiting(reason))
        self.begun = asyncio.Event()
        """Set once it runs and its startup probe, if any, has succeeded."""
        self.log_starts: list[int] = []
        """Where in the log its last two starts are."""

    async def keep(self) -> int:
        """Run it until its pod stops or its policy wants no more; the last exit code."""
        back_off, around = BackOff(), self._around
        while (process := await self._start()) is not None:
            began = monotonic()
            code = await self._watch(process)
            end = terminated(code, process.started, now())
            if around.stopping.is_set() or not starts_again(around.policy, code):
                await self._set(state=end)
                return code
            pause = back_off.after(monotonic() - began)
            words = f"back-off {pause:.0f}s restarting failed container={self.name} pod={around.label}"
            await self._set(state=waiting("CrashLoopBackOff", words), last=end)
            message = f"Back-off restarting failed container {self.name} in pod {around.label}"
            around.event("Warning", "BackOff", message, self.name)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await around.stopping.wait()
        return -1

    async def _start(self) -> ContainerProcess | None:
        """Start it as soon as all it needs is there; None when its pod stops before."""
        around = self._around
        while not around.stopping.is_set():
            try:
                process = await around.make(self._spec)
            except NotYetError as error:
                await self._set(state=waiting(error.reason, str(error)))
                await asyncio.sleep(RETRY_PAUSE)
                continue
            if around.stopping.is_set():
                return None
            self.log_starts = [*self.log_starts[-1:], around.log.stat().st_size if around.log.exists() else 0]
            self._process = process
            await process.start()
            if around.stopping.is_set():
                await process.stop(0)
            await self._set(
                state={"running": {"startedAt": process.started}},
                restarts=self.state.restarts + (self.state.last is not None),
                healthy=Kind.READINESS not in self._probes,
                begun=Kind.STARTUP not in self._probes,
            )
            if Kind.STARTUP not in self._probes:
                self.begun.set()
            return process
        return None

    async def _watch(self, process: ContainerProcess) -> int:
        probing = asyncio.create_task(self._probe(process), name=f"probes of {self.name}")
        try:
            return await process.wait()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)

    async def _probe(self, process: ContainerProcess) -> None:
        if Kind.STARTUP in self._probes:
            if not await self._follow(process, self._probes[Kind.STARTUP]):
                return
            await self._set(begun=True)
            self.begun.set()
        kinds = [kind for kind in (Kind.READINESS, Kind.LIVENESS) if kind in self._probes]
        await asyncio.gather(*(self._follow(process, self._probes[kind]) for kind in kinds))

    async def _follow(self, process: ContainerProcess, probe: Probe) -> bool:
        """Ask until a startup probe succeeded (True) or a failed one has ended the container (False)."""
        verdict = Verdict(probe)
        await asyncio.sleep(probe.initial_delay)
        while True:
            asked = monotonic()
            wrong = await ask(probe, process.run)
            if wrong:
                self._around.event("Warning", "Unhealthy", f"{probe.kind} probe failed: {wrong}", self.name)
            told = verdict.take(not wrong)
            if told is not None and probe.kind is Kind.READINESS:
                await self._set(healthy=told)
            elif told and probe.kind is Kind.STARTUP:
                return True
            elif told is False:
                await self._kill(process, probe)
                return False
            await asyncio.sleep(max(probe.period - (monotonic() - asked), 0.05))

    async def _kill(self, process: ContainerProcess, probe: Probe) -> None:
        word = "startup" if probe.kind is Kind.STARTUP else "liveness"
        after = "will be restarted" if self._around.policy != "Never" else "will be killed"
        self._around.event("Normal", "Killing", f"Container {self.name} failed {word} probe, {after}", self.name)
        await self._end(process, self._around.grace if probe.grace is None else probe.grace)

    async def _end(self, process: ContainerProcess, grace: float) -> None:
        """Do what is to be done before its end, then end it; both within its grace."""
        began = monotonic()
        check, pause = pre_stop(self._spec, self._around.ip, grace)
        if grace > 0 and process.running and (check is not None or pause):
            if pause:
                await process.ended(pause)
            if check is not None and (wrong := await ask(Probe(Kind.PRE_STOP, check, timeout=grace), process.run)):
                self._around.event("Warning", "FailedPreStopHook", f"PreStopHook failed: {wrong}", self.name)
        await process.stop(max(grace - (monotonic() - began), min(grace, LEAST_GRACE)))

    async def _set(self, **changes: Any) -> None:
        new = replace(self.state, **changes)
        if new != self.state:
            self.state = new
            await self._around.changed()

    def wait_for(self, reason: str, message: str) -> bool:
        """Say why it has not been started; whether that is new."""
        old, self.state = self.state, replace(self.state, state=waiting(reason, message))
        return old != self.state

    async def stop(self, grace: float) -> None:
        """End its process."""
        if self._process is not None:
            await self._end(self._process, grace)
