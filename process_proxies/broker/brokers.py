"""All brokers of a gateway: one for each JupyterKernel, made and ended with it.

It is the controller's KernelHost, and the one place with a task: a sweep over the brokers that have something to
wait for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import zmq.asyncio

from kernel_core.cluster.client import ApiError, NotFoundError, UnavailableError
from kernel_core.cluster.controller import KernelController
from kernel_core.cluster.store import Kernels
from kernel_core.kernel import ExecutionState, Kernel
from kernel_core.sizes import Choice, KernelSpec
from process_proxies.broker.broker import Broker
from process_proxies.broker.dormant import first_kernel_info

log = logging.getLogger(__name__)

SWEEP_INTERVAL = 0.5
WAKE_RETRIES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses between tries to write the wish for a pod; the last is repeated."""
MAX_SOCKETS = 60000


class Brokers:
    """Brokers by kernel id."""

    def __init__(self) -> None:
        self._brokers: dict[str, Broker] = {}
        self._watched: set[Broker] = set()
        self._waking: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._controller: KernelController | None = None
        self._kernel_info: dict[str, bytes] = {}
        self._context: zmq.asyncio.Context | None = None
        self._on_gone: list[Callable[[str], None]] = []
        self._on_new: list[Callable[[Broker], None]] = []
        self.clock = monotonic

    def bind(self, controller: KernelController) -> None:
        """Name the controller that decides and writes."""
        self._controller = controller

    def start(self) -> None:
        """Begin to sweep."""
        self._context = zmq.asyncio.Context()
        self._context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        self.spawn(self._sweep())

    async def stop(self) -> None:
        """Close every socket. No kernel ends by this."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for broker in self._brokers.values():
            broker.drop_life()
        if self._context is not None:
            self._context.destroy(linger=0)

    @property
    def context(self) -> zmq.asyncio.Context:
        """The ZMQ context of all back sides."""
        if self._context is None:
            raise RuntimeError("Brokers were not started.")
        return self._context

    @property
    def controller(self) -> KernelController:
        """The controller."""
        if self._controller is None:
            raise RuntimeError("Brokers were not bound to a controller.")
        return self._controller

    @property
    def kernels(self) -> Kernels:
        """Where wishes are written."""
        return self.controller.kernels

    def on_new(self, handler: Callable[[Broker], None]) -> None:
        """Be told of every new kernel."""
        self._on_new.append(handler)

    def on_gone(self, handler: Callable[[str], None]) -> None:
        """Be told of every kernel that was ended."""
        self._on_gone.append(handler)

    def get(self, kernel_id: str) -> Broker | None:
        """A kernel's broker."""
        return self._brokers.get(kernel_id)

    def all(self) -> list[Broker]:
        """All brokers."""
        return list(self._brokers.values())

    # --- KernelHost --------------------------------------------------------------------------------

    def kernel_changed(self, kernel: Kernel) -> None:
        """An object was seen changed, or for the first time."""
        broker = self._brokers.get(kernel.name)
        if broker is None:
            broker = self._brokers[kernel.name] = Broker(self, kernel)
            for handler in self._on_new:
                handler(broker)
        broker.observe(kernel)

    def kernel_gone(self, name: str) -> None:
        """An object was deleted."""
        broker = self._brokers.pop(name, None)
        if broker is None:
            return
        self._watched.discard(broker)
        broker.close()
        for handler in self._on_gone:
            handler(name)

    def prepare_suspend(self, name: str, incarnation: int) -> bool:
        """Whether an idle kernel may be suspended now."""
        broker = self._brokers.get(name)
        return broker is None or broker.prepare_suspend()

    def in_use(self, name: str) -> bool:
        """Whether a notebook is open on a kernel."""
        broker = self._brokers.get(name)
        return broker is not None and bool(broker.connections or broker.cells)

    async def stop_kernel(self, kernel: Kernel, limit: timedelta) -> None:
        """Ask a kernel to end."""
        broker = self._brokers.get(kernel.name)
        if broker is not None and broker.life is not None:
            await broker.life.ask_to_end(limit)

    # --- for brokers -------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something of a broker's, with a line in the log if it fails."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Broker task failed: %r", error, exc_info=error)

    def watch(self, broker: Broker) -> None:
        """Look at a broker again with the next sweep."""
        self._watched.add(broker)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            for broker in list(self._watched):
                if not broker.sweep(self.clock()):
                    self._watched.discard(broker)

    def wake(self, broker: Broker) -> None:
        """Write the wish for a pod, again and again until it is written or nobody waits any more."""
        if broker.id not in self._waking:
            self._waking.add(broker.id)
            self.spawn(self._wake(broker))

    async def _wake(self, broker: Broker) -> None:
        pauses = iter(WAKE_RETRIES)
        pause = 0.0
        try:
            while broker.cells.waiting:
                try:
                    kernel = await self.kernels.wake(broker.id)
                except NotFoundError:
                    broker.close()
                    return
                except (ApiError, UnavailableError) as error:
                    log.warning("Kernel %s: wish to run not written, trying again: %s", broker.id, error)
                    pause = next(pauses, pause)
                    await asyncio.sleep(pause)
                    continue
                if int(kernel.resource_version) > int(broker.kernel.resource_version):
                    broker.observe(kernel)
                return
        finally:
            self._waking.discard(broker.id)

    def answered(self, name: str, incarnation: int) -> None:
        """A kernel has proved itself."""
        self.controller.report_answered(name, incarnation)

    def activity(self, name: str, incarnation: int, state: ExecutionState, at: datetime) -> None:
        """A kernel became busy or idle."""
        self.controller.report_activity(name, incarnation, state, at)

    def _spec(self, kernel: Kernel) -> KernelSpec | None:
        return self.controller.specs.get(kernel.kernelspec)

    def display_name(self, kernel: Kernel) -> str:
        """What the launcher calls this kernel's size."""
        spec = self._spec(kernel)
        if spec is None:
            return ""
        return Choice(spec, self.controller.sizes.get(kernel.size) if kernel.size else None).display_name

    def takes_interrupts(self, kernel: Kernel) -> bool:
        """Whether kernels of this kind know interrupt_request."""
        spec = self._spec(kernel)
        return spec is None or spec.interrupt_mode == "message"

    def kernel_info(self, kernel: Kernel) -> bytes:
        """The kernel_info_reply of a kernel: as its kind last gave it, or as its kernelspec says."""
        return self._kernel_info.get(kernel.kernelspec) or first_kernel_info(self._spec(kernel))

    def learn_kernel_info(self, kernel: Kernel, content: bytes) -> None:
        """Keep a kernel's own reply for all of its kind."""
        self._kernel_info[kernel.kernelspec] = content
