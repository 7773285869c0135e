"""A kernel without a pod answers what a page asks when it is opened."""

from __future__ import annotations

import json

import pytest

from kernel_core.sizes import KernelSpec
from process_proxies.broker.dormant import answer, first_kernel_info
from process_proxies.broker.framing import make


@pytest.mark.parametrize(
    ("request_type", "reply_type"),
    [
        ("complete_request", "complete_reply"),
        ("inspect_request", "inspect_reply"),
        ("is_complete_request", "is_complete_reply"),
        ("history_request", "history_reply"),
        ("comm_info_request", "comm_info_reply"),
        ("debug_request", "debug_reply"),
    ],
)
def test_every_question_of_a_page_has_an_empty_answer(request_type: str, reply_type: str) -> None:
    """None needs a pod."""
    request = make(request_type, {"cursor_pos": 3, "command": "debugInfo", "seq": 4}, session="s", channel="shell")
    answered = answer(request)
    assert answered is not None
    assert answered[0] == reply_type
    json.dumps(answered[1])


def test_a_comm_message_needs_no_answer() -> None:
    """It is dropped; the widget it was for is gone with its kernel."""
    assert answer(make("comm_msg", {}, session="s", channel="shell")) is None


def test_the_language_is_known_before_any_kernel_ran() -> None:
    """From the kernelspec, or from what an administrator wrote into it."""
    python = json.loads(first_kernel_info(KernelSpec("p", "P", "python", "i", ())))
    assert python["language_info"]["file_extension"] == ".py"
    other = json.loads(first_kernel_info(KernelSpec("x", "X", "klingon", "i", (), kernel_info={"banner": "nuqneH"})))
    assert (other["language_info"]["name"], other["banner"]) == ("klingon", "nuqneH")
