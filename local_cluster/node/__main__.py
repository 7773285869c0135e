"""``python -m local_cluster.node SETTINGS``: the node's process. Started by `LocalCluster`, told all by one file."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from local_cluster.node.agent import Agent
from local_cluster.node.settings import NodeSettings


def main() -> int:
    """Run the node until it is told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    settings = NodeSettings.from_json(json.loads(Path(sys.argv[1]).read_text()))
    policy = asyncio.DefaultEventLoopPolicy()
    # A pidfd for each child instead of a thread for each child.
    policy.set_child_watcher(asyncio.PidfdChildWatcher())
    asyncio.set_event_loop_policy(policy)
    return asyncio.run(_run(settings))


async def _run(settings: NodeSettings) -> int:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await Agent(settings).run()
    except asyncio.CancelledError:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
