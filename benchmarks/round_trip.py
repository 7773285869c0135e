"""`1+1` through user server, gateway and broker, beside a local kernel of the same user server.

Both servers are the same environment, both are asked directly, in turns, in one run. Aim: at most twice the local p50.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

from common import demo, jupyter_server, kernel, summary, user_token


async def main(rounds: int) -> None:
    """Print both, and the ratio."""
    async with demo() as running:
        token = await user_token(running, "ada")
        gateway = {
            "JUPYTER_GATEWAY_URL": running.gateway_url,
            "JUPYTER_GATEWAY_WS_URL": running.gateway_url.replace("http", "ws", 1),
            "JUPYTER_GATEWAY_AUTH_TOKEN": token,
        }
        with tempfile.TemporaryDirectory() as scratch:
            async with (
                jupyter_server(Path(scratch) / "local") as local_url,
                jupyter_server(Path(scratch) / "elastic", **gateway) as elastic_url,
                kernel(local_url, "benchmark", {"name": "python3"}) as local,
                kernel(elastic_url, "benchmark", {"name": "python3-cpu"}) as elastic,
                kernel(running.gateway_url, token, {"name": "python3-cpu"}) as direct,
            ):
                times: dict[str, list[float]] = {"local": [], "elastic": [], "direct": []}
                for cell in (local, elastic, direct):
                    for _ in range(5):
                        await cell.run("1+1")
                for _ in range(rounds):
                    for name, cell in (("local", local), ("elastic", elastic), ("direct", direct)):
                        times[name].append(await cell.run("1+1"))
    print(f"local kernel of the user server       {summary(times['local'])}")
    print(f"through user server, gateway, broker  {summary(times['elastic'])}")
    print(f"through gateway and broker only       {summary(times['direct'])}")
    ratio = statistics.median(times["elastic"]) / statistics.median(times["local"])
    print(f"ratio of p50 {ratio:.2f} (aim at most 2)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    asyncio.run(main(parser.parse_args().rounds))
