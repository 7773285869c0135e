"""A real Hub with its proxy and culler starts user servers on the real control plane."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import crds
from hub_config.rbac import NOTEBOOK_RULES, hub_rules
from kernel_core import names
from kernel_core.cluster.client import NotFoundError, Resource, custom
from local_cluster.cluster import LocalCluster
from local_cluster.demo.client import ClientError, Person
from tests.support.hub import CHECKOUT, RunningHub, running_hub
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(150)]

NAMESPACE = "hub-test"
PODS, CLAIMS = Resource("", "v1", "pods"), Resource("", "v1", "persistentvolumeclaims")
NOTEBOOKS = custom(names.NOTEBOOKS)
NOBODY = "http://127.0.0.1:9"
"""A gateway URL at which nobody answers."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """A cluster with our resources and a namespace."""
    images = {"elastic-jupyter/user-server*": str(CHECKOUT / ".build" / "envs" / "user")}
    async with LocalCluster(tmp_path_factory.mktemp("cluster"), gpus=1, images=images) as cluster:
        await cluster.apply_definitions(crds.definitions())
        await cluster.make_namespace(NAMESPACE)
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningHub]:
    """A hub whose account has the rights of hub_config.rbac, and whose gateway nobody answers for."""
    account = await cluster.service_account(NAMESPACE, "hub", hub_rules())
    directory = tmp_path_factory.mktemp("hub")
    async with running_hub(directory, account, NAMESPACE, ["ada", "grace"], gateway_url=NOBODY) as hub:
        yield hub


@pytest_asyncio.fixture(loop_scope="module")
async def person(hub: RunningHub) -> AsyncIterator[Any]:
    """Makes a person who logged in."""
    people: list[Person] = []

    async def log_in(name: str = "ada") -> Person:
        one = await Person(hub.url, name, hub.users[name]).__aenter__()
        people.append(one)
        await one.login()
        return one

    yield log_in
    for one in people:
        await one.__aexit__(None, None, None)


async def notebook(cluster: LocalCluster, name: str) -> dict[str, Any] | None:
    """A JupyterNotebook, None if there is none."""
    try:
        return dict(await cluster.client.get(NOTEBOOKS, NAMESPACE, name))
    except NotFoundError:
        return None


async def test_a_wrong_password_is_refused(hub: RunningHub) -> None:
    """Also that of another user."""
    async with Person(hub.url, "ada", hub.users["grace"]) as stranger:
        with pytest.raises(ClientError, match="answered 403"):
            await stranger.login()


async def test_a_user_server_starts_although_nobody_answers_at_the_gateways_url(hub, cluster, person) -> None:
    """Light, in gateway mode with its own token, and its home is recorded before anybody can run a cell."""
    ada = await person()
    await ada.start_server()
    pod = await cluster.client.get(PODS, NAMESPACE, "jupyter-ada")
    (container,) = pod["spec"]["containers"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert env["JUPYTER_GATEWAY_URL"] == NOBODY
    assert env["JUPYTER_GATEWAY_AUTH_TOKEN"] == env["JUPYTERHUB_API_TOKEN"]
    recorded = await notebook(cluster, names.notebook_name("ada", ""))
    assert recorded is not None
    assert recorded["spec"] == {
        "managedBy": "hub",
        "owner": {"user": "ada", "server": ""},
        "home": {
            "mode": "Shared",
            "claimName": "claim-ada",
            "mountPath": "/home/jovyan",
            "runAsUser": 1000,
            "runAsGroup": 100,
            "fsGroup": 100,
        },
    }
    assert recorded["status"]["phase"] == "Running"
    assert recorded["status"]["nodeName"] == pod["spec"]["nodeName"]
    assert (await cluster.client.get(CLAIMS, NAMESPACE, "claim-ada"))["status"]["phase"] == "Bound"


async def test_the_record_stays_when_the_server_stops_and_is_not_written_again(hub, cluster, person) -> None:
    """A kernel that outlives its server still has a home; nothing is written when nothing changed."""
    ada = await person()
    await ada.start_server()
    before = await notebook(cluster, "ada")
    await ada.stop_server()

    async def stopped() -> bool:
        return (await notebook(cluster, "ada"))["status"]["phase"] == "Stopped"

    await eventually(stopped, within=10, what="the record says that the server stopped")
    with pytest.raises(NotFoundError):
        await cluster.client.get(PODS, NAMESPACE, "jupyter-ada")
    await ada.start_server()
    after = await notebook(cluster, "ada")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["status"]["phase"] == "Running"


async def test_a_hub_that_is_killed_leaves_user_servers_and_finds_them_again(hub, cluster, person) -> None:
    """Its proxy and culler end with it; the next one has the routes again."""
    ada = await person()
    await ada.start_server()
    pod = await cluster.client.get(PODS, NAMESPACE, "jupyter-ada")
    await hub.kill()
    port = int(hub.url.rsplit(":", 1)[1])

    async def proxy_is_gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    await eventually(proxy_is_gone, within=5, what="the proxy of the killed hub is gone")
    await hub.start_again()
    assert await ada._lab_answers()
    again = await cluster.client.get(PODS, NAMESPACE, "jupyter-ada")
    assert again["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_a_named_server_has_a_record_of_its_own_that_follows_a_rename(hub, cluster) -> None:
    """And goes with the server; the home is the user's and stays."""
    assert (await hub.api("POST", "users/grace/servers/lab"))[0] in (201, 202)

    async def ready() -> bool:
        return bool((await hub.api("GET", "users/grace"))[1]["servers"].get("lab", {}).get("ready"))

    await eventually(ready, within=60, what="grace's server lab is ready")
    recorded = await notebook(cluster, names.notebook_name("grace", "lab"))
    assert recorded["spec"]["owner"] == {"user": "grace", "server": "lab"}
    await hub.api("DELETE", "users/grace/servers/lab")

    async def stopped() -> bool:
        server = (await hub.api("GET", "users/grace?include_stopped_servers"))[1]["servers"].get("lab", {})
        return bool(server.get("stopped"))

    await eventually(stopped, within=30, what="grace's server lab stopped")
    status, answer = await hub.api("PATCH", "users/grace/servers/lab", {"name": "bench"})
    assert status == 200, answer
    assert await notebook(cluster, names.notebook_name("grace", "lab")) is None
    renamed = await notebook(cluster, names.notebook_name("grace", "bench"))
    assert renamed["spec"]["owner"] == {"user": "grace", "server": "bench"}
    assert renamed["spec"]["home"] == recorded["spec"]["home"]
    assert (await hub.api("DELETE", "users/grace/servers/bench", {"remove": True}))[0] == 204
    assert await notebook(cluster, names.notebook_name("grace", "bench")) is None


