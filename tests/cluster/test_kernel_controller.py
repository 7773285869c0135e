"""The kernel controller on a real API server: what a kernel's object says is what stands in the cluster."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import crds
from kernel_core.cluster.client import EVENTS, PODS, SECRETS, NotFoundError, Resource, custom
from kernel_core.cluster.controller import KernelController
from kernel_core.cluster.store import KERNEL_RESOURCE, NewKernel
from kernel_core.kernel import Kernel, Owner, Phase, Reason, parse_kernel
from kernel_core.names import KERNEL_SPECS, KERNEL_TEMPLATES
from local_cluster.cluster import LocalCluster
from tests.support.kernels import (
    ClientThatCountsWrites,
    ClientThatLosesTheAnswer,
    ClientThatStopsBeforeThePod,
    HostThatAnswersAtOnce,
    HostWhoseKernelsNeverAnswer,
    Record,
    running_controller,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHECKOUT = Path(__file__).parents[2]
QUOTAS = Resource("", "v1", "resourcequotas")
PRIORITIES = Resource("scheduling.k8s.io", "v1", "priorityclasses")
SLEEPS = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up'); signal.pause()"
NUMBERS = count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """Two GPUs."""
    images = {"test/python*": str(CHECKOUT / ".build" / "envs" / "user")}
    async with LocalCluster(tmp_path_factory.mktemp("cluster"), gpus=2, images=images) as running:
        await running.apply_definitions(crds.definitions())
        yield running


@dataclass(slots=True)
class Place:
    """A namespace of one test's own."""

    cluster: LocalCluster
    name: str

    async def kernel(self, name: str = "k") -> Kernel:
        """A kernel as the API server has it."""
        return parse_kernel(await self.cluster.client.get(KERNEL_RESOURCE, self.name, name))

    async def pods(self) -> list[dict[str, Any]]:
        """All pods."""
        items: list[dict[str, Any]] = (await self.cluster.client.list(PODS, self.name, {}))["items"]
        return items

    async def until(self, phase: Phase, *, reason: str = "", name: str = "k", within: float = 15) -> Kernel:
        """Wait until a phase is written, and a reason if one is named."""

        async def look() -> Kernel | None:
            kernel = await self.kernel(name)
            status = kernel.status
            found = kernel.written and status.phase is phase and (not reason or status.reason == reason)
            return kernel if found else None

        kernel = await eventually(look, within=within, what=f"{name} {phase} {reason}", every=0.05)
        assert isinstance(kernel, Kernel)
        return kernel

    async def patch(self, spec: dict[str, Any], name: str = "k") -> None:
        """What ``kubectl patch jk`` does."""
        await self.cluster.client.patch(KERNEL_RESOURCE, self.name, name, {"spec": spec})

    async def template(self, name: str, size: dict[str, Any]) -> None:
        """A size."""
        body = {"apiVersion": KERNEL_RESOURCE.group + "/v1alpha1", "kind": "JupyterKernelTemplate"}
        item = {**body, "metadata": {"name": name}, "spec": {"size": size}}
        await self.cluster.client.create(custom(KERNEL_TEMPLATES), self.name, item)


@pytest_asyncio.fixture(loop_scope="module")
async def place(cluster: LocalCluster) -> AsyncIterator[Place]:
    """A namespace with one kernelspec in two sizes; emptied afterwards, so that the GPUs are free again."""
    made = Place(cluster, f"life-{next(NUMBERS)}")
    await cluster.make_namespace(made.name)
    spec = {"image": "test/python:1", "command": ["python", "-uc", SLEEPS], "sizes": ["cpu", "gpu"]}
    body = {"apiVersion": KERNEL_RESOURCE.group + "/v1alpha1", "kind": "JupyterKernelSpec", "metadata": {"name": "py"}}
    await cluster.client.create(custom(KERNEL_SPECS), made.name, {**body, "spec": spec})
    await made.template("cpu", {"resources": {"cpu": "10m", "memory": "32Mi"}})
    await made.template("gpu", {"resources": {"cpu": "10m", "memory": "32Mi", "nvidia.com/gpu": 1}})
    yield made
    for item in (await cluster.client.list(KERNEL_RESOURCE, made.name, {}))["items"]:
        await cluster.client.delete(KERNEL_RESOURCE, made.name, item["metadata"]["name"])
    for item in await made.pods():
        await cluster.client.delete(PODS, made.name, item["metadata"]["name"], grace=timedelta(0))

    async def empty() -> bool:
        return not await made.pods()

    await eventually(empty, within=15, what="no pod left")


