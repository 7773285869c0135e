"""``python -m local_cluster up``: a cluster in the foreground; ``build``: its programs only."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path

from local_cluster.addresses import NoSliceError
from local_cluster.cluster import ClusterError, LocalCluster, check_sandbox
from local_cluster.control_plane.build import BuildError, cache_dir, program
from local_cluster.node.shim import ShimError, built_shim
from local_cluster.processes import ProcessError


def say(text: str) -> None:
    """A line for people."""
    print(text, flush=True)  # noqa: T201  # the program's own output


async def up(directory: Path, gpus: int, images: dict[str, str]) -> None:
    """Run a cluster until Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with LocalCluster(directory, gpus=gpus, images=images) as cluster:
        say(f"ready: KUBECONFIG={cluster.kubeconfig}")
        say(f"look:  {' '.join(cluster.kubectl)} get nodes")
        await stop.wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="local_cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build what is not in the cache yet")
    start = commands.add_parser("up", help="run a cluster until Ctrl-C")
    start.add_argument("--dir", type=Path, required=True, help="where its state lies")
    start.add_argument("--gpus", type=int, default=4, help="how many GPUs its node says it has (default 4)")
    start.add_argument("--images", type=Path, help="JSON file: image name glob to Python environment")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        if arguments.command == "build":
            check_sandbox()
            program(os.environ, say)
            built_shim(cache_dir(os.environ))
        else:
            images = json.loads(arguments.images.read_text()) if arguments.images else {}
            asyncio.run(up(arguments.dir.absolute(), arguments.gpus, images))
    except KeyboardInterrupt:
        sys.exit("local_cluster: interrupted; the same command goes on where it stopped")
    except (BuildError, ClusterError, NoSliceError, ProcessError, ShimError) as error:
        sys.exit(f"local_cluster: {error}")


if __name__ == "__main__":
    main()
