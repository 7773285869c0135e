"""What the process node decides: environments, statuses, addresses, sandboxes."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from local_cluster.addresses import Slice, claim_slice
from local_cluster.node.environment import MissingReferenceError, container_environment, expand
from local_cluster.node.images import Image
from local_cluster.node.sandbox import Sandbox, command_line, process_environment
from local_cluster.node.status import Container, pod_phase, pod_status, terminated, waiting
from local_cluster.node.volumes import Mount

POD = {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {}, "status": {"podIP": "127.64.0.9"}}
SECRET = {"data": {"key": base64.b64encode(b"value").decode()}}


def read(kind: str, name: str):
    """A reader that knows one Secret."""
    return SECRET if (kind, name) == ("secrets", "s") else None


def environment(*env: dict) -> dict[str, str]:
    """The variables of a container with these entries."""
    return container_environment(POD, {"env": list(env)}, read)


def test_variables_refer_to_earlier_ones_and_unknown_references_stay() -> None:
    """As the kubelet does it."""
    assert expand("$(A) $$(A) $(B)", {"A": "1"}) == "1 $(A) $(B)"
    env = environment({"name": "A", "value": "1"}, {"name": "B", "value": "<$(A)>"})
    assert env == {"A": "1", "B": "<1>"}


def test_variables_come_from_fields_and_secrets() -> None:
    """The pod's own address among them, which is chosen before."""
    env = environment(
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
        {"name": "O", "valueFrom": {"secretKeyRef": {"name": "none", "key": "key", "optional": True}}},
    )
    assert env == {"IP": "127.64.0.9", "L": "b", "S": "value"}


def test_a_secret_that_must_exist_and_does_not_is_named() -> None:
    """In the kubelet's words."""
    with pytest.raises(MissingReferenceError, match='secret "none" not found'):
        environment({"name": "S", "valueFrom": {"secretKeyRef": {"name": "none", "key": "key"}}})


@pytest.mark.parametrize(
    ("states", "phase"),
    [
        ([waiting("ContainerCreating")], "Pending"),
        ([{"running": {}}], "Running"),
        ([{"running": {}}, terminated(0, "", "")], "Running"),
        ([terminated(0, "", "")], "Succeeded"),
        ([terminated(0, "", ""), terminated(137, "", "")], "Failed"),
    ],
)
def test_a_pods_phase_follows_from_its_containers(states: list[dict], phase: str) -> None:
    """As Kubernetes documents it."""
    assert pod_phase([Container(f"c{n}", "i", state) for n, state in enumerate(states)]) == phase


def test_conditions_that_others_wrote_are_kept() -> None:
    """The scheduler's among them: a merge patch replaces the whole list."""
    pod = {"status": {"conditions": [{"type": "PodScheduled", "status": "True"}]}}
    status = pod_status(pod, [Container("c", "i", {"running": {}})], ip="127.64.0.9", host_ip="127.0.0.1", now="t")
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert conditions["PodScheduled"] == "True"
    assert conditions["Ready"] == "True"


def test_an_address_comes_again_as_late_as_possible_unless_a_test_asks_for_it() -> None:
    """Who holds a dead pod's address is a question that tests must be able to ask."""
    addresses = claim_slice()
    try:
        first, second = addresses.take(set()), addresses.take(set())
        assert first != second
        assert addresses.take({first}) not in (first, second)
        addresses.reuse.append(first)
        assert addresses.take(set()) == first
    finally:
        addresses.release()


def test_two_clusters_take_different_slices() -> None:
    """And a slice that was given back may be taken again."""
    one, two = claim_slice(), claim_slice()
    assert one.number != two.number
    one.release()
    three = claim_slice()
    assert three.number == one.number
    two.release()
    three.release()


def box(**changes: object) -> Sandbox:
    """A sandbox of one container."""
    image = Image(Path("/env"), (Path("/env"), Path("/base")))
    values = {
        "image": image, "mounts": [Mount(Path("/data"), "/home/jovyan"), Mount(Path("/s"), "/run/s", read_only=True)],
        "environment": {"A": "secret"}, "argv": ["python", "-V"], "working_dir": "/home/jovyan", "uid": 1000,
        "gid": 100, "hostname": "p", "passwd": Path("/p"), "group": Path("/g"), "hosts": Path("/h"),
        "shim": Path("/shim.so"), "status_descriptor": 7,
    }  # fmt: skip
    return Sandbox(**{**values, **changes})  # type: ignore[arg-type]


def test_a_container_is_pid_1_and_dies_with_the_node() -> None:
    """And nothing of its environment is in the command line, which everybody may read."""
    line = command_line(box())
    assert {"--as-pid-1", "--die-with-parent", "--unshare-pid"} <= set(line)
    assert "secret" not in " ".join(line)
    assert line[-2:] == ["python", "-V"]


def test_a_container_sees_nothing_of_the_nodes_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the image's, the pod's, and the shim's."""
    monkeypatch.setenv("NODE_SECRET", "x")
    env = process_environment(box(), "127.64.0.9")
    assert "NODE_SECRET" not in env
    assert env["A"] == "secret"
    assert env["POD_BIND_ADDRESS"] == "127.64.0.9"
    assert env["PATH"].startswith("/env/bin:")


def test_a_slice_knows_its_services_range() -> None:
    """Beside the pods'."""
    assert Slice(70, claim=None).services == "127.71.0.0/16"  # type: ignore[arg-type]
