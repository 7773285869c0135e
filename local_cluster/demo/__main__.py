"""``python -m local_cluster.demo``: the demo in a terminal, or with ``--once`` the tour by itself."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import aiohttp
from kubernetes_asyncio.client import ApiException
from rich.console import Console
from rich.live import Live

from local_cluster.addresses import NoSliceError
from local_cluster.cluster import ClusterError
from local_cluster.control_plane.build import BuildError
from local_cluster.demo.objects import read_objects
from local_cluster.demo.settings import NAMESPACE, DemoSettings, SettingsError, read_settings
from local_cluster.demo.stack import Demo, running
from local_cluster.demo.table import kernel_table, utc_now
from local_cluster.demo.tour import Tour, TourError
from local_cluster.node.shim import ShimError
from local_cluster.processes import ProcessError

CHECKOUT = Path(__file__).parents[2]


def what_to_try(demo: Demo) -> str:
    """The lines a person reads first."""
    users = "\n".join(f"      {user['name']:10} {user['password']}" for user in demo.users)
    idle = demo.settings.idle_timeout.total_seconds()
    kubectl = f"{' '.join(demo.kubectl)} -n {NAMESPACE} get jk,pods"
    return f"""
  Open    {demo.hub_url}
  Users
{users}

  Try     1. Log in and open a notebook with "Python 3 · 1 GPU": no pod is made.
          2. Run a cell: the cell says what it waits for, a pod with one GPU appears below.
          3. Leave it alone for {idle:.0f} s: the pod goes, the notebook stays open.
          4. Run again: it is back.
  Look    {kubectl}
  Stop    Ctrl-C
"""


async def show_table(demo: Demo, console: Console) -> None:
    """Keep the live table up to date until cancelled."""
    async with read_objects(demo.kubeconfig, NAMESPACE) as objects:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while True:
                try:
                    kernels, pods = await asyncio.gather(objects.kernels(), objects.kernel_pods())
                except (ApiException, aiohttp.ClientError, TimeoutError, OSError) as error:
                    live.update(f"The API server does not answer: {error}", refresh=True)
                else:
                    live.update(kernel_table(kernels, pods, demo.settings.gpus, utc_now()), refresh=True)
                await asyncio.sleep(0.5)


async def walk_tour(demo: Demo, console: Console) -> None:
    """The tour, with its evidence on the terminal."""
    async with read_objects(demo.kubeconfig, NAMESPACE) as objects:
        await Tour(demo, objects, lambda text: console.print(text, highlight=False, markup=False)).walk()


async def main(settings: DemoSettings, *, once: bool) -> int:
    """Run the demo until it is interrupted, or its tour is over; returns the exit code."""
    console = Console()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    started = monotonic()

    def say(text: str) -> None:
        console.print(f"  {monotonic() - started:5.1f} s  {text}", highlight=False, markup=False)

    starting = asyncio.create_task(_run(settings, once, console, say, stop))
    interrupted = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, interrupted}, return_when=asyncio.FIRST_COMPLETED)
    interrupted.cancel()
    if not starting.done():
        say("stopping")
        starting.cancel()
    try:
        return await starting
    except asyncio.CancelledError:
        return 0


async def _run(
    settings: DemoSettings, once: bool, console: Console, say: Callable[[str], None], stop: asyncio.Event
) -> int:
    async with running(settings, say) as demo:
        say("ready")
        if once:
            await walk_tour(demo, console)
            console.print("\nThe tour is over: every step was as promised.")
            return 0
        console.print(what_to_try(demo), highlight=False, markup=False)
        table = asyncio.create_task(show_table(demo, console)) if console.is_terminal else None
        await stop.wait()
        if table is not None:
            table.cancel()
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="local_cluster.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="do the tour and end")
    arguments = parser.parse_args()
    try:
        sys.exit(asyncio.run(main(read_settings(os.environ, CHECKOUT), once=arguments.once)))
    except SettingsError as error:
        sys.exit(f"demo: {error}")
    except (BuildError, ClusterError, NoSliceError, ProcessError, ShimError) as error:
        sys.exit(f"demo: {error}")
    except TourError as error:
        sys.exit(f"The tour found something not as promised: {error}")