async def open_notebook(controller: KernelController, name: str = "k", size: str = "gpu", **more: Any) -> Kernel:
    """What the gateway writes for POST /api/kernels."""
    return await controller.kernels.create(NewKernel(name, Owner("Ada@x.org"), "py", size, **more))


async def test_a_run_makes_one_pod_with_the_sizes_requests_and_suspending_gives_it_back(place) -> None:
    """A whole life and the next one; a watch sees allowed edges only, and one pod at most."""
    host = HostThatAnswersAtOnce()
    async with (
        running_controller(place.cluster.kubeconfig, place.name, host) as controller,
        Record(place.cluster.client, place.name) as record,
    ):
        await open_notebook(controller)
        parked = await place.until(Phase.SUSPENDED, reason=Reason.NOT_STARTED)
        assert (parked.status.incarnation, record.pods_made) == (0, [])
        await controller.kernels.wake("k")
        running = await place.until(Phase.RUNNING)
        (pod,) = await place.pods()
        resources = pod["spec"]["containers"][0]["resources"]
        assert resources["requests"] == resources["limits"] == {"cpu": "10m", "memory": "32Mi", "nvidia.com/gpu": "1"}
        assert running.status.accelerators == "nvidia.com/gpu ×1"
        assert (await controller.kernels.connection(running)).key
        await controller.kernels.suspend("k", Reason.IDLE)
        asleep = await place.until(Phase.SUSPENDED, reason=Reason.IDLE)
        assert await place.pods() == []
        assert asleep.status.idle_since
        assert host.stopped == [("k", 1)]
        with pytest.raises(NotFoundError):
            await controller.kernels.connection(running)
        await controller.kernels.wake("k")
        assert (await place.until(Phase.RUNNING)).status.incarnation == 2
        assert [item["metadata"]["name"][-2:] for item in record.pods_made] == ["-1", "-2"]
        assert record.most_pods == 1
    record.check()


async def test_an_idle_kernel_is_suspended_when_its_time_is_over_unless_its_host_says_no(place) -> None:
    """The host is asked right before."""
    host = HostThatAnswersAtOnce()
    host.allows_suspension = False
    async with running_controller(place.cluster.kubeconfig, place.name, host) as controller:
        await open_notebook(controller, idle_timeout=timedelta(seconds=1))
        await controller.kernels.wake("k")
        await place.until(Phase.RUNNING, reason=Reason.IDLE)
        await asyncio.sleep(2.5)  # longer than its idle time, and nothing may happen
        assert (await place.kernel()).status.phase is Phase.RUNNING
        host.allows_suspension = True
        await place.until(Phase.SUSPENDED, reason=Reason.IDLE)


async def test_people_with_kubectl_can_do_all_that_a_gateway_can(place) -> None:
    """Wake, restart and suspend by one field each."""
    host = HostThatAnswersAtOnce()
    async with (
        running_controller(place.cluster.kubeconfig, place.name, host) as controller,
        Record(place.cluster.client, place.name) as record,
    ):
        await open_notebook(controller)
        await place.patch({"operatingMode": "Running"})
        await place.until(Phase.RUNNING)
        await place.patch({"runRequest": 1})

        async def again() -> bool:
            status = (await place.kernel()).status
            return status.phase is Phase.RUNNING and status.incarnation == 2

        await eventually(again, within=15, what="the second incarnation runs")
        await place.patch({"operatingMode": "Suspended"})
        await place.until(Phase.SUSPENDED, reason=Reason.REQUESTED)
        assert record.most_pods == 1
    record.check()


