"""Both framings, as jupyter_server itself reads and writes them."""

from __future__ import annotations

import json

import pytest
from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)

from elastic_frontend.protocol import Frame, pack_legacy, pack_v1, refusal, unpack_legacy, unpack_v1

HEADER = {"msg_id": "1", "msg_type": "comm_msg", "session": "s", "username": "", "version": "5.3"}
PARTS = [json.dumps(HEADER).encode(), b"{}", b"{}", '{"x": "日本"}'.encode(), b"\xff\xfe", b""]


def test_v1_is_the_same_as_jupyter_servers() -> None:
    """Byte by byte, with binary buffers."""
    data = pack_v1(Frame("shell", PARTS))
    assert data == serialize_msg_to_ws_v1(PARTS, "shell")
    assert unpack_v1(data) == Frame("shell", PARTS)
    assert deserialize_msg_from_ws_v1(data) == ("shell", PARTS)


def test_the_older_binary_form_is_the_same_as_jupyter_servers() -> None:
    """Written by us and read by it, and the other way round."""
    read = deserialize_binary_message(pack_legacy(Frame("iopub", PARTS)))
    assert (read["buffers"], read["content"], read["channel"]) == (PARTS[4:], {"x": "日本"}, "iopub")
    message = {
        "header": HEADER,
        "parent_header": {},
        "metadata": {},
        "content": {"y": 1},
        "channel": "shell",
        "buffers": [b"\xff"],
    }
    frame = unpack_legacy(serialize_binary_message(message))
    assert (frame.channel, json.loads(frame.parts[3]), frame.parts[4:]) == ("shell", {"y": 1}, [b"\xff"])


def test_without_buffers_the_older_form_is_text() -> None:
    """As every client of it expects."""
    text = pack_legacy(Frame("iopub", PARTS[:4]))
    assert isinstance(text, str)
    assert json.loads(text)["content"] == {"x": "日本"}
    assert unpack_legacy(text).channel == "iopub"


@pytest.mark.parametrize("data", [b"", b"\x01", b"\xff" * 64])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    """With a ValueError."""
    with pytest.raises(ValueError, match="v1"):
        unpack_v1(data)


def test_a_cell_that_cannot_be_sent_ends_with_error_reply_and_idle() -> None:
    """So that no cell is left running."""
    request = Frame("shell", PARTS)
    frames = refusal(request, "away", "s")
    assert [f.header["msg_type"] for f in frames] == ["error", "execute_reply", "status"]
    assert {f.parent_id for f in frames} == {"1"}
