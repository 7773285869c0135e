"""Jupyter messages between three kinds of wire: ZMQ frames, the WebSocket's v1 protocol and its older JSON.

Contents stay the kernel's own bytes from end to end: parsing and dumping an 8 MB display would block every
user of the gateway for a tenth of a second, where passing it on takes a hundredth.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from typing import Any

DELIMITER = b"<IDS|MSG>"
CHANNELS = frozenset({"shell", "control", "stdin", "iopub"})
PROTOCOL_VERSION = "5.3"


class BadMessageError(ValueError):
    """Bytes that are no Jupyter message."""


class Message:
    """One message. Header and parent are parsed when somebody asks."""

    def __init__(
        self,
        channel: str,
        header: bytes,
        parent_header: bytes,
        metadata: bytes,
        content: bytes,
        buffers: Sequence[bytes] = (),
    ) -> None:
        self.channel = channel
        self.header = header
        self.parent_header = parent_header
        self.metadata = metadata
        self.content = content
        self.buffers = list(buffers)

    @cached_property
    def head(self) -> dict[str, Any]:
        """The header. Raises BadMessageError if it is none."""
        return _object(self.header, "header")

    @cached_property
    def parent(self) -> dict[str, Any]:
        """The parent header, empty for messages that answer nothing."""
        return _object(self.parent_header, "parent_header")

    def body(self) -> dict[str, Any]:
        """The content, parsed."""
        return _object(self.content, "content")

    @property
    def msg_type(self) -> str:
        """Such as ``execute_request``."""
        return str(self.head.get("msg_type", ""))

    @property
    def msg_id(self) -> str:
        """The message's own id."""
        return str(self.head.get("msg_id", ""))

    @property
    def session(self) -> str:
        """The session of whoever sent it."""
        return str(self.head.get("session", ""))

    @property
    def size(self) -> int:
        """Bytes that it will take on a wire, about."""
        return len(self.content) + len(self.metadata) + sum(len(b) for b in self.buffers) + 1000


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, UnicodeDecodeError) as error:
        raise BadMessageError(f"{what} is no JSON") from error
    if not isinstance(value, dict):
        raise BadMessageError(f"{what} is no object")
    return value


def make(
    msg_type: str,
    content: Mapping[str, Any] | bytes,
    *,
    session: str,
    parent: bytes = b"{}",
    channel: str = "iopub",
    metadata: Mapping[str, Any] | None = None,
) -> Message:
    """A message of our own."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "session": session,
        "username": "kernel",
        "date": datetime.now(UTC).isoformat(),
        "msg_type": msg_type,
        "version": PROTOCOL_VERSION,
    }
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Message(channel, json.dumps(header).encode(), parent, json.dumps(metadata or {}).encode(), body)


class Signer:
    """Signs and verifies with one incarnation's key."""

    def __init__(self, key: str) -> None:
        self._mac = hmac.new(key.encode(), digestmod=hashlib.sha256)

    def sign(self, parts: Sequence[bytes]) -> bytes:
        """The signature frame of header, parent, metadata and content."""
        mac = self._mac.copy()
        for part in parts:
            mac.update(part)
        return mac.hexdigest().encode()

    def frames(self, message: Message, prefix: bytes) -> list[bytes]:
        """A message as ZMQ frames; a kernel echoes the prefix in its answers."""
        parts = [message.header, message.parent_header, message.metadata, message.content]
        return [prefix, DELIMITER, self.sign(parts), *parts, *message.buffers]

    def message(self, channel: str, frames: Sequence[bytes]) -> tuple[bytes, Message]:
        """Prefix and message from ZMQ frames. Raises BadMessageError if the signature is not this key's."""
        try:
            cut = frames.index(DELIMITER)
            signature, *parts = frames[cut + 1 : cut + 6]
            header, parent, metadata, content = parts
        except ValueError as error:
            raise BadMessageError("not a Jupyter message") from error
        if not hmac.compare_digest(signature, self.sign(parts)):
            raise BadMessageError("signature of another key")
        return (frames[0] if cut else b""), Message(channel, header, parent, metadata, content, frames[cut + 6 :])


def encode_v1(message: Message) -> bytes:
    """A message in the WebSocket protocol ``v1.kernel.websocket.jupyter.org``."""
    parts = [
        message.channel.encode(),
        message.header,
        message.parent_header,
        message.metadata,
        message.content,
        *message.buffers,
    ]
    offset = 8 * (len(parts) + 2)
    table = [len(parts) + 1, offset]
    for part in parts:
        offset += len(part)
        table.append(offset)
    return b"".join([*(n.to_bytes(8, "little") for n in table), *parts])


def decode_v1(data: bytes) -> Message:
    """The reverse of ``encode_v1``. Raises BadMessageError."""
    count = int.from_bytes(data[:8], "little")
    if not 6 <= count <= 10_000 or len(data) < 8 * (count + 1):
        raise BadMessageError("frame table does not fit")
    offsets = [int.from_bytes(data[8 * i : 8 * i + 8], "little") for i in range(1, count + 1)]
    if offsets != sorted(offsets) or offsets[-1] > len(data):
        raise BadMessageError("offsets do not fit")
    parts = [data[start:end] for start, end in pairwise(offsets)]
    channel, header, parent, metadata, content, *buffers = parts
    return Message(_channel(channel.decode("ascii", "replace")), header, parent, metadata, content, buffers)


def _channel(name: str) -> str:
    if name not in CHANNELS:
        raise BadMessageError("unknown channel")
    return name


def encode_legacy(message: Message) -> bytes:
    """A message as older JSON text, spliced from the kernel's own bytes; buffers cannot be carried."""
    return b"".join(
        [
            b'{"header":', message.header,
            b',"msg_id":', json.dumps(message.msg_id).encode(),
            b',"msg_type":', json.dumps(message.msg_type).encode(),
            b',"parent_header":', message.parent_header,
            b',"metadata":', message.metadata,
            b',"content":', message.content,
            b',"buffers":[],"channel":"', message.channel.encode(), b'"}',
        ]
    )  # fmt: skip


def decode_legacy(data: str | bytes) -> Message:
    """A message from older JSON, with buffers if it came as bytes. Raises BadMessageError."""
    buffers: list[bytes] = []
    if isinstance(data, bytes):
        count = int.from_bytes(data[:4], "big")
        if not 1 <= count <= 10_000 or len(data) < 4 * (count + 1):
            raise BadMessageError("buffer table does not fit")
        offsets = [int.from_bytes(data[4 * i : 4 * i + 4], "big") for i in range(1, count + 1)] + [len(data)]
        parts = [data[start:end] for start, end in pairwise(offsets)]
        data, buffers = parts[0].decode("utf8", "replace"), parts[1:]
    item = _object(data.encode(), "message")
    pieces = [item.get(key) or {} for key in ("header", "parent_header", "metadata", "content")]
    if not all(isinstance(piece, dict) for piece in pieces):
        raise BadMessageError("parts are no objects")
    header, parent, metadata, content = (json.dumps(piece).encode() for piece in pieces)
    return Message(_channel(str(item.get("channel") or "shell")), header, parent, metadata, content, buffers)
