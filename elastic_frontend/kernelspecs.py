"""Kernelspecs for the launcher, and what it says when there are none."""

from __future__ import annotations

from typing import Any

from jupyter_server.gateway.managers import GatewayKernelSpecManager
from tornado import web

UNAVAILABLE = "elastic-unavailable"


def explanation(reason: str) -> dict[str, Any]:
    """One entry that cannot be started and says why."""
    return {
        UNAVAILABLE: {
            "name": UNAVAILABLE,
            "spec": {
                "argv": [],
                "env": {},
                "display_name": f"No kernels now: {reason}",
                "language": "python",
                "interrupt_mode": "message",
                "metadata": {},
            },
            "resources": {},
        }
    }


def reason_of(status: int) -> str:
    """Why the gateway lists no kernelspecs, in the launcher's words."""
    if status == 403:
        return "the gateway does not know this server"
    return "the gateway does not answer"


class ElasticKernelSpecManager(GatewayKernelSpecManager):
    """The gateway's kernelspecs."""

    async def get_all_specs(self) -> dict[str, Any]:
        """All of them, or the reason why there are none."""
        try:
            specs: dict[str, Any] = await super().get_all_specs()
        except web.HTTPError as error:
            return explanation(reason_of(error.status_code))
        except (OSError, TimeoutError):
            return explanation(reason_of(0))
        return specs
