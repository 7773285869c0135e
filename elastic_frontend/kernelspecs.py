"""Kernelspecs for the launcher, and what it says when there are none."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_server.gateway.managers import GatewayKernelSpecManager
from tornado import web
from traitlets import Float

from elastic_frontend.asking import NO_ANSWER, NO_GATEWAY, reason_of

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


class ElasticKernelSpecManager(GatewayKernelSpecManager):
    """The gateway's kernelspecs."""

    ask_limit = Float(
        10.0,
        config=True,
        help="Seconds that the gateway has to list its kernelspecs. A launcher waits for it. Default 10.",
    )

    async def get_all_specs(self) -> dict[str, Any]:
        """All of them, or the reason why there are none."""
        try:
            async with asyncio.timeout(self.ask_limit):
                specs: dict[str, Any] = await super().get_all_specs()
        except web.HTTPError as error:
            return explanation(reason_of(error))
        except OSError:
            return explanation(NO_ANSWER)
        except (ValueError, LookupError, TypeError, AttributeError):
            return explanation(NO_GATEWAY)  # its JSON, if it is JSON, has another shape
        return specs or explanation("the gateway offers none")
