"""Messages keep their bytes from wire to wire, and what is no message is refused."""

from __future__ import annotations

import json
import random

import pytest

from process_proxies.broker.framing import (
    BadMessageError,
    Message,
    Signer,
    decode_legacy,
    decode_v1,
    encode_legacy,
    encode_v1,
    make,
)

SAMPLE = Message(
    "iopub",
    b'{"msg_type":"stream","msg_id":"1","session":"s"}',
    b"{}",
    b"{}",
    '{"text":"日本"}'.encode(),
    [b"\xff\x00"],
)


def test_a_message_survives_v1_byte_by_byte() -> None:
    """Binary buffers included."""
    again = decode_v1(encode_v1(SAMPLE))
    assert vars(again) == {k: v for k, v in vars(SAMPLE).items() if k != "head"}


def test_older_json_is_spliced_from_the_kernels_own_bytes() -> None:
    """The content is not parsed on its way, and the text is valid JSON."""
    text = encode_legacy(SAMPLE)
    assert SAMPLE.content in text
    assert json.loads(text)["content"] == {"text": "日本"}
    assert json.loads(text)["msg_type"] == "stream"


def test_a_signature_of_another_key_is_refused() -> None:
    """Whoever holds a dead pod's address cannot speak for its kernel."""
    frames = Signer("right").frames(SAMPLE, b"prefix")
    prefix, message = Signer("right").message("shell", frames)
    assert (prefix, message.content, message.buffers) == (b"prefix", SAMPLE.content, SAMPLE.buffers)
    with pytest.raises(BadMessageError):
        Signer("wrong").message("shell", frames)


@pytest.mark.parametrize(
    "data", ["", "[]", "nonsense", '{"channel":"nowhere"}', '{"header":[1]}', b"", b"\x00\x00\x00\x02", b"\xff" * 40]
)
def test_what_is_no_older_message_is_refused(data: str | bytes) -> None:
    """With the one error that callers expect."""
    with pytest.raises(BadMessageError):
        decode_legacy(data)


def test_random_bytes_are_refused_or_parsed_but_never_crash() -> None:
    """Seeded."""
    chance = random.Random(7)
    good = encode_v1(SAMPLE)
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            decode_v1(bytes(data[: chance.randint(0, len(data))]))
        except BadMessageError:
            continue


def test_a_message_of_the_brokers_own_has_a_whole_header() -> None:
    """As the messaging protocol asks."""
    head = make("status", {"execution_state": "idle"}, session="s").head
    assert {"msg_id", "session", "username", "date", "msg_type", "version"} <= head.keys()
