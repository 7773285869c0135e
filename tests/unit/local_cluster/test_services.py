"""Which pods a Service leads to, what it is called, and how its connections are carried."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from local_cluster.addresses import claim_slice
from local_cluster.node.forwarder import Forwarder
from local_cluster.node.hosts import HostsFile, localhost_lines, write_in_place
from local_cluster.node.services import host_lines, routes, variables

API = ("127.0.0.1", 6443)


def pod(name: str, *, ready: bool = True, labels: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
    """A pod with an address and a named port."""
    ports = [{"name": "web", "containerPort": 8080}]
    return {
        "metadata": {"name": name, "uid": name, "namespace": "a", "labels": labels or {"app": "x"}, **meta},
        "spec": {"containers": [{"name": "main", "ports": ports}]},
        "status": {"podIP": f"127.64.1.{name}", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def service(ip: str = "127.65.0.9", namespace: str = "a", name: str = "my-svc", **spec: Any) -> dict[str, Any]:
    """A Service with one port."""
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    meta = {"name": name, "namespace": namespace}
    return {"metadata": meta, "spec": {"clusterIP": ip, "selector": {"app": "x"}, "ports": ports, **spec}}


def test_only_ready_pods_of_the_namespace_that_are_selected_and_stay_get_connections() -> None:
    """Each of the others is left out for one reason."""
    pods = [
        pod("2"),
        pod("3", ready=False),
        pod("4", labels={"app": "y"}),
        pod("5", deletionTimestamp="now"),
        pod("6", namespace="b"),
    ]
    assert routes([service()], pods, API) == {("127.65.0.9", 80): (("127.64.1.2", 8080),)}


def test_a_port_may_be_a_number_a_name_or_left_out() -> None:
    """A name that no container has leads nowhere."""
    for target, port in ((9000, 9000), ("web", 8080), (None, 80)):
        ports = [{"port": 80, **({"targetPort": target} if target else {})}]
        assert routes([service(ports=ports)], [pod("2")], API) == {("127.65.0.9", 80): (("127.64.1.2", port),)}
    nowhere = service(ports=[{"port": 80, "targetPort": "none"}])
    assert routes([nowhere], [pod("2")], API) == {("127.65.0.9", 80): ()}


def test_the_api_servers_own_service_leads_to_it() -> None:
    """It has no selector, and nobody may write its endpoints here."""
    kubernetes = service("127.65.0.1", "default", "kubernetes", selector=None)
    assert routes([kubernetes], [pod("2")], API) == {("127.65.0.1", 80): (API,)}


def test_a_service_has_its_short_name_only_in_its_own_namespace() -> None:
    """A headless one is called by its pods' addresses."""
    full = "my-svc.a.svc.cluster.local my-svc.a.svc my-svc.a"
    assert host_lines([service()], [], "a") == [f"127.65.0.9 {full} my-svc"]
    assert host_lines([service()], [], "b") == [f"127.65.0.9 {full}"]
    assert host_lines([service("None")], [pod("2")], "b") == [f"127.64.1.2 {full}"]


def test_variables_name_the_services_unless_the_pod_wants_none() -> None:
    """The API server is always named."""
    found = variables([service()], pod("2"), API)
    assert found["MY_SVC_SERVICE_HOST"] == "127.65.0.9"
    assert found["MY_SVC_SERVICE_PORT"] == found["MY_SVC_SERVICE_PORT_HTTP"] == "80"
    assert found["MY_SVC_PORT"] == "tcp://127.65.0.9:80"
    without = pod("2")
    without["spec"]["enableServiceLinks"] = False
    assert {name.split("_")[0] for name in variables([service()], without, API)} == {"KUBERNETES"}


def test_a_hosts_file_keeps_the_machines_localhost_and_the_file_itself(tmp_path: Path) -> None:
    """A sandbox has the file, not its name."""
    file = HostsFile(tmp_path / "hosts", "a", "127.64.1.2", "me", ("10.9.9.9 friend",))
    machine = "127.0.0.1 localhost\n::1 ip6-localhost localhost # mine\n10.0.0.1 office\n"
    assert localhost_lines("10.0.0.1 office") == ["127.0.0.1 localhost"]
    write_in_place(file.path, file.text(["127.65.0.9 long.name.of.a.service"], machine))
    node = file.path.stat().st_ino
    assert write_in_place(file.path, file.text([], machine))
    assert (
        file.path.read_text()
        == "127.0.0.1 localhost\n::1 ip6-localhost localhost # mine\n127.64.1.2 me\n10.9.9.9 friend\n"
    )
    assert file.path.stat().st_ino == node
    assert not write_in_place(file.path, file.text([], machine))


@asynccontextmanager
async def forwarding(handle: Any) -> AsyncIterator[tuple[Forwarder, tuple[str, int]]]:
    """A forwarder to one server with this handler."""
    addresses = claim_slice()
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    end = server.sockets[0].getsockname()
    forwarder = Forwarder((f"127.{addresses.number + 1}.0.9", 8081))
    try:
        assert await forwarder.serve([end])
        yield forwarder, end
    finally:
        await forwarder.stop()
        server.close()
        addresses.release()


async def test_a_side_that_says_no_more_still_hears_the_answer() -> None:
    """Half-closed, with more than any buffer holds."""

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(str(len(await reader.read(-1))).encode() + b" " + b"x" * 5_000_000)
        writer.close()

    async with asyncio.timeout(20), forwarding(count) as (forwarder, _):
        reader, writer = await asyncio.open_connection(*forwarder.address)
        writer.write(b"y" * 10_000_000)
        writer.write_eof()
        answer = await reader.read(-1)
        writer.close()
    assert answer.startswith(b"10000000 ") and len(answer) == 5_000_009


async def test_a_reset_reaches_the_other_side_and_a_dead_endpoint_is_passed_over() -> None:
    """The next endpoint takes the connection."""
    broken: asyncio.Queue[str] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                await reader.read(-1)
                broken.put_nowait("ended")
            except ConnectionResetError:
                broken.put_nowait("reset")

    async with asyncio.timeout(10), forwarding(listen) as (forwarder, end):
        await forwarder.serve([("127.0.0.1", 1), end, ("127.0.0.1", 2)])
        client = socket.create_connection(forwarder.address)
        await asyncio.sleep(0.1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        assert await broken.get() == "reset"


async def test_nobody_listens_without_an_endpoint_and_open_connections_go_on() -> None:
    """Refused, as kube-proxy does it."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async with asyncio.timeout(10), forwarding(echo) as (forwarder, end):
        reader, writer = await asyncio.open_connection(*forwarder.address)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        await forwarder.serve([])
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*forwarder.address)
        writer.write(b"two")
        assert await reader.readexactly(3) == b"two"
        await forwarder.serve([end])
        _, again = await asyncio.open_connection(*forwarder.address)
        again.close()
        await forwarder.stop()
        assert await reader.read(-1) == b""
        assert forwarder.idle
        writer.close()


async def test_an_address_that_somebody_else_holds_is_said_once_and_taken_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Never a crash."""
    addresses = claim_slice()
    address = (f"127.{addresses.number + 1}.0.8", 8082)
    forwarder = Forwarder(address)
    with caplog.at_level(logging.WARNING), socket.socket() as other:
        other.bind(address)
        other.listen()
        assert not await forwarder.serve([API])
        assert not await forwarder.serve([API])
    assert [f"{address[0]}:8082" in record.message for record in caplog.records] == [True]
    assert await forwarder.serve([API])
    await forwarder.stop()
    addresses.release()
