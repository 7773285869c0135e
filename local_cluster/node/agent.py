"""The node's parts, wired: registration, lease."""

from __future__ import annotations

import asyncio

from local_cluster.api import Api, Credentials
from local_cluster.node.registration import keep_lease, register
from local_cluster.node.settings import NodeSettings
from local_cluster.slices import Slice


class Agent:
    """One node; `run` returns only by an error or by being cancelled."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings

    async def run(self) -> None:
        """Register and serve."""
        settings = self._settings
        async with (
            Api(Credentials.from_kubeconfig(settings.kubeconfig)) as api,
            Api(Credentials.from_kubeconfig(settings.admin_kubeconfig)) as admin,
        ):
            await register(api, admin, settings, str(Slice(settings.slice).node), 10250)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_lease(api, settings.name))
