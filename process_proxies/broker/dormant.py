"""What a kernel without a pod answers. Pure.

Opening, browsing, completing and inspecting must take no pod, so these replies are true but empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kernel_core.sizes import KernelSpec
from process_proxies.broker.framing import PROTOCOL_VERSION, Message

LANGUAGES: Mapping[str, Mapping[str, Any]] = {
    "python": {
        "name": "python",
        "version": "3",
        "mimetype": "text/x-python",
        "file_extension": ".py",
        "pygments_lexer": "ipython3",
        "codemirror_mode": {"name": "ipython", "version": 3},
        "nbconvert_exporter": "python",
    },
    "r": {"name": "R", "version": "", "mimetype": "text/x-r-source", "file_extension": ".r", "pygments_lexer": "r"},
    "julia": {"name": "julia", "version": "", "mimetype": "application/julia", "file_extension": ".jl"},
    "scala": {"name": "scala", "version": "", "mimetype": "text/x-scala", "file_extension": ".sc"},
}


def first_kernel_info(spec: KernelSpec | None) -> bytes:
    """The kernel_info_reply of a kernelspec of which no kernel has run yet."""
    language = spec.language if spec else "python"
    told = dict(spec.kernel_info) if spec else {}
    known = LANGUAGES.get(
        language.lower(), {"name": language, "version": "", "mimetype": "text/plain", "file_extension": ".txt"}
    )
    content = {
        "status": "ok",
        "protocol_version": PROTOCOL_VERSION,
        "implementation": told.get("implementation", language),
        "implementation_version": told.get("implementation_version", ""),
        "language_info": told.get("language_info", known),
        "banner": told.get("banner", ""),
        "help_links": [],
    }
    return json.dumps(content).encode()


def answer(request: Message) -> tuple[str, dict[str, Any]] | None:
    """Type and content of the reply to a request, or None if it needs no reply."""
    kind = request.msg_type
    if kind == "complete_request":
        cursor = request.body().get("cursor_pos", 0)
        return "complete_reply", {
            "status": "ok",
            "matches": [],
            "cursor_start": cursor,
            "cursor_end": cursor,
            "metadata": {},
        }
    if kind == "inspect_request":
        return "inspect_reply", {"status": "ok", "found": False, "data": {}, "metadata": {}}
    if kind == "is_complete_request":
        return "is_complete_reply", {"status": "unknown"}
    if kind == "history_request":
        return "history_reply", {"status": "ok", "history": []}
    if kind == "comm_info_request":
        return "comm_info_reply", {"status": "ok", "comms": {}}
    if kind == "debug_request":
        return "debug_reply", _debug(request.body())
    return None


def _debug(body: Mapping[str, Any]) -> dict[str, Any]:
    command = body.get("command", "")
    reply: dict[str, Any] = {
        "type": "response",
        "request_seq": body.get("seq", 0),
        "seq": 0,
        "success": command == "debugInfo",
        "command": command,
        "body": {},
    }
    if command == "debugInfo":
        reply["body"] = {
            "isStarted": False,
            "hashMethod": "Murmur2",
            "hashSeed": 0,
            "tmpFilePrefix": "",
            "tmpFileSuffix": "",
            "breakpoints": [],
            "stoppedThreads": [],
            "richRendering": False,
            "exceptionPaths": [],
            "copyToGlobals": False,
        }
    return reply
