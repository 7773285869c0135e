"""One kernel's broker: what its notebooks are connected to, whatever its pod is doing.

It answers what it can without a pod, holds cells while one is made, passes everything through while there is
one, and ends every cell exactly once. A parked kernel is this object and nothing more: no socket, timer or task.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kernel_core.kernel import ExecutionState, Kernel, OperatingMode, Phase, Reason
from kernel_core.lifecycle import asks_new_life
from process_proxies.broker import dormant, notices
from process_proxies.broker.cells import Cell, Cells
from process_proxies.broker.delivery import Tab, deliver
from process_proxies.broker.framing import BadMessageError, Message, make
from process_proxies.broker.life import Life
from process_proxies.broker.replay import Recent, Ring

if TYPE_CHECKING:
    from process_proxies.broker.brokers import Brokers

log = logging.getLogger(__name__)

NOT_ANSWERED = frozenset({Phase.SUSPENDED, Phase.PENDING, Phase.STARTING})
"""Phases in which no cell was given to the kernel's pod."""
RELEASE_HOLD = 3.0
"""Seconds after which cells held back for a suspend that never came are let go."""


class InterruptRefusedError(RuntimeError):
    """A kernel that cannot be interrupted; the message says what can be done instead."""


class Broker:
    """One kernel's broker. Every method is called from the event loop."""

    __slots__ = (
        "_born_in", "_held_at", "_notice_id", "_notice_text", "_told_cell", "brokers", "cells", "kernel",
        "last_activity", "life", "loss", "recent", "restarted", "rings", "tabs",
    )  # fmt: skip

    def __init__(self, brokers: Brokers, kernel: Kernel) -> None:
        self.brokers = brokers
        self.kernel = kernel
        self.tabs: dict[str, Tab] = {}
        self.cells = Cells()
        self.life: Life | None = None
        self.rings: dict[str, Ring] = {}
        self.recent: Recent | None = None
        self.loss = ""
        """What to tell a cell that misses a variable, until one was told."""
        self.restarted = False
        """Whether the next incarnation was asked for by a restart: then nobody is told that variables are gone."""
        self.last_activity: datetime = kernel.status.last_activity or kernel.created
        self._born_in = kernel.status.phase
        self._held_at = 0.0
        self._notice_id = ""
        self._notice_text = ""
        self._told_cell: Cell | None = None

    # --- what others see -------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The kernel's id."""
        return self.kernel.name

    @property
    def connections(self) -> int:
        """How many tabs are open."""
        return len(self.tabs)

    @property
    def busy(self) -> bool:
        """Whether a cell waits or runs, or the kernel works on something else that counts."""
        return bool(self.cells) or (self.life is not None and self.life.busy)

    @property
    def execution_state(self) -> str:
        """``busy`` or ``idle``: the only words that a notebook takes for a kernel that is well."""
        return ExecutionState.BUSY if self.busy else ExecutionState.IDLE

    @property
    def session(self) -> str:
        """The session that the broker's own messages carry."""
        return f"broker-{self.kernel.name}"

    # --- tabs ------------------------------------------------------------------------------------

    def attach(self, tab: Tab) -> None:
        """A WebSocket opened. The newest of a session wins; what the session missed is sent first."""
        old = self.tabs.get(tab.session_id)
        self.tabs[tab.session_id] = tab
        if old is not None and old is not tab:
            old.abort()
        deliver(tab, self._status(self.execution_state), self.session)
        ring = self.rings.pop(tab.session_id, None)
        if self.recent is not None and (ring is not None or old is not None):
            for message in self.recent.of(self.brokers.clock(), tab.session_id):
                deliver(tab, message, self.session)
        for message in ring.messages if ring else ():
            deliver(tab, message, self.session)

    def detach(self, tab: Tab) -> None:
        """A WebSocket closed. One that was superseded changes nothing."""
        if self.tabs.get(tab.session_id) is not tab:
            return
        del self.tabs[tab.session_id]
        if self.cells.of(tab.session_id):
            self.rings[tab.session_id] = Ring(self.brokers.clock())
            self.brokers.watch(self)

    def receive(self, tab: Tab, message: Message) -> None:
        """A message of a tab. What is no Jupyter message is dropped with one line in the log."""
        try:
            self._receive(tab, message)
        except BadMessageError as error:
            log.warning("Kernel %s: a message of a tab was dropped: %s", self.id, error)

    def _receive(self, tab: Tab, message: Message) -> None:
        kind = message.msg_type
        if kind == "execute_request" and message.channel == "shell":
            self.execute(tab.session_id, message)
        elif kind == "kernel_info_request":
            self._answer_kernel_info(tab, message)
        elif kind == "elastic_pending":
            self._answer_pending(tab, message)
        elif message.channel == "control" and kind == "interrupt_request":
            self.brokers.spawn(self.interrupt())
        elif message.channel == "control" and kind == "shutdown_request":
            log.warning("Kernel %s: shutdown_request of a tab ignored; kernels are ended over HTTP", self.id)
        elif self.life is not None and self.life.forward(message, tab.session_id):
            return
        else:
            self._answer_asleep(tab, message)

    def _answer_kernel_info(self, tab: Tab, message: Message) -> None:
        content = self.brokers.kernel_info(self.kernel)
        reply = make("kernel_info_reply", content, session=self.session, parent=message.header, channel=message.channel)
        self._around(tab, message, reply)
        # Statuses that answer kernel_info are not tracked by JupyterLab; only one without a parent is.
        deliver(tab, self._status(self.execution_state), self.session)

    def _answer_asleep(self, tab: Tab, message: Message) -> None:
        answered = dormant.answer(message)
        if answered is None:
            return
        kind, content = answered
        reply = make(kind, content, session=self.session, parent=message.header, channel=message.channel)
        self._around(tab, message, reply)

    def _around(self, tab: Tab, request: Message, reply: Message) -> None:
        for message in (
            self._status(ExecutionState.BUSY, request.header),
            reply,
            self._status(self.execution_state if self.cells else ExecutionState.IDLE, request.header),
        ):
            deliver(tab, message, self.session)

    def _status(self, state: str, parent: bytes = b"{}") -> Message:
        return make("status", {"execution_state": str(state)}, session=self.session, parent=parent)

    # --- sending to tabs -------------------------------------------------------------------------

    def publish(self, message: Message, session: str) -> None:
        """An iopub message to all tabs, and to the ring of the session that it belongs to."""
        for tab in list(self.tabs.values()):
            deliver(tab, message, self.session)
        if (ring := self.rings.get(session)) is not None:
            ring.keep(message)
        elif message.msg_type == "status":
            self._note(session, message)

    def reply(self, message: Message, session: str) -> None:
        """A reply or prompt to the session that asked, or to its ring."""
        tab = self.tabs.get(session)
        if tab is not None:
            deliver(tab, message, self.session)
            if message.channel == "shell":
                self._note(session, message)
        elif (ring := self.rings.get(session)) is not None:
            ring.keep(message)

    def _note(self, session: str, message: Message) -> None:
        if self.recent is None:
            self.recent = Recent()
        self.recent.note(self.brokers.clock(), session, message)

    # --- cells -----------------------------------------------------------------------------------

    def execute(self, session: str, request: Message) -> None:
        """A cell: to the kernel if it may take it now, else to the queue, and the kernel is woken."""
        if not request.msg_id or self.cells.knows(request.msg_id):
            return
        cell = Cell(request, session)
        self.cells.take(request.msg_id)
        self.last_activity = datetime.now(UTC)
        if not self.cells.waiting and not self._held_at and self.life is not None and self.life.run(cell):
            return
        self.cells.waiting.append(cell)
        self.publish(self._status(ExecutionState.BUSY, request.header), session)
        self._tell_waiting()
        self.brokers.watch(self)
        self.brokers.wake(self)

    def _tell_waiting(self) -> None:
        """Say in the first waiting cell what it waits for, when that has changed."""
        if not self.cells.waiting:
            self._clear_notice()
            return
        first = self.cells.waiting[0]
        if self._told_cell is not None and self._told_cell is not first:
            self._clear_notice()
        text = notices.waiting_line(self.kernel, self.brokers.display_name(self.kernel))
        if text == self._notice_text:
            return
        kind = "update_display_data" if self._notice_text else "display_data"
        if not self._notice_text:
            self._notice_id = f"wait-{first.msg_id}"
        self._notice_text, self._told_cell = text, first
        content = notices.waiting_content(text, self._notice_id)
        self.publish(make(kind, content, session=self.session, parent=first.request.header), first.session)

    def _clear_notice(self) -> None:
        if self._told_cell is None:
            return
        # wait must be false: with true the line would stay under a cell that prints nothing
        message = make("clear_output", {"wait": False}, session=self.session, parent=self._told_cell.request.header)
        self.publish(message, self._told_cell.session)
        self._told_cell, self._notice_text = None, ""

    def flush(self) -> None:
        """Give the waiting cells to a kernel that has just become ready."""
        if self._held_at or self.life is None or not self.life.ready:
            return
        self._clear_notice()
        while self.cells.waiting:
            cell = self.cells.waiting.popleft()
            if not self.life.run(cell):
                self.cells.waiting.appendleft(cell)
                return

    def end_cells(self, cells: Iterable[Cell], name: str, text: str) -> None:
        """End cells without a kernel: the first with an error that says why, the others aborted."""
        first = True
        for cell in cells:
            parent = cell.request.header
            if first:
                error = make("error", notices.error_content(name, text), session=self.session, parent=parent)
                self.publish(error, cell.session)
                content = notices.error_reply(name, text, cell.execution_count)
            else:
                content = notices.ABORTED
            self.reply(
                make("execute_reply", content, session=self.session, parent=parent, channel="shell"), cell.session
            )
            self.publish(self._status(ExecutionState.IDLE, parent), cell.session)
            first = False

    def _end_waiting(self, name: str, text: str) -> bool:
        if not self.cells.waiting:
            return False
        self._clear_notice()
        self.end_cells(self.cells.take_waiting(), name, text)
        return True

    def _answer_pending(self, tab: Tab, message: Message) -> None:
        """A user server tells which cells it still waits for, after its connection was made anew."""
        unknown = [str(i) for i in message.body().get("msg_ids") or [] if not self.cells.knows(str(i))]
        ended = [msg_id for msg_id in unknown if self.cells.was_taken(msg_id)]
        lost = [msg_id for msg_id in unknown if not self.cells.was_taken(msg_id)]
        again = lost if self._never_had_more() else []
        content: dict[str, Any] = {"msg_ids": again}
        deliver(tab, make("elastic_resend", content, session=self.session, channel="control"), self.session)
        text = "The connection was lost when this cell ended; it has run."
        self.end_unknown(ended, tab.session_id, "ReplyLost", text)
        if again or not lost or (self.life is not None and self.life.adopt(lost, tab.session_id)):
            return
        self.end_unknown(lost, tab.session_id)

    def _never_had_more(self) -> bool:
        """Whether the kernel surely never had a cell that this broker did not see, so that it may be sent again.

        Nothing is given to a kernel that has not answered. But an earlier gateway may have run the cell in a life
        that has ended since, or may have died before it wrote that this life answered.
        """
        if self.kernel.status.phase not in NOT_ANSWERED:
            return False
        return self._born_in in NOT_ANSWERED and (self._born_in is not Phase.STARTING or self.life is None)

    def end_unknown(
        self,
        msg_ids: Iterable[str],
        session: str,
        name: str = "GatewayRestarted",
        text: str = "The gateway was restarted while this cell was on its way; it may have run.",
    ) -> None:
        """End cells whose reply cannot come any more."""
        for msg_id in msg_ids:
            header = make("execute_request", {}, session=session).head
            request = make("execute_request", {}, session=session)
            request.header = _with_id(header, msg_id)
            self.end_cells([Cell(request, session)], name, text)

    # --- what people ask -------------------------------------------------------------------------

    async def interrupt(self) -> None:
        """Interrupt what runs, or withdraw what waits."""
        waited = self._end_waiting("KeyboardInterrupt", "Interrupted while waiting for the kernel.")
        if self.life is not None and self.life.ready:
            if not self.brokers.takes_interrupts(self.kernel):
                raise InterruptRefusedError(
                    f"Kernels of {self.kernel.kernelspec} take no interrupt messages (interruptMode: signal), and a "
                    "signal cannot be sent into their pod. Restart the kernel instead."
                )
            self.life.interrupt()
        elif waited:
            await self.brokers.kernels.suspend(self.id, Reason.INTERRUPTED)

    async def restart(self) -> None:
        """A fresh kernel: at once if there is a pod, with the next Run if there is none."""
        text = "The kernel was restarted."
        waited = self._end_waiting("KernelRestarted", text)
        running = self.life is not None and self.life.ready
        if self.life is not None:
            self.end_cells(self.cells.take_in_flight(), "KernelRestarted", text)
        self.loss, self.restarted = "", True
        if running:
            await self.brokers.kernels.restart(self.id)
        elif waited or self.kernel.operating_mode is OperatingMode.RUNNING:
            await self.brokers.kernels.suspend(self.id, Reason.INTERRUPTED)
        self.publish(self._status(ExecutionState.IDLE), "")

    def close(self) -> None:
        """The kernel was ended for good: its cells end, its tabs are left to whoever opened them."""
        self._end_waiting("KernelShutdown", "The kernel was shut down.")
        self.end_cells(self.cells.take_in_flight(), "KernelShutdown", "The kernel was shut down.")
        self.drop_life()
        for tab in list(self.tabs.values()):
            tab.abort()
        self.tabs.clear()

    # --- what is observed ------------------------------------------------------------------------

    def observe(self, kernel: Kernel) -> None:
        """The kernel's object changed."""
        before, self.kernel = self.kernel, kernel
        status = kernel.status
        if status.incarnation != before.status.incarnation:
            self._next_incarnation(before)
        if status.ending or status.phase in (Phase.FAILED, Phase.SUSPENDED):
            self._ended(before)
        if kernel.operating_mode is OperatingMode.SUSPENDED:
            self._held_at = 0.0
        if self.life is None and status.pod_ip and self._may_connect():
            self.life = Life(self, adopted=status.phase is Phase.RUNNING)
            self.life.start()
            self.brokers.watch(self)
        self.flush()
        self._tell_waiting()

    def _may_connect(self) -> bool:
        status = self.kernel.status
        return (
            status.phase in (Phase.STARTING, Phase.RUNNING)
            and not status.ending
            and self.kernel.operating_mode is OperatingMode.RUNNING
            and not asks_new_life(self.kernel)
        )

    def _next_incarnation(self, before: Kernel) -> None:
        self.drop_life()
        self.end_cells(self.cells.take_in_flight(), "KernelDied", notices.ending_text(before.status.reason, ""))
        if self.restarted:
            self.loss, self.restarted = "", False
        elif before.status.incarnation and before.status.last_activity is not None:
            self.loss = notices.loss_text(before)

    def _ended(self, before: Kernel) -> None:
        """The pod is gone or going unasked, or was suspended."""
        status = self.kernel.status
        exiting = self.life is not None and self.life.exiting
        self.drop_life()
        in_flight = self.cells.take_in_flight()
        if status.phase is Phase.SUSPENDED:
            self.end_cells(in_flight, "KernelSuspended", "The kernel was suspended while this cell ran.")
            if before.status.phase is not Phase.SUSPENDED and self.cells.waiting:
                self._suspended_while_waiting()
            return
        reason = status.ending or status.reason
        if in_flight:
            # Cells that were sent behind the one that died were meant for the same kernel: they do not run in the next.
            cells = [*in_flight, *self.cells.take_waiting()]
            self._clear_notice()
            self.end_cells(cells, "KernelDied", notices.ending_text(reason, status.message))
            self.publish(self._status(ExecutionState.IDLE), "")
        if status.phase is Phase.FAILED and not asks_new_life(self.kernel) and self.cells.waiting:
            if exiting or before.status.phase is Phase.FAILED or before.status.phase is Phase.RUNNING:
                self.brokers.wake(self)
            else:
                self._end_waiting("KernelDied", notices.ending_text(reason, status.message))

    def _suspended_while_waiting(self) -> None:
        if self.kernel.status.reason in (Reason.REQUESTED, Reason.RECLAIMED):
            self._end_waiting("KernelSuspended", "The kernel was suspended on request while this cell waited.")
        else:
            self.brokers.wake(self)  # the intent to suspend was older than the cell

    def drop_life(self) -> None:
        """Close the sockets to the pod."""
        if self.life is not None:
            self.life.close()
            self.life = None

    # --- suspension ------------------------------------------------------------------------------

    def prepare_suspend(self) -> bool:
        """Whether the kernel may be suspended now; from then on cells are held back."""
        if self.busy:
            return False
        self._held_at = self.brokers.clock()
        self.brokers.watch(self)
        return True

    def sweep(self, now: float) -> bool:
        """Let go what has waited in vain; returns whether this broker needs another look."""
        for session in [s for s, ring in self.rings.items() if ring.expired(now)]:
            del self.rings[session]
        if self._held_at and now - self._held_at > RELEASE_HOLD:
            self._held_at = 0.0
            self.flush()
        if self.cells.waiting and self.kernel.operating_mode is OperatingMode.SUSPENDED:
            self.brokers.wake(self)
        return bool(self.rings or self._held_at or self.cells.waiting)


def _with_id(header: dict[str, Any], msg_id: str) -> bytes:
    return json.dumps({**header, "msg_id": msg_id}).encode()
