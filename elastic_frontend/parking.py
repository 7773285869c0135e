"""What a notebook waits for outlives its WebSocket to the browser for a while.

A page whose connection was cut comes back with the same session and sends nothing again: cells that waited here for
the gateway would be lost, and those without a reply be asked about by nobody.
"""

from __future__ import annotations

from time import monotonic

from elastic_frontend.outbox import Outbox

KEPT_FOR = 120.0
"""Seconds within which the page may come back; JupyterLab tries for about a minute."""
MAX_PARKED = 100


class Parking:
    """Outboxes without a WebSocket, by kernel and session."""

    def __init__(self) -> None:
        self._parked: dict[tuple[str, str], tuple[float, Outbox]] = {}

    def park(self, kernel_id: str, session_id: str, outbox: Outbox) -> None:
        """Keep it if there is anything in it; the oldest makes room."""
        if not outbox:
            return
        self._parked.pop((kernel_id, session_id), None)
        self._parked[kernel_id, session_id] = (monotonic(), outbox)
        while len(self._parked) > MAX_PARKED or self._oldest() < monotonic() - KEPT_FOR:
            del self._parked[next(iter(self._parked))]

    def take(self, kernel_id: str, session_id: str) -> Outbox:
        """The one that was kept, or a new one."""
        parked_at, outbox = self._parked.pop((kernel_id, session_id), (-KEPT_FOR, Outbox()))
        if parked_at <= monotonic() - KEPT_FOR:
            return Outbox()
        outbox.forget_done()
        return outbox

    def _oldest(self) -> float:
        return next(iter(self._parked.values()))[0] if self._parked else monotonic()
