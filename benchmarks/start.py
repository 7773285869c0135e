"""From Run to result with no pod, beside a bare pod of the same image on the same node.

The bare pod runs the same kernel with the same connection file, made by two API calls and asked for its info as soon
as it listens. What ours takes longer is what it adds. Aim: at most 0.15 s (p50).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import uuid
from asyncio.subprocess import PIPE
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from common import CHECKOUT, demo, kernel, summary, user_token

from kernel_core.cluster.client import PODS, SECRETS, Client
from kernel_core.cluster.pods import new_connection_info
from kernel_core.kernel import Kernel, OperatingMode, Owner
from kernel_core.manifests import Home, connection_secret, kernel_pod
from kernel_core.sizes import KernelSpec, Size
from local_cluster.demo.settings import NAMESPACE

SPEC = KernelSpec(
    "bare", "Bare", "python", "elastic-jupyter/kernel-python:0.1.0",
    ("python", "-m", "ipykernel_launcher", "-f", "{connection_file}"),
)  # fmt: skip
SIZE = Size("cpu", resources={"cpu": "100m", "memory": "512Mi"})


async def bare_start(api: Client, client: asyncio.subprocess.Process) -> float:
    """Seconds from the first API call to the reply to `1`."""
    name = str(uuid.uuid4())
    made = Kernel(
        name=name, uid="none", resource_version="1", generation=1, owner=Owner("bare"), managed_by="benchmark",
        kernelspec="bare", size="cpu", operating_mode=OperatingMode.RUNNING, suspend_reason="", run_request=0,
        working_dir="", idle_timeout=None, retention=None, created=datetime.now(UTC), deleting=False,
    )  # fmt: skip
    info = new_connection_info()
    secret = connection_secret(made, 1, NAMESPACE, info)
    pod: dict[str, Any] = kernel_pod(made, 1, NAMESPACE, SPEC, SIZE, Home())
    for item in (secret, pod):
        del item["metadata"]["ownerReferences"]
    started = monotonic()
    await api.create(SECRETS, NAMESPACE, secret)
    await api.create(PODS, NAMESPACE, pod)
    address = ""
    while not address:
        seen = await api.get(PODS, NAMESPACE, pod["metadata"]["name"])
        address = seen.get("status", {}).get("podIP", "")
        await asyncio.sleep(0.005)
    question = {"address": address, "key": info.key, "shell_port": info.shell_port}
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(json.dumps(question).encode() + b"\n")
    async with asyncio.timeout(60):
        await client.stdout.readline()
    took = monotonic() - started
    await api.delete(PODS, NAMESPACE, pod["metadata"]["name"])
    await api.delete(SECRETS, NAMESPACE, secret["metadata"]["name"])
    return took


async def main(rounds: int) -> None:
    """Print both, and the difference."""
    bare: list[float] = []
    ours: list[float] = []
    async with demo() as running, Client(str(running.kubeconfig)) as api:
        token = await user_token(running, "ada")
        python = CHECKOUT / ".build" / "envs" / "gateway" / "bin" / "python"
        client = await asyncio.create_subprocess_exec(
            str(python), str(CHECKOUT / "benchmarks" / "bare_client.py"), stdin=PIPE, stdout=PIPE
        )
        await bare_start(api, client)
        for _ in range(rounds):
            bare.append(await bare_start(api, client))
            async with kernel(running.gateway_url, token, {"name": "python3-cpu"}) as cell:
                ours.append(await cell.run("1"))
        client.terminate()
        await client.wait()
    print(f"bare pod, from API call to reply  {summary(bare, 's', 1)}")
    print(f"ours, from Run to reply           {summary(ours, 's', 1)}")
    added = statistics.median(ours) - statistics.median(bare)
    print(f"added, p50                        {added:+.3f} s (aim at most 0.15)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    asyncio.run(main(parser.parse_args().rounds))
