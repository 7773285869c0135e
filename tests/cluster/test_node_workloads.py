"""What an operator's pods do: they are probed, restarted, served by sidecars, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest
import pytest_asyncio

from kernel_core.cluster.client import PODS
from local_cluster.cluster import LocalCluster
from tests.cluster.workloads import (
    CHECKOUT,
    FAST,
    IMAGES,
    NAMESPACE,
    SERVER,
    SERVICES,
    answer,
    container,
    get,
    log_of,
    pod,
    reasons,
    service,
    state,
    until_phase,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """One image, no GPU."""
    async with LocalCluster(tmp_path_factory.mktemp("cluster"), gpus=0, images=IMAGES) as running:
        await running.make_namespace(NAMESPACE)
        yield running


async def test_readiness_comes_and_goes_and_restarts_nothing(cluster) -> None:
    """An exec probe, asked inside the container."""
    code = "import os, time; time.sleep(1); open('/tmp/ok', 'w'); time.sleep(2); os.remove('/tmp/ok'); time.sleep(60)"
    probe = {"exec": {"command": ["test", "-e", "/tmp/ok"]}, **FAST}
    await cluster.client.create(PODS, NAMESPACE, pod("moody", container(code, readinessProbe=probe)))

    async def conditions() -> dict[str, str]:
        found = (await get(cluster, "moody")).get("status", {}).get("conditions") or []
        return {c["type"]: c["status"] for c in found}

    for wanted in ("False", "True", "False"):

        async def look(wanted: str = wanted) -> bool:
            return (await conditions()).get("Ready") == wanted

        await eventually(look, within=8, what=f"Ready {wanted}")
    told = await state(cluster, "moody")
    assert (told["restartCount"], told["ready"], told["started"]) == (0, False, True)
    assert "Unhealthy" in await reasons(cluster, "moody")
    await cluster.client.delete(PODS, NAMESPACE, "moody")


async def test_a_container_that_stops_answering_is_restarted_and_told_of(cluster) -> None:
    """Not before its startup probe has succeeded; its end stays in lastState."""
    code = (
        "import socket, time\n"
        "time.sleep(2.5)\n"
        "s = socket.socket(); s.bind(('0.0.0.0', 7000)); s.listen(); print('up')\n"
        "time.sleep(3); s.close(); print('hangs'); time.sleep(60)"
    )
    ask = {"tcpSocket": {"port": 7000}, "periodSeconds": 1}
    main = container(code, startupProbe={**ask, "failureThreshold": 20}, livenessProbe={**ask, "failureThreshold": 1})
    await cluster.client.create(PODS, NAMESPACE, pod("hangs", main, restartPolicy="Always"))

    async def restarted() -> bool:
        return bool((await state(cluster, "hangs")).get("restartCount") == 1)

    await eventually(restarted, within=15, what="one restart")
    told = await state(cluster, "hangs")
    assert told["lastState"]["terminated"]["exitCode"] == 137
    assert log_of(cluster, await get(cluster, "hangs")).split()[:2] == ["up", "hangs"]

    async def all_told() -> bool:
        return {"Unhealthy", "Killing", "BackOff"} <= await reasons(cluster, "hangs")

    await eventually(all_told, within=3, what="three kinds of events")
    await cluster.client.delete(PODS, NAMESPACE, "hangs")


async def test_a_policy_of_on_failure_ends_with_the_first_success(cluster) -> None:
    """One failure, one pause, one success; restarts keep the pod's volumes."""
    code = "import os, sys; f = '/data/n'; again = os.path.exists(f); open(f, 'w'); sys.exit(0 if again else 3)"
    main = container(code, volumeMounts=[{"name": "d", "mountPath": "/data"}])
    made = pod("retries", main, restartPolicy="OnFailure", volumes=[{"name": "d", "emptyDir": {}}])
    await cluster.client.create(PODS, NAMESPACE, made)
    item = await until_phase(cluster, "retries", "Succeeded")
    told = item["status"]["containerStatuses"][0]
    assert (told["restartCount"], told["lastState"]["terminated"]["exitCode"]) == (1, 3)


