"""Whether and when a container that has ended is started again, as a kubelet would. Pure."""

from __future__ import annotations

FIRST_BACK_OFF = 1.0
LONGEST_BACK_OFF = 30.0
GOOD_RUN = 60.0
"""Seconds after which a container has run well, so that its next end begins the back-off anew."""


def starts_again(policy: str, code: int) -> bool:
    """Whether a restartPolicy wants another start after this exit code."""
    return policy == "Always" or (policy == "OnFailure" and code != 0)


def init_policy(policy: str) -> str:
    """An init container must succeed once: it is tried again unless the pod is never restarted."""
    return "Never" if policy == "Never" else "OnFailure"


class BackOff:
    """Pauses that double, and begin anew after a good run."""

    def __init__(self) -> None:
        self._next = FIRST_BACK_OFF

    def after(self, ran: float) -> float:
        """The pause after a run of so many seconds."""
        if ran >= GOOD_RUN:
            self._next = FIRST_BACK_OFF
        pause, self._next = self._next, min(self._next * 2, LONGEST_BACK_OFF)
        return pause
