"""The JupyterNotebook of a user server, against a real API server: its schema, rules and conflicts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from kubernetes_asyncio import client, config

import crds
from elastic_spawner.home import Home, HomeMode
from elastic_spawner.mirror import MERGE_PATCH, MirrorError, NotebookMirror, notebook_object
from hub_config.rbac import NOTEBOOK_RULES
from kernel_core import names
from kernel_core.cluster.client import NotFoundError, custom
from local_cluster.cluster import LocalCluster

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMESPACE = "record-test"
NOTEBOOKS = custom(names.NOTEBOOKS)
LOG = logging.getLogger(__name__)
HOME = Home(HomeMode.SHARED, claim_name="claim", run_as_user=1000, fs_group=100)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """A cluster with our resources and a namespace."""
    async with LocalCluster(tmp_path_factory.mktemp("cluster"), gpus=0, images={}) as cluster:
        await cluster.apply_definitions(crds.definitions())
        await cluster.make_namespace(NAMESPACE)
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(cluster: LocalCluster) -> AsyncIterator[NotebookMirror]:
    """A mirror with the rights of hub_config.rbac and no others."""
    account: Path = await cluster.service_account(NAMESPACE, "hub", NOTEBOOK_RULES)
    settings = client.Configuration()
    await config.load_kube_config(str(account), client_configuration=settings)
    async with client.ApiClient(settings) as api:
        yield NotebookMirror(client.CustomObjectsApi(api), NAMESPACE, timedelta(seconds=10), LOG)


async def found(cluster: LocalCluster, name: str) -> dict[str, Any]:
    """The object, as an administrator sees it."""
    return dict(await cluster.client.get(NOTEBOOKS, NAMESPACE, name))


async def test_writing_the_same_home_twice_writes_once(cluster, mirror) -> None:
    """Nothing is written when nothing changed."""
    record = notebook_object("twice", "", HOME, {"app": "jupyterhub"}, {})
    await mirror.write(record)
    first = await found(cluster, "twice")
    await mirror.write(record)
    assert (await found(cluster, "twice"))["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_changed_home_replaces_the_old_one_and_leaves_the_rest(cluster, mirror) -> None:
    """What is no longer said is gone; what others added stays."""
    await mirror.write(notebook_object("moved", "", Home(HomeMode.SHARED, claim_name="a", sub_path="x"), {}, {}))
    patch = {"metadata": {"annotations": {"example.org/note": "kept"}}}
    await cluster.client.request("PATCH", NOTEBOOKS.path(NAMESPACE, "moved"), body=patch, content_type=MERGE_PATCH)
    await mirror.write(notebook_object("moved", "", Home(HomeMode.SAME_NODE, claim_name="b"), {}, {}))
    now = await found(cluster, "moved")
    assert now["spec"]["home"] == {"mode": "SameNode", "claimName": "b", "mountPath": "/home/jovyan"}
    assert now["metadata"]["annotations"] == {"example.org/note": "kept"}
    await mirror.write(notebook_object("moved", "", Home(HomeMode.NONE), {}, {}))
    assert (await found(cluster, "moved"))["spec"]["home"] == {"mode": "None", "mountPath": "/home/jovyan"}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="made by hand"),
        pytest.param({"managedBy": "operator"}, id="the operator's"),
        pytest.param({"managedBy": "hub", "owner": {"user": "somebody"}}, id="another user's"),
    ],
)
async def test_an_object_of_somebody_else_is_never_taken_over(cluster, mirror, spec, request) -> None:
    """A home written into it would be mounted by whoever it belongs to."""
    name = names.safe_slug(request.node.callspec.id.replace("'", ""))
    body = {"apiVersion": names.API_VERSION, "kind": "JupyterNotebook", "metadata": {"name": name}, "spec": spec}
    made = await cluster.client.create(NOTEBOOKS, NAMESPACE, body)
    record = notebook_object("victim", "", HOME, {}, {})
    record["metadata"]["name"] = name
    with pytest.raises(MirrorError, match="exists and is not the Hub's: kernels of victim get an empty home"):
        await mirror.write(record)
    assert (await found(cluster, name))["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_somebody_elses_object_survives_the_deletion_of_a_user(cluster, mirror) -> None:
    """Only what the Hub wrote for that user goes."""
    body = {"apiVersion": names.API_VERSION, "kind": "JupyterNotebook", "metadata": {"name": "kept"}, "spec": {}}
    await cluster.client.create(NOTEBOOKS, NAMESPACE, body)
    await mirror.delete("kept", "")
    await found(cluster, "kept")
    await mirror.write(notebook_object("leaver", "lab", HOME, {}, {}))
    await mirror.delete("leaver", "lab")
    await mirror.delete("leaver", "lab")
    with pytest.raises(NotFoundError):
        await found(cluster, names.notebook_name("leaver", "lab"))


async def test_the_status_is_merged(cluster, mirror) -> None:
    """The node stays known when the server stops: its kernels may still be there."""
    await mirror.write(notebook_object("running", "", HOME, {}, {}))
    await mirror.write_status("running", {"phase": "Running", "nodeName": "one"})
    await mirror.write_status("running", {"phase": "Stopped"})
    assert (await found(cluster, "running"))["status"] == {"phase": "Stopped", "nodeName": "one"}


async def test_a_rename_moves_home_labels_and_owner(cluster, mirror) -> None:
    """To a new object, since an owner never changes."""
    await mirror.write(notebook_object("renamer", "", HOME, {"app": "jupyterhub"}, {}))
    await mirror.move("renamer", "", "lab")
    moved = await found(cluster, names.notebook_name("renamer", "lab"))
    assert moved["spec"]["owner"] == {"user": "renamer", "server": "lab"}
    assert moved["spec"]["home"]["claimName"] == "claim"
    assert moved["metadata"]["labels"] == {"app": "jupyterhub"}
    with pytest.raises(NotFoundError):
        await found(cluster, "renamer")


async def test_a_home_that_the_schema_refuses_is_reported_with_its_words(mirror) -> None:
    """For good: trying again would not help."""
    with pytest.raises(MirrorError, match="a home of mode Shared or SameNode needs claimName"):
        await mirror.write(notebook_object("broken", "", Home(HomeMode.SHARED), {}, {}))