async def test_init_containers_run_in_order_and_a_sidecar_serves_the_main_one(cluster) -> None:
    """The sidecar is up before the next begins, and ends after the last."""
    share = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
    serve = container(SERVER, restartPolicy="Always", startupProbe={"httpGet": {"port": 8080}, **FAST}, **share)
    serve["startupProbe"]["failureThreshold"] = 20
    inits = [
        {**container("open('/data/order', 'a').write('first ')", **share), "name": "first"},
        {**serve, "name": "side"},
        {**container("open('/data/order', 'a').write('second ')", **share), "name": "second"},
    ]
    ask = "import os, urllib.request as r; print(open('/data/order').read()"
    main = container(f"{ask}, r.urlopen('http://' + os.environ['HOSTNAME'] + ':8080').status)", **share)
    made = pod("ordered", main, initContainers=inits, volumes=[{"name": "d", "emptyDir": {}}])
    await cluster.client.create(PODS, NAMESPACE, made)
    item = await until_phase(cluster, "ordered", "Succeeded")
    assert log_of(cluster, item).split() == ["first", "second", "200"]

    async def ended() -> bool:
        told = (await get(cluster, "ordered"))["status"]["initContainerStatuses"]
        return all("terminated" in one["state"] for one in told)

    await eventually(ended, within=5, what="the sidecar ended too")


async def test_a_container_does_what_it_is_asked_to_before_its_end(cluster) -> None:
    """Its preStop hook runs inside, before it is told to end and within its grace."""
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye', os.path.exists('/tmp/asked'))))\n"
        "print('up')\n"
        "time.sleep(60)"
    )
    hook = {"preStop": {"exec": {"command": ["touch", "/tmp/asked"]}}}
    made = pod("polite", container(code, lifecycle=hook), terminationGracePeriodSeconds=20)
    await cluster.client.create(PODS, NAMESPACE, made)
    item = await until_phase(cluster, "polite", "Running")

    async def said(words: str) -> bool:
        return words in log_of(cluster, item)

    await eventually(lambda: said("up"), within=5, what="the handler is there")
    await cluster.client.delete(PODS, NAMESPACE, "polite")
    await eventually(lambda: said("bye True"), within=5, what="asked, then told")


async def test_when_the_node_has_stopped_nothing_of_it_is_left(tmp_path: Path) -> None:
    """No task, no listener, no process."""
    before = asyncio.all_tasks()
    images = {"test/python*": str(CHECKOUT / ".build" / "envs" / "user")}
    probe = {"exec": {"command": ["true"]}, **FAST}
    async with LocalCluster(tmp_path / "c", gpus=0, images=images) as cluster:
        await cluster.make_namespace(NAMESPACE)
        made = await cluster.client.create(SERVICES, NAMESPACE, service("web", 8081, 8080))
        main = container(SERVER, livenessProbe=probe, readinessProbe=probe)
        await cluster.client.create(PODS, NAMESPACE, pod("web", main))
        address = (made["spec"]["clusterIP"], 8081)

        async def up() -> bool:
            return bool(await answer(f"http://{address[0]}:8081/"))

        await eventually(up, within=15, what="the pod answers")
        reader, writer = await asyncio.open_connection(*address)
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    began = monotonic()
    while asyncio.all_tasks() - before and monotonic() - began < 3:
        await asyncio.sleep(0.05)
    assert not asyncio.all_tasks() - before
    with socket.socket() as knock:
        assert knock.connect_ex(address) != 0
    listed = await asyncio.create_subprocess_exec("pgrep", "-f", str(tmp_path / "c"), stdout=subprocess.PIPE)
    assert not (await listed.communicate())[0].strip()
