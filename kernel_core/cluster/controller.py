"""Applies plans: the one writer of a kernel's status and the maker of its pods.

A thin shell around ``make_plan``. Everything it remembers (who has answered, what was refused) may be lost:
another process that starts from the objects alone goes on where this one stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from kernel_core.cluster.client import EVENTS, ApiError, Client, ConflictError, NotFoundError, UnavailableError, custom
from kernel_core.cluster.informer import Informer
from kernel_core.cluster.pods import KernelPods, RefusedError
from kernel_core.cluster.queue import Queue
from kernel_core.cluster.store import KERNEL_RESOURCE, Kernels
from kernel_core.deadlines import STOP_LIMIT, Activity
from kernel_core.events import event_of
from kernel_core.kernel import ExecutionState, Kernel, Phase, Pod, Reason, Status, status_json
from kernel_core.lifecycle import Facts, Refusal
from kernel_core.manifests import Home, parse_home
from kernel_core.names import KERNEL_SPECS, KERNEL_TEMPLATES, NOTEBOOKS, notebook_name
from kernel_core.plan import (
    Action,
    ConfirmAbsence,
    CreatePod,
    DeleteKernel,
    Limits,
    RemovePod,
    SuspendForIdle,
    make_plan,
)
from kernel_core.sizes import InvalidSpecError, KernelSpec, Size, parse_size, parse_spec, size_of

log = logging.getLogger(__name__)

SYNC_LIMIT = timedelta(seconds=30)
"""How long the first list of each kind may take."""
FIRST_REFUSAL_PAUSE, LONGEST_REFUSAL_PAUSE = timedelta(seconds=2), timedelta(seconds=15)
"""Pause before a refused pod is asked for again, doubling: nothing tells us when a quota has room."""


class KernelHost(Protocol):
    """The process that talks to kernels, as the controller sees it. All calls come from the event loop."""

    def kernel_changed(self, kernel: Kernel) -> None:
        """An object was seen changed; called once for each at the start too."""

    def kernel_gone(self, name: str) -> None:
        """An object was deleted."""

    def prepare_suspend(self, name: str, incarnation: int) -> bool:
        """Asked right before the idle rule suspends: False if anything is in flight, True holds new requests back."""

    def in_use(self, name: str) -> bool:
        """Whether a notebook is open on it."""

    async def stop_kernel(self, kernel: Kernel, limit: timedelta) -> None:
        """Ask the kernel to end and wait for it, at most ``limit``. Must not raise."""


@dataclass(slots=True)
class _Memory:
    """What is remembered of one incarnation."""

    incarnation: int
    facts: Facts = field(default_factory=Facts)
    refusal_pause: timedelta = FIRST_REFUSAL_PAUSE


class KernelController:
    """Keeps the kernels of one manager as their specs want them."""

    def __init__(self, client: Client, namespace: str, manager: str, host: KernelHost) -> None:
        self.client = client
        self._namespace = namespace
        self._host = host
        self.kernels = Kernels(client, namespace, manager)
        self.specs: Informer[KernelSpec] = Informer(client, custom(KERNEL_SPECS), namespace, parse_spec)
        self.sizes: Informer[Size] = Informer(client, custom(KERNEL_TEMPLATES), namespace, parse_size)
        self.homes: Informer[Home] = Informer(client, custom(NOTEBOOKS), namespace, parse_home)
        self._pods = KernelPods(client, namespace, manager)
        self._memory: dict[str, _Memory] = {}
        self._queue = Queue(self._reconcile)
        self.kernels.informer.on_change(self._kernel_seen)
        self._pods.informer.on_change(self._pod_seen)
        self.specs.on_change(lambda *_: self._retry_refused())
        self.sizes.on_change(lambda *_: self._retry_refused())

    async def start(self) -> None:
        """List everything, then begin to act. Raises UnavailableError if the lists do not come."""
        self._queue.start()
        for informer in self._informers():
            await informer.start(SYNC_LIMIT)
        for name in self._pods.kernels():
            self._queue.add(name)  # those of kernels that were deleted meanwhile

    async def stop(self) -> None:
        """Stop acting. No kernel ends by this."""
        await self._queue.stop()
        for informer in reversed(self._informers()):
            await informer.stop()

    def _informers(self) -> list[Informer[Any]]:
        """In the order of their start: a kernel is seen when everything it needs is known."""
        return [self.specs, self.sizes, self.homes, self._pods.informer, self.kernels.informer]

    @property
    def synced(self) -> bool:
        """Whether every list has come."""
        return all(informer.synced for informer in self._informers())

    def report_answered(self, name: str, incarnation: int) -> None:
        """A kernel has proved itself by a signed reply."""
        self._learn(name, incarnation, lambda facts: replace(facts, answered=incarnation))

    def report_activity(self, name: str, incarnation: int, state: ExecutionState, at: datetime) -> None:
        """A running kernel became busy or idle, or was used."""
        self._learn(name, incarnation, lambda facts: replace(facts, activity=Activity(state, at)))

    def home_of(self, kernel: Kernel) -> Home:
        """The home that a kernel's owner has, an empty one if no spawner wrote any."""
        return self.homes.get(notebook_name(kernel.owner.user, kernel.owner.server)) or Home()

    def _learn(self, name: str, incarnation: int, change: Callable[[Facts], Facts]) -> None:
        kernel = self.kernels.get(name)
        if kernel is None or kernel.status.incarnation != incarnation:
            return
        memory = self._remember(kernel)
        memory.facts = change(memory.facts)
        self._queue.add(name)

    def _remember(self, kernel: Kernel) -> _Memory:
        memory = self._memory.get(kernel.name)
        if memory is None or memory.incarnation != kernel.status.incarnation:
            memory = self._memory[kernel.name] = _Memory(kernel.status.incarnation)
        return memory

    def _kernel_seen(self, name: str, before: Kernel | None, after: Kernel | None) -> None:
        if after is None:
            self._memory.pop(name, None)
            self._host.kernel_gone(name)
        else:
            self._host.kernel_changed(after)
        self._queue.add(name)

    def _pod_seen(self, name: str, before: Pod | None, after: Pod | None) -> None:
        for pod in (before, after):
            if pod is not None:
                self._queue.add(pod.kernel)
        if after is None:
            self._retry_refused()  # a quota may have room now

    def _retry_refused(self) -> None:
        for name, memory in self._memory.items():
            if memory.facts.refusal is not None:
                memory.facts = replace(memory.facts, refusal=None)
                memory.refusal_pause = FIRST_REFUSAL_PAUSE
                self._queue.add(name)

    async def _reconcile(self, name: str) -> None:
        kernel = self.kernels.get(name)
        pods = self._pods.of(name)
        if kernel is None:
            await self._remove_orphans(name, pods)
            return
        now = datetime.now(UTC)
        memory = self._remember(kernel)
        memory.facts = _dated(memory.facts, kernel, pods, now)
        plan = make_plan(kernel, pods, memory.facts, self._limits(kernel), now)
        for action in plan.actions:
            await self._act(kernel, action)
        if plan.status != kernel.status or not kernel.written:
            await self._write_status(kernel, plan.status, now)
        if plan.look_again_at is not None:
            self._queue.add(name, max(0.01, (plan.look_again_at - now).total_seconds()))
        if not pods and kernel.status.phase in (Phase.SUSPENDED, Phase.FAILED) and plan.status == kernel.status:
            self._memory.pop(name, None)

    def _limits(self, kernel: Kernel) -> Limits:
        size = self.sizes.get(kernel.size) if kernel.size else None
        return Limits(size.start_timeout, size.queue_timeout) if size else Limits()

    async def _act(self, kernel: Kernel, action: Action) -> None:
        match action:
            case CreatePod(incarnation):
                await self._create(kernel, incarnation)
            case RemovePod():
                await self._remove(kernel, action)
            case SuspendForIdle(incarnation):
                if self._host.prepare_suspend(kernel.name, incarnation):
                    log.info(
                        "Kernel %s of %s is suspended after %s idle",
                        kernel.name,
                        kernel.owner.user,
                        kernel.idle_timeout,
                    )
                    await self.kernels.suspend(kernel.name, Reason.IDLE)
            case DeleteKernel():
                if not self._host.in_use(kernel.name):
                    log.info(
                        "Kernel %s of %s is deleted: unused for %s", kernel.name, kernel.owner.user, kernel.retention
                    )
                    await self.kernels.delete(kernel.name)
            case ConfirmAbsence():
                await self._confirm_absence(kernel)

    async def _create(self, kernel: Kernel, incarnation: int) -> None:
        memory = self._remember(kernel)
        memory.facts = replace(memory.facts, absent=False)
        try:
            spec, size = self._choice(kernel)
            await self._pods.create(kernel, incarnation, spec, size, self.home_of(kernel))
        except RefusedError as error:
            old = memory.facts.refusal
            if old is None or (old.reason, old.message) != (error.reason, error.message):
                log.warning("Kernel %s of %s waits, %s: %s", kernel.name, kernel.owner.user, error.reason, error)
            retry_at = datetime.now(UTC) + memory.refusal_pause
            memory.refusal_pause = min(memory.refusal_pause * 2, LONGEST_REFUSAL_PAUSE)
            memory.facts = replace(memory.facts, refusal=Refusal(incarnation, error.reason, error.message, retry_at))
            self._queue.add(kernel.name)
        else:
            memory.facts = replace(memory.facts, refusal=None)
            memory.refusal_pause = FIRST_REFUSAL_PAUSE

    def _choice(self, kernel: Kernel) -> tuple[KernelSpec, Size | None]:
        """The kernelspec and the size of a kernel, as they are written now."""
        spec = self.specs.get(kernel.kernelspec)
        if spec is None:
            missing = f"JupyterKernelSpec {kernel.kernelspec} does not exist in namespace {self._namespace}."
            raise RefusedError(Reason.KERNEL_SPEC_NOT_FOUND, missing)
        try:
            return spec, size_of(spec, kernel.size, self.sizes)
        except InvalidSpecError as error:
            raise RefusedError(Reason.KERNEL_SPEC_NOT_FOUND, str(error)) from error

    async def _remove(self, kernel: Kernel, action: RemovePod) -> None:
        if action.ask_kernel and action.incarnation == kernel.status.incarnation:
            await self._host.stop_kernel(kernel, STOP_LIMIT)
        await self._pods.remove(kernel.name, action.name, action.uid, action.incarnation)

    async def _remove_orphans(self, name: str, pods: list[Pod]) -> None:
        """Delete pods whose kernel is gone, at once and even where the deletion was told to leave them."""
        if not pods or not self.kernels.synced:
            return
        try:
            await self.client.get(KERNEL_RESOURCE, self._namespace, name)
        except NotFoundError:
            for pod in pods:
                if not pod.deleting:
                    await self._pods.remove(name, pod.name, pod.uid, pod.incarnation)

    async def _confirm_absence(self, kernel: Kernel) -> None:
        if not await self._pods.look_for(kernel, kernel.status.incarnation):
            memory = self._remember(kernel)
            memory.facts = replace(memory.facts, absent=True)
        self._queue.add(kernel.name)

    async def _write_status(self, kernel: Kernel, status: Status, now: datetime) -> None:
        patch: Mapping[str, Any] = {
            "metadata": {"resourceVersion": kernel.resource_version},
            "status": status_json(status, kernel.generation),
        }
        try:
            item = await self.client.patch(KERNEL_RESOURCE, self._namespace, kernel.name, patch, subresource="status")
        except NotFoundError:
            self.kernels.informer.forget(kernel.name)
            return
        except ConflictError:
            item = await self.client.get(KERNEL_RESOURCE, self._namespace, kernel.name)
            self.kernels.informer.learn(item)
            self._queue.add(kernel.name)
            return
        if status.phase is not kernel.status.phase:
            log.info(
                "Kernel %s of %s: %s -> %s (%s) %s",
                kernel.name,
                kernel.owner.user,
                kernel.status.phase,
                status.phase,
                status.reason,
                status.message,
            )
        if (memory := self._memory.get(kernel.name)) is not None:
            memory.facts = replace(memory.facts, activity_written_at=now)
        self.kernels.informer.learn(item)
        await self._tell(kernel, status, now)

    async def _tell(self, kernel: Kernel, status: Status, now: datetime) -> None:
        """Write an Event if the new status is news. One that is lost is no harm: status holds the truth."""
        event = event_of(kernel, status, self._namespace, now)
        if event is None:
            return
        try:
            await self.client.create(EVENTS, self._namespace, event)
        except (ApiError, UnavailableError) as error:
            log.info("Kernel %s: no Event %s: %s", kernel.name, event["reason"], error)


def _dated(facts: Facts, kernel: Kernel, pods: list[Pod], now: datetime) -> Facts:
    """Facts with the moments at which the current pod was first seen wanted and on a node."""
    if facts.wanted_at is None:
        facts = replace(facts, wanted_at=now)
    if facts.placed_at is None and any(p.node and p.incarnation == kernel.status.incarnation for p in pods):
        facts = replace(facts, placed_at=now)
    if facts.absent and pods:
        facts = replace(facts, absent=False)
    return facts
