"""What a cell says while it waits, and what it says when it will not run.

Pure. The words name the resource and the reason that Kubernetes gives, and hold no counters: whoever opens
a file that was saved in that moment must still read something true.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any

from kernel_core.kernel import Kernel, Phase, Reason

MARK = {"elastic-jupyter": {"waiting": True}}
"""Metadata of the waiting line; the user server's save hook drops outputs that carry it."""

ENDINGS = {
    Reason.OOM_KILLED: "it ran out of memory",
    Reason.EVICTED: "its node evicted it",
    Reason.PREEMPTED: "a pod of higher priority took its place",
    Reason.NODE_LOST: "its node was lost",
    Reason.POD_DELETED: "its pod was deleted from outside",
    Reason.EXITED: "it exited",
    Reason.ERROR: "its process ended",
    Reason.START_TIMEOUT: "it did not answer in time after its pod was placed",
    Reason.QUEUE_TIMEOUT: "no resources became free in the time that its size allows",
}


def what(kernel: Kernel, display_name: str) -> str:
    """The size that is waited for, in the launcher's words."""
    return display_name or kernel.kernelspec_name


def scheduler_reason(message: str) -> str:
    """The scheduler's first sentence: what follows it is about preemption and helps nobody who waits."""
    match = re.match(r"\d+/\d+ nodes are available: (.+?)(?:\. (?:no new claims|preemption)|$)", message)
    return (match.group(1) if match else message).rstrip(". ")


def waiting_line(kernel: Kernel, display_name: str) -> str:
    """One line for the cell, true at this moment."""
    status, name = kernel.status, what(kernel, display_name)
    if status.phase is Phase.PENDING:
        if status.reason == Reason.UNSCHEDULABLE:
            return f"Waiting for {name}: no node has room now ({scheduler_reason(status.message)})."
        if status.reason == Reason.QUOTA_EXCEEDED:
            return f"Waiting for {name}: the quota has no room now ({status.message})."
        if status.reason == Reason.ADMISSION_REFUSED:
            return f"Waiting for {name}: the cluster refuses the pod ({status.message})."
        if status.reason == Reason.KERNEL_SPEC_NOT_FOUND:
            return f"Waiting for {name}: {status.message}"
        return f"Waiting for {name}: asking Kubernetes for a pod."
    if status.phase is Phase.STARTING:
        if status.message:
            return f"Starting {name}: {status.reason} ({status.message})."
        if status.reason == Reason.CONNECTING:
            return f"Starting {name}: the kernel is being loaded."
        return f"Starting {name}: its pod was placed on a node."
    if status.phase is Phase.SUSPENDING:
        return f"Waiting for {name}: its previous pod is ending."
    return f"Waiting for {name}."


def waiting_content(text: str, display_id: str) -> dict[str, Any]:
    """The line as a display that can be updated."""
    shown = f'<i style="color: var(--jp-ui-font-color2, #757575)">{html.escape(text)}</i>'
    return {
        "data": {"text/plain": text, "text/html": shown},
        "metadata": MARK,
        "transient": {"display_id": display_id},
    }


def error_content(name: str, text: str) -> dict[str, Any]:
    """An ``error`` output."""
    return {"ename": name, "evalue": text, "traceback": [f"\x1b[0;31m{name}\x1b[0m: {text}"]}


def error_reply(name: str, text: str, execution_count: int) -> bytes:
    """The content of an ``execute_reply`` for a cell that ends so."""
    return json.dumps({"status": "error", "execution_count": execution_count, **error_content(name, text)}).encode()


ABORTED = json.dumps({"status": "aborted"}).encode()


def ending_text(reason: str, message: str) -> str:
    """Why a kernel ended unasked, for the cell that it took along."""
    words = ENDINGS.get(Reason(reason), "") if reason in Reason._value2member_map_ else ""
    cause = words or reason
    detail = f" ({message})" if message and message not in cause else ""
    return f"The kernel ended: {cause}{detail}. Run the cell again to start a new one."


def loss_text(kernel: Kernel) -> str:
    """Why the variables of a kernel are gone, told to a cell that misses one."""
    status = kernel.status
    if status.phase is Phase.FAILED or status.ending:
        reason = status.ending or status.reason
        cause = ENDINGS.get(Reason(reason), reason) if reason in Reason._value2member_map_ else reason
        return (
            f"The kernel had ended ({cause}) and was started anew: its variables are gone. Run the cells above again.\n"
        )
    return "The kernel had been suspended and was started anew: its variables are gone. Run the cells above again.\n"
