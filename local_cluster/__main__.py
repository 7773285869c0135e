"""``python -m local_cluster up --dir DIR --gpus N``: a cluster in the foreground; ``build``: what it needs, once."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from local_cluster.cluster import LocalCluster
from local_cluster.control_plane.build import ensure
from local_cluster.errors import LocalClusterError
from local_cluster.images import read_images


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="local_cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="run a cluster until Ctrl-C")
    up.add_argument("--dir", type=Path, required=True, help="the cluster's directory; emptied at each start")
    up.add_argument("--gpus", type=int, default=0, help="how many GPUs the node pretends to have")
    up.add_argument("--images", type=Path, help="JSON or YAML file: image name pattern to environment")
    commands.add_parser("build", help="find or build the control plane and the pods' address shim")
    options = parser.parse_args(argv)
    try:
        if options.command == "build":
            return _build()
        return asyncio.run(_up(options.dir, options.gpus, options.images))
    except LocalClusterError as error:
        sys.stderr.write(f"local_cluster: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("local_cluster: interrupted\n")
        return 130


def _build() -> int:
    binaries = ensure(os.environ)
    sys.stdout.write(f"control plane: {' '.join(binaries.argv('kube-apiserver'))} ({binaries.origin})\n")
    return 0


async def _up(directory: Path, gpus: int, images_file: Path | None) -> int:
    images = read_images(images_file) if images_file is not None else {}
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    cluster = LocalCluster(directory, gpus=gpus, images=images)
    starting = asyncio.create_task(cluster.start())
    try:
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return 130
        await starting
        sys.stdout.write(f"ready: kubeconfig {cluster.kubeconfig}\n")
        sys.stdout.flush()
        watching = asyncio.create_task(cluster.watch())
        await asyncio.wait({watching, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching
        watching.cancel()
        return 0
    finally:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, LocalClusterError):
            await starting
        await cluster.stop()
        stopped.cancel()


if __name__ == "__main__":
    sys.exit(main())
