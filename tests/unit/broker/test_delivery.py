"""What a tab is given depends on what it can take."""

from __future__ import annotations

import json

from process_proxies.broker.delivery import MAX_BACKLOG, MAX_LEGACY, deliver
from process_proxies.broker.framing import Message, make

MIB = 1024 * 1024


class TabThatReadsSlowly:
    """A tab with as much backlog as a test says."""

    def __init__(self, *, wants_v1: bool = True) -> None:
        self.session_id, self.wants_v1, self.dropping = "s", wants_v1, False
        self.waiting = 0
        self.got: list[Message] = []

    def send(self, message: Message) -> None:
        self.got.append(message)

    def backlog(self) -> int:
        return self.waiting

    def abort(self) -> None:
        raise AssertionError("a slow tab is not dropped")


def stream(text: str) -> Message:
    """A print."""
    return make("stream", {"name": "stdout", "text": text}, session="k")


def types(tab: TabThatReadsSlowly) -> list[str]:
    """What the tab got."""
    return [message.msg_type for message in tab.got]


def test_a_slow_tab_loses_outputs_and_never_a_status_or_a_reply() -> None:
    """With one visible notice when it reads again."""
    tab = TabThatReadsSlowly()
    tab.waiting = MAX_BACKLOG + 1
    deliver(tab, stream("lost"), "b")
    deliver(tab, make("status", {"execution_state": "idle"}, session="k"), "b")
    deliver(tab, make("execute_reply", {}, session="k", channel="shell"), "b")
    assert types(tab) == ["status", "execute_reply"]
    tab.waiting = 0
    deliver(tab, stream("next"), "b")
    deliver(tab, stream("and next"), "b")
    assert types(tab)[2:] == ["stream", "stream", "stream"]
    assert "dropped" in tab.got[2].body()["text"]


def test_a_stock_user_server_is_given_nothing_that_breaks_it() -> None:
    """Long prints in pieces, large displays as a line, no buffers."""
    tab = TabThatReadsSlowly(wants_v1=False)
    deliver(tab, stream("x" * (20 * MIB)), "b")
    assert "".join(m.body()["text"] for m in tab.got) == "x" * (20 * MIB)
    assert all(m.size < MAX_LEGACY for m in tab.got)
    tab.got.clear()
    large = make("display_data", {"data": {"text/html": "x" * (20 * MIB)}, "metadata": {}}, session="k")
    deliver(tab, large, "b")
    assert "left out" in tab.got[0].body()["data"]["text/plain"]
    tab.got.clear()
    binary = make("comm_msg", {"comm_id": "c"}, session="k")
    binary.buffers = [b"\xff"]
    deliver(tab, binary, "b")
    assert tab.got[0].buffers == []
    assert json.loads(tab.got[0].content) == {"comm_id": "c"}


def test_our_own_user_server_is_given_everything_as_it_is() -> None:
    """No size bound and no copy."""
    tab = TabThatReadsSlowly()
    large = stream("x" * (20 * MIB))
    deliver(tab, large, "b")
    assert tab.got == [large]
