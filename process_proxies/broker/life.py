"""One incarnation as its broker sees it: the sockets to its pod, what is in flight, whether it is busy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kernel_core.cluster.client import ApiError, UnavailableError
from kernel_core.kernel import ExecutionState, OperatingMode, Phase
from kernel_core.lifecycle import asks_new_life
from process_proxies.broker.back import Back, asks_exit
from process_proxies.broker.cells import Cell
from process_proxies.broker.framing import Message, make

if TYPE_CHECKING:
    from process_proxies.broker.broker import Broker

log = logging.getLogger(__name__)

CONNECTION_RETRY = 0.5
"""Seconds between two tries to read where the kernel listens."""
ADOPTED_REPLY_LIMIT = 1.0
"""Seconds after an adopted kernel's shell has answered within which replies to its old cells must have come."""

WORK = frozenset({"execute_request", "comm_open", "comm_msg", "comm_close"})
"""Requests whose busy time is the user's work. Completing, inspecting and asking for info are not activity."""


class Life:
    """Between the first address of a pod and its end."""

    def __init__(self, broker: Broker, *, adopted: bool) -> None:
        self._broker = broker
        self.incarnation = broker.kernel.status.incarnation
        self._adopted = adopted
        self._back: Back | None = None
        self._task: asyncio.Task[None] | None = None
        self._settled = not adopted
        """Whether all that ran before us is over; until then the kernel counts as busy."""
        self._working: set[str] = set()
        self._view_comms: set[str] = set()
        self._orphans: dict[str, str] = {}
        self._reported = ""
        self.exiting = False
        """Whether the kernel said that it is about to end: it must be given nothing more."""

    @property
    def ready(self) -> bool:
        """Whether cells may be given to the kernel: it is proven, and Running was written."""
        kernel = self._broker.kernel
        return (
            self._back is not None
            and self._back.is_proven
            and not self.exiting
            and kernel.status.phase is Phase.RUNNING
            and kernel.status.incarnation == self.incarnation
            and not kernel.status.ending
            and kernel.operating_mode is OperatingMode.RUNNING
            and not asks_new_life(kernel)
        )

    @property
    def busy(self) -> bool:
        """Whether the kernel works for somebody."""
        return not self._settled or bool(self._working)

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._connect(), name=f"connect {self._broker.id}")

    def close(self) -> None:
        """Drop the sockets."""
        if self._task is not None:
            self._task.cancel()
        if self._back is not None:
            self._back.close()

    async def _connect(self) -> None:
        kernel, brokers = self._broker.kernel, self._broker.brokers
        while True:
            try:
                info = await brokers.kernels.connection(kernel)
                break
            except (ApiError, UnavailableError) as error:
                log.warning("Kernel %s: connection info not read, trying again: %s", kernel.name, error)
                await asyncio.sleep(CONNECTION_RETRY)
        # The same identity after a gateway's restart: the kernel sends its replies to whoever bears it.
        identity = f"{kernel.name}-{self.incarnation}"
        self._back = Back(brokers.context, kernel.status.pod_ip, info, identity, self, adopted=self._adopted)
        self._back.start()

    # --- to the kernel ---------------------------------------------------------------------------

    def run(self, cell: Cell) -> bool:
        """Give a cell to the kernel, at most once in its life; False if it cannot take it now."""
        if not self.ready or self._back is None:
            return False
        self._broker.cells.in_flight[cell.msg_id] = cell
        if not self._back.send(cell.request, cell.session):
            del self._broker.cells.in_flight[cell.msg_id]
            return False
        self._report()
        return True

    def forward(self, message: Message, session: str) -> bool:
        """Give any other request to the kernel; False if there is none that could take it."""
        if not self.ready or self._back is None:
            return False
        if message.msg_type == "comm_open" and b"jupyter.widget" in message.content:
            self._note_view(message)
        return self._back.send(message, session)

    def _note_view(self, message: Message) -> None:
        """Opening a notebook opens a comm to fetch widget states: looking, not working."""
        body = message.body()
        if str(body.get("target_name", "")).startswith("jupyter.widget.control"):
            self._view_comms.add(message.msg_id)

    def interrupt(self) -> None:
        """Ask the kernel to interrupt what it runs."""
        if self._back is not None:
            self._back.send(
                make("interrupt_request", {}, session="elastic-broker", channel="control"), "elastic-broker"
            )

    async def ask_to_end(self, limit: timedelta) -> None:
        """Ask the kernel to end."""
        if self._back is not None:
            await self._back.ask_to_end(limit)

    def adopt(self, msg_ids: list[str], session: str) -> bool:
        """Wait for the replies to cells of an earlier gateway; False if they cannot come any more."""
        if self._settled:
            return False
        self._orphans.update(dict.fromkeys(msg_ids, session))
        return True

    # --- from the kernel (BackListener) ----------------------------------------------------------

    def proven(self, kernel_info: bytes | None) -> None:
        """The kernel is the one that this incarnation's Secret was made for."""
        broker = self._broker
        if kernel_info is not None:
            broker.brokers.learn_kernel_info(broker.kernel, kernel_info)
        broker.brokers.answered(broker.id, self.incarnation)
        broker.flush()
        self._report()

    def shell_answered(self) -> None:
        """All that was sent to the shell before is worked off."""
        if not self._settled:
            self._settled = True
            if self._orphans:
                asyncio.get_running_loop().call_later(ADOPTED_REPLY_LIMIT, self._end_orphans)
        self._report()

    def _end_orphans(self) -> None:
        orphans, self._orphans = self._orphans, {}
        for msg_id, session in orphans.items():
            self._broker.end_unknown([msg_id], session)

    def broken(self) -> None:
        """The connection broke. If the pod has ended its object will say so; else it is connected anew."""
        self._working.clear()
        log.info("Kernel %s: connection to incarnation %s broke", self._broker.id, self.incarnation)

    def from_kernel(self, prefix: bytes, message: Message) -> None:
        """Pass a message on to those whom it concerns."""
        if message.channel == "iopub":
            self._publish(message)
            return
        session = prefix.decode("utf8", "replace")
        if message.channel == "shell" and message.msg_type == "execute_reply":
            msg_id = str(message.parent.get("msg_id", ""))
            self._broker.cells.in_flight.pop(msg_id, None)
            self._orphans.pop(msg_id, None)
            if asks_exit(message.content):
                self.exiting = True
        self._broker.reply(message, session)
        self._report()

    def _publish(self, message: Message) -> None:
        kind, parent = message.msg_type, message.parent
        msg_id = str(parent.get("msg_id", ""))
        if kind == "status":
            self._track(parent.get("msg_type", ""), msg_id, message.body().get("execution_state", ""))
        elif kind == "execute_input":
            cell = self._broker.cells.in_flight.get(msg_id)
            if cell is not None:
                with contextlib.suppress(TypeError, ValueError):
                    cell.execution_count = int(message.body()["execution_count"])
        elif kind == "error" and self._broker.loss:
            self._tell_loss(message)
        self._broker.publish(message, str(parent.get("session", "")))

    def _tell_loss(self, message: Message) -> None:
        if message.body().get("ename") != "NameError":
            return
        text, self._broker.loss = self._broker.loss, ""
        content = json.dumps({"name": "stderr", "text": text}).encode()
        told = make("stream", content, session=self._broker.session, parent=message.parent_header)
        self._broker.publish(told, str(message.parent.get("session", "")))

    def _track(self, kind: str, msg_id: str, state: str) -> None:
        if kind not in WORK or msg_id in self._view_comms:
            return
        if state == ExecutionState.BUSY:
            self._working.add(msg_id)
        elif state == ExecutionState.IDLE:
            self._working.discard(msg_id)
        self._report()

    def _report(self) -> None:
        """Tell the controller when the kernel became busy or idle: the idle clock is its."""
        busy = bool(self._broker.cells.in_flight) or self.busy
        state = ExecutionState.BUSY if busy else ExecutionState.IDLE
        if state == self._reported or self._back is None or not self._back.is_proven:
            return
        self._reported = state
        now = datetime.now(UTC)
        self._broker.last_activity = now
        self._broker.brokers.activity(self._broker.id, self.incarnation, state, now)
