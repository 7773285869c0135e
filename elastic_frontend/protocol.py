"""The two framings of Jupyter messages on a WebSocket, and what of a message must be known here. Pure.

Towards the gateway only v1 is spoken: it carries binary data and costs no parsing. A client that knows only the
older JSON is translated for.
"""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

V1 = "v1.kernel.websocket.jupyter.org"


@dataclass(slots=True)
class Frame:
    """One message as bytes; header, parent header, metadata and content are JSON."""

    channel: str
    parts: list[bytes]

    @property
    def header(self) -> dict[str, Any]:
        """The parsed header."""
        value: dict[str, Any] = json.loads(self.parts[0])
        return value

    @property
    def parent_id(self) -> str:
        """The id of the request that this answers."""
        return str(json.loads(self.parts[1]).get("msg_id", ""))


def unpack_v1(data: bytes) -> Frame:
    """A frame from v1 bytes. Raises ValueError."""
    count = int.from_bytes(data[:8], "little")
    if not 6 <= count <= 100_000 or len(data) < 8 * (count + 1):
        raise ValueError("not a v1 message")
    offsets = struct.unpack(f"<{count}Q", data[8 : 8 * (count + 1)])
    parts = [data[start:end] for start, end in pairwise(offsets)]
    return Frame(parts[0].decode(), parts[1:])


def pack_v1(frame: Frame) -> bytes:
    """v1 bytes from a frame."""
    parts = [frame.channel.encode(), *frame.parts]
    offset = 8 * (len(parts) + 2)
    table = [len(parts) + 1, offset]
    for part in parts:
        offset += len(part)
        table.append(offset)
    return b"".join([struct.pack(f"<{len(table)}Q", *table), *parts])


def unpack_legacy(data: str | bytes) -> Frame:
    """A frame from older JSON, or from its binary form. Raises ValueError."""
    buffers: list[bytes] = []
    if isinstance(data, bytes):
        count = struct.unpack("!I", data[:4])[0]
        offsets = [*struct.unpack(f"!{count}I", data[4 : 4 * (count + 1)]), len(data)]
        pieces = [data[start:end] for start, end in pairwise(offsets)]
        data, buffers = pieces[0].decode(), pieces[1:]
    message = json.loads(data)
    parts = [json.dumps(message.get(key) or {}).encode() for key in ("header", "parent_header", "metadata", "content")]
    return Frame(message.get("channel") or "shell", [*parts, *buffers])


def pack_legacy(frame: Frame) -> str | bytes:
    """Older JSON from a frame; bytes if it has buffers."""
    header, parent, metadata, content, *buffers = frame.parts
    head = frame.header
    text = b"".join(
        [
            b'{"header":', header,
            b',"msg_id":', json.dumps(head.get("msg_id")).encode(),
            b',"msg_type":', json.dumps(head.get("msg_type")).encode(),
            b',"parent_header":', parent,
            b',"metadata":', metadata,
            b',"content":', content,
            b',"channel":', json.dumps(frame.channel).encode(),
            b"}" if buffers else b',"buffers":[]}',
        ]
    )  # fmt: skip
    if not buffers:
        return text.decode()
    pieces = [text, *buffers]
    offset = 4 * (len(pieces) + 1)
    table = [len(pieces)]
    for piece in pieces:
        table.append(offset)
        offset += len(piece)
    return b"".join([struct.pack(f"!{len(table)}I", *table), *pieces])


def new_frame(channel: str, kind: str, content: Mapping[str, Any], *, session: str, parent: bytes = b"{}") -> Frame:
    """A message of this server's own."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "session": session,
        "username": "",
        "date": datetime.now(UTC).isoformat(),
        "version": "5.3",
    }
    return Frame(channel, [json.dumps(header).encode(), parent, b"{}", json.dumps(content).encode()])


def refusal(request: Frame, text: str, session: str) -> list[Frame]:
    """What ends a cell that cannot be sent: error, reply, idle."""
    parent = request.parts[0]
    error = {
        "ename": "GatewayUnavailable",
        "evalue": text,
        "traceback": [f"\x1b[0;31mGatewayUnavailable\x1b[0m: {text}"],
    }
    reply = {"status": "error", "execution_count": 0, **error}
    return [
        new_frame("iopub", "error", error, session=session, parent=parent),
        new_frame("shell", "execute_reply", reply, session=session, parent=parent),
        new_frame("iopub", "status", {"execution_state": "idle"}, session=session, parent=parent),
    ]