async def test_the_record_and_the_home_go_with_the_user(hub, cluster, person) -> None:
    """Deleted at the Hub by an administrator."""
    ada = await person()
    await ada.start_server()
    await ada.stop_server()
    assert (await hub.api("DELETE", "users/ada"))[0] == 204
    assert await notebook(cluster, "ada") is None

    async def home_is_gone() -> bool:
        try:
            await cluster.client.get(CLAIMS, NAMESPACE, "claim-ada")
        except NotFoundError:
            return True
        return False

    await eventually(home_is_gone, within=20, what="the claim of ada deleted")


async def test_a_hub_without_the_right_to_record_homes_starts_servers_and_culls_them(cluster, tmp_path) -> None:
    """As in a cluster to which nobody added our rules: one error in its log, and users work."""
    rules = [rule for rule in hub_rules() if rule not in NOTEBOOK_RULES]
    account = await cluster.service_account(NAMESPACE, "poor-hub", rules)
    async with (
        running_hub(tmp_path, account, NAMESPACE, ["alan"], gateway_url=NOBODY, cull_timeout=8) as hub,
        Person(hub.url, "alan", hub.users["alan"]) as alan,
    ):
        await alan.login()
        await alan.start_server()
        assert await notebook(cluster, "alan") is None
        log = hub.log.read_text()
        assert log.count("The home of alan is not recorded.") == 1
        assert "needs get, create, patch and delete on jupyternotebooks" in log

        async def culled() -> bool:
            return not (await hub.api("GET", "users/alan"))[1]["servers"]

        await eventually(culled, within=60, what="the idle server of alan stopped by the culler")
