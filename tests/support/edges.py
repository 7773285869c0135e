"""Which phase of a kernel may be seen after which, as the design's table has it."""

from __future__ import annotations

from kernel_core.kernel import Phase, Status

IN_ONE_LIFE = {
    Phase.PENDING: {Phase.STARTING, Phase.SUSPENDING, Phase.FAILED},
    Phase.STARTING: {Phase.RUNNING, Phase.SUSPENDING, Phase.FAILED},
    Phase.RUNNING: {Phase.SUSPENDING, Phase.FAILED},
    Phase.SUSPENDING: {Phase.SUSPENDED},
    Phase.SUSPENDED: set(),
    Phase.FAILED: set(),
}
"""The edges between two phases of one incarnation. A watch may miss phases in between."""


def later(phase: Phase) -> set[Phase]:
    """Every phase in which the same incarnation may be seen afterwards, ``phase`` itself included."""
    seen, todo = {phase}, [phase]
    while todo:
        for following in IN_ONE_LIFE[todo.pop()] - seen:
            seen.add(following)
            todo.append(following)
    return seen


def may_follow(before: Status, after: Status) -> bool:
    """Whether a watch may see ``after`` next. A new incarnation begins Pending, and follows the one before it."""
    if Phase.TERMINATING in (before.phase, after.phase):
        return after.phase is Phase.TERMINATING and after.incarnation == before.incarnation
    if after.incarnation == before.incarnation:
        return after.phase in later(before.phase)
    return after.incarnation == before.incarnation + 1 and after.phase in later(Phase.PENDING)
