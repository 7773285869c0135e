"""What waits for the gateway, within bounds."""

from __future__ import annotations

from elastic_frontend.outbox import MAX_BYTES, MAX_MESSAGES, MAX_REMEMBERED, Outbox
from elastic_frontend.protocol import Frame, new_frame, pack_v1


def cell(code: str = "1") -> Frame:
    """An execute request."""
    return new_frame("shell", "execute_request", {"code": code}, session="s")


def taken(box: Outbox) -> list[Frame]:
    """All that waited, in order."""
    frames = []
    while (first := box.first()) is not None:
        frames.append(first[0])
        box.drop_first()
    return frames


def test_messages_wait_in_order_and_are_taken_once() -> None:
    """Nothing lost, nothing twice."""
    box, cells = Outbox(), [cell(str(n)) for n in range(3)]
    for one in cells:
        assert box.wait(0.0, one)
    assert taken(box) == cells
    assert taken(box) == []


def test_there_is_room_for_so_many_messages_and_bytes() -> None:
    """The next one is refused, not silently lost."""
    box = Outbox()
    assert all(box.wait(0.0, cell()) for _ in range(MAX_MESSAGES))
    assert not box.wait(0.0, cell())
    assert not Outbox().wait(0.0, cell("x" * MAX_BYTES))


def test_what_has_waited_too_long_is_told_so() -> None:
    """A cell of an hour ago does not run by surprise."""
    box = Outbox()
    old, new = cell("old"), cell("new")
    box.wait(0.0, old)
    box.wait(600.0, new)
    assert box.too_old(601.0, longest=600.0) == [old]
    assert taken(box) == [new]


def test_only_cells_without_a_reply_are_asked_about_and_sent_again() -> None:
    """And only when the gateway says that it never had them."""
    box = Outbox()
    answered, open_, info = cell("a"), cell("b"), new_frame("shell", "kernel_info_request", {}, session="s")
    for frame in (answered, open_, info):
        box.sent(frame, pack_v1(frame))
    box.answered(str(answered.header["msg_id"]))
    waiting = str(open_.header["msg_id"])
    assert box.unanswered == [waiting]
    assert box.again([waiting, "unknown", str(answered.header["msg_id"])]) == [pack_v1(open_)]


def test_a_second_reply_is_known_as_such_until_another_page_takes_over() -> None:
    """Its first one may have died with the earlier page."""
    box = Outbox()
    assert box.answered("a")
    assert not box.answered("a")
    box.forget_done()
    assert box.answered("a")


def test_a_cell_too_large_to_keep_is_named_and_not_sent_again() -> None:
    """So that its page is told, and not left waiting."""
    box, large = Outbox(), cell("x" * MAX_REMEMBERED)
    box.sent(large, pack_v1(large))
    msg_id = str(large.header["msg_id"])
    assert box.again([msg_id]) == []
    assert [frame.header["msg_id"] for frame in box.not_kept([msg_id, "unknown"])] == [msg_id]


def test_what_is_given_up_is_named_in_the_order_of_its_sending() -> None:
    """And nothing is left."""
    box, sent, waiting = Outbox(), cell("sent"), cell("waiting")
    box.sent(sent, pack_v1(sent))
    box.wait(0.0, waiting)
    assert box
    assert [frame.header["msg_id"] for frame in box.give_up()] == [sent.header["msg_id"], waiting.header["msg_id"]]
    assert not box
    assert box.wait(0.0, cell())
