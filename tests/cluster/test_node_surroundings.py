"""What an operator's pods find around them: Services, names, files that change, the API server, kubectl logs."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from kernel_core.cluster.client import PODS, SECRETS
from local_cluster.cluster import LocalCluster
from tests.cluster.workloads import (
    CONFIG,
    DEPLOYMENTS,
    FAST,
    IMAGES,
    NAMESPACE,
    NODES,
    SERVER,
    SERVICES,
    answer,
    container,
    deployment,
    kubectl,
    log_of,
    pod,
    printed,
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


async def test_a_deployment_is_reached_by_its_services_name_while_it_is_ready(cluster) -> None:
    """By every form of the name, by variables, by a named port; not when nobody is ready, nor when it is gone."""
    main = container(SERVER, ports=[{"name": "web", "containerPort": 8080}])
    main["readinessProbe"] = {"httpGet": {"path": "/ready", "port": "web"}, **FAST}
    made = await cluster.client.create(SERVICES, NAMESPACE, service("web", 8081, "web"))
    url = f"http://{made['spec']['clusterIP']}:8081/"
    await cluster.client.create(DEPLOYMENTS, NAMESPACE, deployment("web", 2, main))

    async def ready() -> bool:
        item = await cluster.client.get(DEPLOYMENTS, NAMESPACE, "web")
        return item.get("status", {}).get("readyReplicas") == 2

    await eventually(ready, within=15, what="two replicas ready")
    seen: set[str] = set()

    async def both() -> bool:
        seen.add(await answer(url))
        return len(seen - {""}) == 2

    await eventually(both, within=5, what="both pods answer through the Service")
    names = ["web", f"web.{NAMESPACE}", f"web.{NAMESPACE}.svc", f"web.{NAMESPACE}.svc.cluster.local"]
    code = (
        "import os, urllib.request as r\n"
        f"for n in {names!r} + [os.environ['WEB_SERVICE_HOST']]:\n"
        "    print(r.urlopen(f'http://{n}:' + os.environ['WEB_SERVICE_PORT_HTTP'], timeout=3).status)\n"
        "print(r.socket.gethostbyname('localhost'))"
    )
    await cluster.client.create(PODS, NAMESPACE, pod("asks", container(code)))
    asked = await until_phase(cluster, "asks", "Succeeded")
    assert log_of(cluster, asked).split() == ["200"] * 5 + ["127.0.0.1"]
    await cluster.client.patch(DEPLOYMENTS, NAMESPACE, "web", {"spec": {"replicas": 0}})

    async def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((made["spec"]["clusterIP"], 8081)) != 0

    await eventually(refused, within=8, what="refused without endpoints")
    await cluster.client.delete(DEPLOYMENTS, NAMESPACE, "web")
    await cluster.client.delete(SERVICES, NAMESPACE, "web")


async def test_a_running_pod_sees_services_that_come_and_go(cluster) -> None:
    """Its hosts file is written in place."""
    code = (
        "import socket, time\n"
        "def look():\n"
        "    try: return socket.gethostbyname('late')\n"
        "    except OSError: return ''\n"
        "was = ''\n"
        "while True:\n"
        "    now = look()\n"
        "    if now != was: print(now or 'gone')\n"
        "    was = now; time.sleep(0.05)"
    )
    await cluster.client.create(PODS, NAMESPACE, pod("looks", container(code)))
    item = await until_phase(cluster, "looks", "Running")
    made = await cluster.client.create(SERVICES, NAMESPACE, service("late", 80, 8080))

    async def words(number: int) -> list[str]:
        said = log_of(cluster, item).split()
        return said if len(said) == number else []

    await eventually(lambda: words(1), within=5, what="the name appears")
    await cluster.client.delete(SERVICES, NAMESPACE, "late")
    assert await eventually(lambda: words(2), within=5, what="it goes") == [made["spec"]["clusterIP"], "gone"]
    await cluster.client.delete(PODS, NAMESPACE, "looks")


async def test_mounted_secrets_and_configmaps_follow_their_objects_all_at_once(cluster) -> None:
    """In a new directory below /etc too; a subPath keeps what it was."""
    await cluster.client.create(SECRETS, NAMESPACE, {"metadata": {"name": "tls"}, "stringData": {"a": "1", "b": "1"}})
    await cluster.client.create(CONFIG, NAMESPACE, {"metadata": {"name": "conf"}, "data": {"c": "1"}})
    code = (
        "import os, time\n"
        "def look(): return [open(f'/etc/tls/all/{n}').read() for n in 'abc'] + [open('/etc/one').read()]\n"
        "was = []\n"
        "while True:\n"
        "    now = look()\n"
        "    if now != was: print(*now, os.path.islink('/etc/tls/all/..data'))\n"
        "    was = now; time.sleep(0.02)"
    )
    sources = [{"secret": {"name": "tls"}}, {"configMap": {"name": "conf"}}]
    mounts = [
        {"name": "all", "mountPath": "/etc/tls/all"},
        {"name": "one", "mountPath": "/etc/one", "subPath": "a"},
    ]
    volumes = [{"name": "all", "projected": {"sources": sources}}, {"name": "one", "secret": {"secretName": "tls"}}]
    made = pod("reloads", container(code, volumeMounts=mounts), volumes=volumes)
    await cluster.client.create(PODS, NAMESPACE, made)
    item = await until_phase(cluster, "reloads", "Running")
    await eventually(lambda: printed(cluster, item, 1), within=5, what="the first words")
    await cluster.client.patch(SECRETS, NAMESPACE, "tls", {"stringData": {"a": "2", "b": "2"}})
    await eventually(lambda: printed(cluster, item, 2), within=10, what="the Secret followed")
    await cluster.client.patch(CONFIG, NAMESPACE, "conf", {"data": {"c": "2"}})
    lines = await eventually(lambda: printed(cluster, item, 3), within=10, what="the ConfigMap followed")
    assert lines == ["1 1 1 1 True", "2 2 1 1 True", "2 2 2 1 True"]
    await cluster.client.delete(PODS, NAMESPACE, "reloads")


async def test_a_pod_speaks_to_the_api_server_as_its_own_account(cluster) -> None:
    """With the token, the authority and the variables that every pod gets; by its Service where 443 may be had."""
    code = (
        "import json, os, ssl, urllib.request as r, urllib.error as e\n"
        "d = '/var/run/secrets/kubernetes.io/serviceaccount/'\n"
        "tls = ssl.create_default_context(cafile=d + 'ca.crt')\n"
        "at = os.environ['KUBERNETES_SERVICE_HOST'] + ':' + os.environ['KUBERNETES_SERVICE_PORT']\n"
        "head = {'Authorization': 'Bearer ' + open(d + 'token').read()}\n"
        "for host in (at, 'kubernetes.default.svc')[:int(os.environ['WAYS'])]:\n"
        "    url = f'https://{host}/api/v1/namespaces/' + open(d + 'namespace').read() + '/pods'\n"
        "    try: r.urlopen(r.Request(url, headers=head), context=tls, timeout=5)\n"
        "    except e.HTTPError as error: print(json.load(error)['message'])"
    )
    ways = 2 if os.geteuid() == 0 else 1
    env = [{"name": "WAYS", "value": str(ways)}]
    await cluster.client.create(PODS, NAMESPACE, pod("speaks", container(code, env=env)))
    said = log_of(cluster, await until_phase(cluster, "speaks", "Succeeded"))
    assert said.count(f'"system:serviceaccount:{NAMESPACE}:default" cannot list resource "pods"') == ways


async def test_kubectl_logs_shows_the_present_and_the_previous_run_and_strangers_see_nothing(cluster) -> None:
    """Tail and follow too; only the API server's certificate opens the port."""
    code = "import os, time; again = os.path.exists('/d/x'); open('/d/x', 'w'); print('a\\nb'); "
    code += "time.sleep(2 if again else 0); print('end' if again else 'first'); exit(0 if again else 1)"
    main = container(code, volumeMounts=[{"name": "d", "mountPath": "/d"}])
    made = pod("talks", main, restartPolicy="OnFailure", volumes=[{"name": "d", "emptyDir": {}}])
    await cluster.client.create(PODS, NAMESPACE, made)

    async def second() -> bool:
        told = await state(cluster, "talks")
        return told.get("restartCount") == 1 and "running" in told["state"]

    await eventually(second, within=8, what="the second run")
    assert (await kubectl(cluster, "logs", "-f", "talks")).split() == ["a", "b", "end"]
    assert (await kubectl(cluster, "logs", "--previous", "talks")).split() == ["a", "b", "first"]
    assert (await kubectl(cluster, "logs", "--tail=2", "talks")).split() == ["b", "end"]
    node = await cluster.client.get(NODES, "", "process-node")
    port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession() as http:
        with pytest.raises((aiohttp.ClientError, OSError)):
            await http.get(f"https://127.0.0.1:{port}/containerLogs/{NAMESPACE}/talks/main", ssl=context)
