"""After a reconnect a user server names the cells it still waits for; each is answered, sent again or waited for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kernel_core.kernel import Kernel, Phase, parse_kernel
from process_proxies.broker.broker import Broker
from process_proxies.broker.brokers import Brokers
from process_proxies.broker.cells import Cell
from process_proxies.broker.framing import Message, make


class TabThatListens:
    """A tab of our own user server."""

    def __init__(self) -> None:
        self.session_id, self.wants_v1, self.dropping = "tab", True, False
        self.got: list[Message] = []

    def send(self, message: Message) -> None:
        self.got.append(message)

    def backlog(self) -> int:
        return 0

    def abort(self) -> None:
        raise AssertionError("nobody took its place")


def kernel(phase: Phase, incarnation: int = 1) -> Kernel:
    """A kernel as the API server gives it."""
    now = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    status = {"phase": str(phase), "incarnation": incarnation}
    meta = {"name": "k", "uid": "u", "resourceVersion": "1", "creationTimestamp": now}
    return parse_kernel({"metadata": meta, "spec": {"owner": {"user": "ada"}}, "status": status})


def ask(broker: Broker, *msg_ids: str) -> tuple[list[str], dict[str, str]]:
    """What may be sent again, and each ended cell with the name of its error."""
    tab = TabThatListens()
    broker.attach(tab)
    broker.receive(tab, make("elastic_pending", {"msg_ids": list(msg_ids)}, session="tab", channel="control"))
    again = [m.body()["msg_ids"] for m in tab.got if m.msg_type == "elastic_resend"]
    assert len(again) == 1, "asked once, answered once: what waits goes after the answer"
    ended = {m.parent["msg_id"]: m.body()["ename"] for m in tab.got if m.msg_type == "execute_reply"}
    return again[0], ended


@pytest.mark.parametrize("phase", [Phase.SUSPENDED, Phase.PENDING, Phase.STARTING])
def test_a_cell_that_no_kernel_can_have_had_may_be_sent_again(phase: Phase) -> None:
    """The queue of a dead gateway is lost; the cells are not."""
    assert ask(Broker(Brokers(), kernel(phase)), "a", "b") == (["a", "b"], {})


def test_a_cell_that_has_run_is_not_sent_again_after_its_kernel_went_to_sleep() -> None:
    """Its reply was lost with a connection that was away for longer than replies are kept."""
    broker = Broker(Brokers(), kernel(Phase.SUSPENDED))
    broker.cells.take("ran")
    assert ask(broker, "ran", "never came") == (["never came"], {"ran": "ReplyLost"})


def test_a_cell_that_an_earlier_gateway_may_have_run_is_not_sent_again() -> None:
    """The life in which it may have run has ended since."""
    broker = Broker(Brokers(), kernel(Phase.RUNNING))
    broker.kernel = kernel(Phase.SUSPENDED)
    assert ask(broker, "a") == ([], {"a": "GatewayRestarted"})


def test_a_cell_that_still_waits_is_left_waiting() -> None:
    """And the user server may go on at once."""
    broker = Broker(Brokers(), kernel(Phase.PENDING))
    request = make("execute_request", {"code": "1"}, session="tab", channel="shell")
    broker.cells.waiting.append(Cell(request, "tab"))
    assert ask(broker, request.msg_id) == ([], {})
