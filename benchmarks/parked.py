"""Notebooks that are opened and never run: what each costs the gateway.

Aims for 3,000: at most 15 KB each, no descriptor each, at most 1 % of a core while nobody acts, an owner's listing
within 20 ms (p99).
"""

from __future__ import annotations

import argparse
import asyncio
from time import monotonic

import aiohttp
import psutil
from common import demo, percentile, summary, user_token


async def main(kernels: int, users: int, quiet: float) -> None:
    """Print memory, descriptors, idle CPU and listing times."""
    async with demo(users=users, gpus=0) as running:
        gateway = psutil.Process(int((running.settings.state_dir / "run" / "gateway.pid").read_text()))
        tokens = [await user_token(running, user["name"]) for user in running.users]
        async with aiohttp.ClientSession() as http:
            await listing(http, running.gateway_url, tokens[0])
            memory, descriptors = gateway.memory_info().rss, gateway.num_fds()
            started = monotonic()
            times = await open_all(http, running.gateway_url, tokens, kernels)
            took = monotonic() - started
            await asyncio.sleep(8)  # the controller writes each one's first status
            grown = gateway.memory_info().rss - memory
            print(f"opened {kernels} in {took:.1f} s: {kernels / took:.0f}/s, each {summary(times)}")
            print(f"memory {grown / kernels / 1000:.1f} KB each (aim at most 15)")
            before = gateway.cpu_times()
            await asyncio.sleep(quiet)
            after = gateway.cpu_times()
            busy = (after.user + after.system - before.user - before.system) / quiet
            print(f"idle CPU {busy:.2%} of a core (aim at most 1 %)")
            lists = [await listing(http, running.gateway_url, tokens[n % users]) for n in range(300)]
        worst = percentile(lists, 0.99) * 1000
        print(f"own listing of {kernels // users}: {summary(lists)}, p99 {worst:.1f} ms (aim at most 20)")
        await asyncio.sleep(1)
        print(f"descriptors {gateway.num_fds() - descriptors:+d} (aim 0)")


async def open_all(http: aiohttp.ClientSession, url: str, tokens: list[str], kernels: int) -> list[float]:
    """Open them twenty at a time; returns the seconds of each."""
    limit = asyncio.Semaphore(20)

    async def one(number: int) -> float:
        headers = {"Authorization": f"token {tokens[number % len(tokens)]}"}
        async with limit:
            started = monotonic()
            async with http.post(f"{url}/api/kernels", json={"name": "python3-cpu"}, headers=headers) as answer:
                if answer.status != 201:
                    raise RuntimeError(f"{answer.status}: {await answer.text()}")
                await answer.read()
            return monotonic() - started

    return list(await asyncio.gather(*(one(number) for number in range(kernels))))


async def listing(http: aiohttp.ClientSession, url: str, token: str) -> float:
    """Seconds of one listing."""
    started = monotonic()
    async with http.get(f"{url}/api/kernels", headers={"Authorization": f"token {token}"}) as answer:
        await answer.read()
    return monotonic() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=int, default=3000)
    parser.add_argument("--users", type=int, default=30)
    parser.add_argument("--quiet", type=float, default=20, help="seconds without requests over which CPU is measured")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.kernels, arguments.users, arguments.quiet))