async def test_a_run_in_the_moment_of_its_suspension_gets_a_new_pod_and_never_an_error(place) -> None:
    """The pod that goes was ours to delete, even when the wish to run came first."""
    async with (
        running_controller(place.cluster.kubeconfig, place.name, HostThatAnswersAtOnce()) as controller,
        Record(place.cluster.client, place.name) as record,
    ):
        await open_notebook(controller)
        await controller.kernels.wake("k")
        await place.until(Phase.RUNNING)
        for pause in (0.0, 0.005, 0.01, 0.02, 0.05):
            await controller.kernels.suspend("k", Reason.IDLE)
            await asyncio.sleep(pause)
            await controller.kernels.wake("k")

            async def awake() -> bool:
                kernel = await place.kernel()
                return kernel.status.phase is Phase.RUNNING and len(await place.pods()) == 1

            await eventually(awake, within=15, what="awake again")
        assert Phase.FAILED not in record.phases("k")
        assert record.most_pods == 1
    record.check()


async def test_a_controller_that_died_before_it_made_the_pod_is_taken_over(place) -> None:
    """The number is written, the pod is not: the next controller makes that very pod."""
    kubeconfig = place.cluster.kubeconfig
    async with running_controller(
        kubeconfig, place.name, HostThatAnswersAtOnce(), ClientThatStopsBeforeThePod
    ) as controller:
        await open_notebook(controller)
        await controller.kernels.wake("k")
        await eventually(lambda: _reached(controller), within=10, what="the moment before the pod")
    assert (await place.kernel()).status.incarnation == 1
    assert await place.pods() == []
    async with running_controller(kubeconfig, place.name, HostThatAnswersAtOnce()):
        assert (await place.until(Phase.RUNNING)).status.incarnation == 1
        assert len(await place.pods()) == 1


async def _reached(controller: KernelController) -> bool:
    client = controller.client
    assert isinstance(client, ClientThatStopsBeforeThePod)
    return client.reached.is_set()


async def test_a_pod_whose_maker_never_heard_of_it_is_found(place) -> None:
    """No answer is not a no: there is still one pod."""
    async with (
        running_controller(
            place.cluster.kubeconfig, place.name, HostThatAnswersAtOnce(), ClientThatLosesTheAnswer
        ) as controller,
        Record(place.cluster.client, place.name) as record,
    ):
        await open_notebook(controller)
        await controller.kernels.wake("k")
        assert (await place.until(Phase.RUNNING)).status.incarnation == 1
        assert len(record.pods_made) == 1


async def test_a_pod_deleted_from_outside_fails_its_kernel_until_somebody_runs_again(place) -> None:
    """By whatever grace; then a Run brings it back as a new incarnation."""
    async with (
        running_controller(place.cluster.kubeconfig, place.name, HostThatAnswersAtOnce()) as controller,
        Record(place.cluster.client, place.name) as record,
    ):
        await open_notebook(controller)
        for number, grace in enumerate((timedelta(seconds=1), timedelta(0)), 1):
            await controller.kernels.wake("k")
            running = await place.until(Phase.RUNNING)
            assert running.status.incarnation == number
            await place.cluster.client.delete(PODS, place.name, running.status.pod_name, grace=grace)
            failed = await place.until(Phase.FAILED, reason=Reason.POD_DELETED)
            assert "from outside" in failed.status.message
            assert await place.pods() == []
    record.check()


