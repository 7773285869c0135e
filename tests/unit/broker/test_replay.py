"""What is kept for a session whose connection is away."""

from __future__ import annotations

from process_proxies.broker.framing import make
from process_proxies.broker.replay import LIFETIME, MAX_BYTES, RECENT, Recent, Ring


def test_a_full_ring_drops_the_oldest_outputs_and_keeps_every_reply_and_status() -> None:
    """No cell hangs for want of room."""
    ring = Ring(0.0)
    ring.keep(make("status", {"execution_state": "busy"}, session="k"))
    for _ in range(40):
        ring.keep(make("stream", {"name": "stdout", "text": "x" * (MAX_BYTES // 20)}, session="k"))
    ring.keep(make("execute_reply", {}, session="k", channel="shell"))
    kinds = [message.msg_type for message in ring.messages]
    assert ring.size <= MAX_BYTES
    assert (kinds[0], kinds[-1], ring.dropped) == ("status", "execute_reply", True)


def test_a_ring_is_not_kept_for_ever() -> None:
    """A page that was reloaded has another session and never comes back."""
    assert not Ring(0.0).expired(LIFETIME)
    assert Ring(0.0).expired(LIFETIME + 1)


def test_only_replies_of_the_last_seconds_are_sent_again() -> None:
    """They may have died in the pipe just before the cut."""
    recent = Recent()
    old, new, other = (make("execute_reply", {}, session="k", channel="shell") for _ in range(3))
    recent.note(0.0, "a", old)
    recent.note(10.0, "a", new)
    recent.note(10.0, "b", other)
    assert recent.of(10.0 + RECENT, "a") == [new]
