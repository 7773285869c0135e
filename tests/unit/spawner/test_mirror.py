"""Recording the home never holds up a user server, whatever the API server does."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from time import monotonic
from types import SimpleNamespace

import pytest
from kubernetes_asyncio.client import ApiClient, Configuration, CustomObjectsApi

from elastic_spawner.home import Home, HomeMode
from elastic_spawner.mirror import MirrorError, NotebookMirror, notebook_object

LOG = logging.getLogger("mirror-under-test")
NOTEBOOK = notebook_object("ada", "", Home(HomeMode.SHARED, claim_name="claim-ada"), {}, {})


@pytest.fixture
async def mirror_at():
    """Makes a mirror that talks to this URL."""
    clients = []

    def make(url: str, seconds: float = 0.5) -> NotebookMirror:
        clients.append(ApiClient(Configuration(host=url)))
        return NotebookMirror(CustomObjectsApi(clients[-1]), "elastic", timedelta(seconds=seconds), LOG)

    yield make
    for client in clients:
        await client.close()


async def test_an_api_server_that_hangs_is_given_up_in_time(mirror_at, api_server_that_hangs) -> None:
    """The error says what was not done, where and how long it took."""
    started = monotonic()
    with pytest.raises(MirrorError, match=r"write JupyterNotebook ada in namespace elastic within 0\.5 s"):
        await mirror_at(api_server_that_hangs.url).write(NOTEBOOK)
    assert 0.4 < monotonic() - started < 2
    assert api_server_that_hangs.requests


async def test_an_api_server_that_is_away_is_asked_again_until_the_limit(mirror_at) -> None:
    """A restart of the API server is over in seconds."""
    with pytest.raises(MirrorError, match="ClientConnectorError"):
        await mirror_at("http://127.0.0.1:9").write(NOTEBOOK)


async def test_a_missing_resource_is_reported_at_once(mirror_at, api_server_without_the_resource) -> None:
    """With what to install; trying again would not help."""
    started = monotonic()
    with pytest.raises(MirrorError, match="not installed in this cluster: apply the files in crds/"):
        await mirror_at(api_server_without_the_resource.url, 30).write(NOTEBOOK)
    assert monotonic() - started < 5
    assert [line.split(" ")[0] for line in api_server_without_the_resource.requests] == ["GET", "POST"]


async def test_a_missing_right_is_reported_at_once(mirror_at, api_server_that_forbids) -> None:
    """With the verbs that are needed."""
    with pytest.raises(MirrorError, match="get, create, patch and delete on jupyternotebooks"):
        await mirror_at(api_server_that_forbids.url, 30).write(NOTEBOOK)


async def test_deleting_what_is_not_there_is_a_success(mirror_at, api_server_without_the_resource) -> None:
    """Also where nobody installed the resource."""
    await mirror_at(api_server_without_the_resource.url).delete("ada", "")
    await mirror_at(api_server_without_the_resource.url).move("ada", "", "lab")


POD = {
    "spec": {
        "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "claim-ada"}}],
        "containers": [{"name": "notebook", "volumeMounts": [{"name": "home", "mountPath": "/home/jovyan"}]}],
    }
}


def begin(spawner) -> asyncio.Task[bool]:
    """What the spawner does when it asks for the pod."""
    spawner._started_at = monotonic()
    spawner._mirroring = asyncio.create_task(spawner._try(partial(spawner._mirror_home, POD)))
    return spawner._mirroring


@pytest.fixture
def spawner_at(make_spawner, monkeypatch):
    """Makes a spawner whose API server is at this URL, with a log of its own."""

    def make(url: str, **traits):
        spawner = make_spawner(k8s_api_host=url, **traits)
        spawner.log = LOG
        monkeypatch.setitem(spawner.reflectors, spawner._get_reflector_key("pods"), SimpleNamespace(pods={}))
        return spawner

    return make


async def test_a_spawn_waits_for_a_hanging_api_server_no_longer_than_its_limit(
    spawner_at, api_server_that_hangs, caplog
) -> None:
    """And logs one error that names the user."""
    spawner = spawner_at(api_server_that_hangs.url, notebook_mirror_timeout=0.4)
    task, started = begin(spawner), monotonic()
    await spawner._finish_mirroring()
    assert monotonic() - started < 2
    assert await task is False
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert errors[0].getMessage().startswith("The home of ada is not recorded.")


async def test_the_start_timeout_of_the_hub_is_never_used_up_by_the_record(spawner_at, api_server_that_hangs) -> None:
    """A pod that took almost all of it is started all the same; the record is left to itself."""
    spawner = spawner_at(api_server_that_hangs.url, notebook_mirror_timeout=20, start_timeout=60)
    task = begin(spawner)
    spawner._started_at = monotonic() - 58.9
    started = monotonic()
    await spawner._finish_mirroring()
    assert monotonic() - started < 1
    assert not task.done()
    spawner._mirroring.cancel()
    task.cancel()


async def test_a_cluster_without_the_resource_does_not_fail_a_spawn(
    spawner_at, api_server_without_the_resource, caplog
) -> None:
    """Nor a stop, a rename or a deletion."""
    spawner = spawner_at(api_server_without_the_resource.url, delete_pvc=False)
    task = begin(spawner)
    await spawner._finish_mirroring()
    assert await task is False
    await spawner.run_post_stop_hook()
    await spawner.rename("", "lab")
    await spawner.delete_forever()
    assert [record.levelname for record in caplog.records if record.levelno >= logging.ERROR] == ["ERROR"]


async def test_the_record_can_be_switched_off(spawner_at, api_server_that_forbids) -> None:
    """Then nothing is asked of the API server."""
    spawner = spawner_at(api_server_that_forbids.url, notebook_mirror=False, delete_pvc=False)
    begin(spawner)
    await spawner._finish_mirroring()
    await spawner.run_post_stop_hook()
    await spawner.delete_forever()
    assert api_server_that_forbids.requests == []


async def test_a_fault_of_the_record_itself_does_not_fail_a_spawn(spawner_at, caplog) -> None:
    """A pod that a hook made unreadable is logged with its traceback."""
    spawner = spawner_at("http://127.0.0.1:9")
    assert await spawner._try(lambda: spawner._mirror_home({"spec": {}})) is False
    assert "KeyError" in caplog.text