async def test_a_quota_makes_a_kernel_wait_with_the_quotas_words_until_it_has_room(place) -> None:
    """Not a failure; no pod meanwhile."""
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {"requests.nvidia.com/gpu": "1"}}}
    await place.cluster.client.create(QUOTAS, place.name, quota)

    async def counted() -> bool:
        item = await place.cluster.client.get(QUOTAS, place.name, "gpus")
        return bool(item.get("status", {}).get("used"))

    await eventually(counted, within=10, what="the quota counts")
    async with running_controller(place.cluster.kubeconfig, place.name, HostThatAnswersAtOnce()) as controller:
        for name in ("first", "second"):
            await open_notebook(controller, name)
        await controller.kernels.wake("first")
        await place.until(Phase.RUNNING, name="first")
        await controller.kernels.wake("second")
        refused = await place.until(Phase.PENDING, reason=Reason.QUOTA_EXCEEDED, name="second")
        assert "exceeded quota: gpus" in refused.status.message
        assert len(await place.pods()) == 1
        await controller.kernels.suspend("first", Reason.IDLE)
        await place.until(Phase.RUNNING, name="second", within=25)
        assert (await place.kernel("second")).status.incarnation == 1


async def test_a_kernel_beyond_the_gpus_waits_with_the_schedulers_words_and_can_be_withdrawn(place) -> None:
    """The one that waits longest gets what becomes free."""
    async with (
        running_controller(place.cluster.kubeconfig, place.name, HostThatAnswersAtOnce()) as controller,
        Record(place.cluster.client, place.name) as record,
    ):
        for name in ("a", "b", "c", "d"):
            await open_notebook(controller, name)
        for name in ("a", "b"):
            await controller.kernels.wake(name)
            await place.until(Phase.RUNNING, name=name)
        for name in ("c", "d"):
            await controller.kernels.wake(name)
            waiting = await place.until(Phase.PENDING, reason=Reason.UNSCHEDULABLE, name=name)
            assert "Insufficient nvidia.com/gpu" in waiting.status.message
        await controller.kernels.suspend("c", Reason.INTERRUPTED)
        await place.until(Phase.SUSPENDED, reason=Reason.INTERRUPTED, name="c")
        await controller.kernels.suspend("a", Reason.IDLE)
        await place.until(Phase.RUNNING, name="d")
        assert len(await place.pods()) == 2
    record.check()


async def test_a_preempted_kernel_says_so(place) -> None:
    """The scheduler's deed is not "from outside"."""
    urgent = f"urgent-{place.name}"
    await place.cluster.client.create(PRIORITIES, "", {"metadata": {"name": urgent}, "value": 1000})
    await place.template("urgent", {"resources": {"nvidia.com/gpu": 2}, "priorityClassName": urgent})
    async with running_controller(place.cluster.kubeconfig, place.name, HostThatAnswersAtOnce()) as controller:
        await open_notebook(controller, "victim")
        await open_notebook(controller, "boss", "urgent")
        await controller.kernels.wake("victim")
        await place.until(Phase.RUNNING, name="victim")
        await controller.kernels.wake("boss")
        failed = await place.until(Phase.FAILED, name="victim")
        assert failed.status.reason == Reason.PREEMPTED, failed.status
        await place.until(Phase.RUNNING, name="boss")


async def test_a_kernel_whose_spec_is_missing_waits_for_it_by_name(place) -> None:
    """And starts when it is written."""
    async with running_controller(place.cluster.kubeconfig, place.name, HostThatAnswersAtOnce()) as controller:
        await open_notebook(controller, "k", "large")
        await controller.kernels.wake("k")
        waiting = await place.until(Phase.PENDING, reason=Reason.KERNEL_SPEC_NOT_FOUND)
        assert "JupyterKernelTemplate large does not exist" in waiting.status.message
        await place.template("large", {"resources": {"cpu": "20m"}})
        await place.until(Phase.RUNNING)


async def test_a_pod_that_nobody_answers_from_fails_in_time_and_says_how_long_it_had(place) -> None:
    """Its pod is gone by then."""
    await place.template("hasty", {"resources": {"cpu": "10m"}, "startTimeoutSeconds": 1})
    async with running_controller(place.cluster.kubeconfig, place.name, HostWhoseKernelsNeverAnswer()) as controller:
        await open_notebook(controller, "k", "hasty")
        await controller.kernels.wake("k")
        failed = await place.until(Phase.FAILED, reason=Reason.START_TIMEOUT)
        assert "1 s after" in failed.status.message
        assert await place.pods() == []


