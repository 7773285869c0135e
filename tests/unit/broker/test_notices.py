"""What a cell says while it waits."""

from __future__ import annotations

import re

import pytest

from kernel_core.kernel import Phase, Reason
from process_proxies.broker.notices import MARK, ending_text, waiting_content, waiting_line
from tests.unit.kernel_core.test_life import make_kernel

SCHEDULER = (
    "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, "
    "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)


@pytest.mark.parametrize(
    ("phase", "reason", "message", "words"),
    [
        (Phase.PENDING, Reason.UNSCHEDULABLE, SCHEDULER, ["Python 3 · 1 GPU", "1 Insufficient nvidia.com/gpu"]),
        (Phase.PENDING, Reason.QUOTA_EXCEEDED, "exceeded quota: team", ["quota", "exceeded quota: team"]),
        (Phase.STARTING, "ImagePullBackOff", "Back-off pulling image", ["ImagePullBackOff", "Back-off pulling image"]),
        (Phase.STARTING, Reason.CONNECTING, "", ["Starting", "loaded"]),
        (Phase.SUSPENDING, Reason.IDLE, "", ["previous pod"]),
    ],
)
def test_the_line_names_the_size_and_the_clusters_own_reason(phase, reason, message, words) -> None:
    """And no counter that a saved file would make untrue."""
    line = waiting_line(make_kernel(phase=phase, reason=reason, message=message, incarnation=1), "Python 3 · 1 GPU")
    for word in words:
        assert word in line
    assert "preemption" not in line.lower()
    assert not re.search(r"\d+ ?(s|seconds|minutes)\b", line)


def test_the_line_carries_the_mark_by_which_it_is_stripped_at_save() -> None:
    """In the output's own metadata, which the notebook file keeps."""
    content = waiting_content("a <b>", "id")
    assert content["metadata"] == MARK
    assert "&lt;b&gt;" in content["data"]["text/html"]
    assert content["transient"] == {"display_id": "id"}


def test_a_death_is_told_in_words_and_with_the_clusters_message() -> None:
    """Reasons that nobody foresaw are told as they are."""
    assert "out of memory" in ending_text(Reason.OOM_KILLED, "")
    assert "SomethingNew" in ending_text("SomethingNew", "")
    assert "node gone" in ending_text(Reason.NODE_LOST, "node gone")