async def test_a_deleted_kernel_takes_pod_and_secret_along_even_if_told_to_leave_them(place) -> None:
    """An orphan would hold its GPU for ever; the object itself goes when the garbage collector lets it."""
    async with running_controller(place.cluster.kubeconfig, place.name, HostThatAnswersAtOnce()) as controller:
        await open_notebook(controller)
        await controller.kernels.wake("k")
        await place.until(Phase.RUNNING)
        path = KERNEL_RESOURCE.path(place.name, "k")
        await place.cluster.client.request("DELETE", path, body={"propagationPolicy": "Orphan"})

        async def gone() -> bool:
            secrets = (await place.cluster.client.list(SECRETS, place.name, {}))["items"]
            return not await place.pods() and not secrets

        await eventually(gone, within=15, what="pod and Secret gone")


async def test_a_second_look_writes_nothing(place) -> None:
    """Neither at something that changes nothing, nor by the next controller."""
    kubeconfig = place.cluster.kubeconfig
    async with running_controller(kubeconfig, place.name, HostWhoseKernelsNeverAnswer()) as controller:
        for name in ("parked", "starting"):
            await open_notebook(controller, name, "cpu")
        await controller.kernels.wake("starting")
        await place.until(Phase.STARTING, reason=Reason.CONNECTING, name="starting")
        await place.until(Phase.SUSPENDED, name="parked")
    host = HostWhoseKernelsNeverAnswer()
    async with running_controller(kubeconfig, place.name, host, ClientThatCountsWrites) as controller:
        for name in ("parked", "starting"):
            note = {"metadata": {"annotations": {"note": "1"}}}
            version = (await place.cluster.client.patch(KERNEL_RESOURCE, place.name, name, note))["metadata"][
                "resourceVersion"
            ]

            async def seen(name: str = name, version: str = version) -> bool:
                kernel = controller.kernels.get(name)
                return kernel is not None and kernel.resource_version == version

            await eventually(seen, within=5, what=f"{name} seen")
        await asyncio.sleep(0.5)  # time enough for a write that must not come
        assert isinstance(controller.client, ClientThatCountsWrites)
        assert controller.client.writes == []


async def test_the_turns_of_a_life_are_told_as_events(place) -> None:
    """``kubectl describe jk`` shows them."""
    async with running_controller(place.cluster.kubeconfig, place.name, HostThatAnswersAtOnce()) as controller:
        await open_notebook(controller)
        await controller.kernels.wake("k")
        await place.until(Phase.RUNNING)
        await controller.kernels.suspend("k", Reason.IDLE)
        await place.until(Phase.SUSPENDED)

        async def told() -> bool:
            selector = {"fieldSelector": "involvedObject.kind=JupyterKernel,involvedObject.name=k"}
            items = (await place.cluster.client.list(EVENTS, place.name, selector))["items"]
            return {item["reason"] for item in items} == {"Started", "Suspended"}

        await eventually(told, within=5, what="both events")


async def test_the_api_servers_death_and_return_lose_nothing(place) -> None:
    """What ran runs, what was asked meanwhile happens, nobody was taken for gone."""
    server = place.cluster.control_plane.process("kube-apiserver")
    host = HostThatAnswersAtOnce()
    async with running_controller(place.cluster.kubeconfig, place.name, host) as controller:
        for name in ("runs", "sleeps"):
            await open_notebook(controller, name)
        await controller.kernels.wake("runs")
        before = await place.until(Phase.RUNNING, name="runs")
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        await asyncio.sleep(2)  # an outage
        assert controller.kernels.get("runs") is not None
        await server.start()

        async def back() -> bool:
            try:
                await controller.kernels.wake("sleeps")
            except Exception:  # noqa: BLE001  # whatever it answers while it starts
                return False
            return True

        await eventually(back, within=60, what="the API server takes writes")
        await place.until(Phase.RUNNING, name="sleeps", within=30)
        after = await place.kernel("runs")
        assert (after.status.phase, after.status.incarnation) == (Phase.RUNNING, before.status.incarnation)
        assert host.gone == []
        assert len(await place.pods()) == 2
