"""What the node decides of probes, restarts, files and logs."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from local_cluster.node.atomic_files import File, write
from local_cluster.node.environment import MissingReferenceError, container_environment, resource
from local_cluster.node.logs import tail_start
from local_cluster.node.probes import Exec, HttpGet, Kind, Nothing, Probe, TcpSocket, Verdict, pre_stop, probes_of
from local_cluster.node.references import references, tokens
from local_cluster.node.restarts import BackOff, init_policy, starts_again
from local_cluster.node.sandbox import opened
from local_cluster.node.status import Container, pod_phase, pod_status, terminated, waiting
from local_cluster.node.volumes import files_of, mounts_of

POD: dict[str, Any] = {"metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}}, "spec": {"containers": []}}
OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    ("secrets", "s"): {"data": {"k": base64.b64encode(b"v").decode(), "l": base64.b64encode(b"w").decode()}},
    ("configmaps", "c"): {"data": {"ca.crt": "CA"}, "binaryData": {"raw": base64.b64encode(b"\xff").decode()}},
    ("tokens", ""): {"token": "T"},
}


def read(kind: str, name: str) -> dict[str, Any] | None:
    """A reader of three objects."""
    return OBJECTS.get((kind, name))


def contents(files: dict[str, File]) -> dict[str, bytes]:
    """What files hold."""
    return {name: file.content for name, file in files.items()}


def test_probes_are_read_with_kubernetes_defaults() -> None:
    """Ports by name, the pod's address, https."""
    container = {
        "ports": [{"name": "web", "containerPort": 8443}],
        "readinessProbe": {"httpGet": {"path": "ready", "port": "web", "scheme": "HTTPS"}},
        "livenessProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 2, "failureThreshold": 5},
        "startupProbe": {"exec": {"command": ["true"]}},
    }
    found = probes_of(container, "127.64.1.2")
    assert found[Kind.READINESS].check == HttpGet("https://127.64.1.2:8443/ready", {})
    assert found[Kind.LIVENESS] == Probe(Kind.LIVENESS, TcpSocket("127.64.1.2", 9), period=2, failures=5)
    assert found[Kind.STARTUP].check == Exec(("true",))
    assert probes_of({}, "127.64.1.2") == {}
    unknown = probes_of({"livenessProbe": {"tcpSocket": {"port": "none"}}}, "127.64.1.2")
    assert unknown[Kind.LIVENESS].check == Nothing("couldn't find port: none")


def test_a_pre_stop_hook_takes_no_longer_than_the_grace() -> None:
    """A pause, a question, or nothing."""
    assert pre_stop({}, "1", 30) == (None, 0)
    assert pre_stop({"lifecycle": {"preStop": {"sleep": {"seconds": 90}}}}, "1", 30) == (None, 30)
    asked = {"lifecycle": {"preStop": {"httpGet": {"port": 8080, "path": "/bye"}}}}
    assert pre_stop(asked, "1", 30) == (HttpGet("http://1:8080/bye", {}), 0)


def test_answers_count_in_a_row() -> None:
    """A success between two failures begins the count anew."""
    verdict = Verdict(Probe(Kind.READINESS, Nothing(""), successes=2, failures=2))
    answers = [verdict.take(healthy) for healthy in (False, True, False, False, True, True)]
    assert answers == [None, None, None, False, None, True]


def test_pauses_double_up_to_a_limit_and_begin_anew_after_a_good_run() -> None:
    """Half a minute is the longest."""
    back_off = BackOff()
    assert [back_off.after(0) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert back_off.after(61) == 1


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_decides(policy: str, code: int, again: bool) -> None:
    """As Kubernetes documents it."""
    assert starts_again(policy, code) is again


def test_init_containers_are_tried_again_unless_the_pod_never_is() -> None:
    """And never after a success."""
    assert [init_policy(policy) for policy in ("Always", "OnFailure", "Never")] == ["OnFailure", "OnFailure", "Never"]


def test_a_pod_is_ready_when_all_its_containers_and_sidecars_are() -> None:
    """The condition says which are not."""
    running = {"running": {}}
    main = Container("main", "i", running, healthy=False)
    side = Container("side", "i", running, begun=False)
    status = pod_status(POD, [main], ip="1", host_ip="2", now="t", inits=[side], sidecars=["side"])
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["message"]) == ("False", "containers with unready status: [side main]")
    assert status["initContainerStatuses"][0]["started"] is False
    assert status["phase"] == "Running"


def test_a_container_between_two_runs_leaves_its_pod_running() -> None:
    """One that has never run leaves it pending."""
    crashed = Container("c", "i", waiting("CrashLoopBackOff"), last=terminated(1, "", ""))
    assert pod_phase([crashed]) == "Running"
    assert pod_phase([Container("c", "i", waiting("PodInitializing"))]) == "Pending"


def test_a_projected_volume_gathers_all_its_sources() -> None:
    """With modes, chosen keys, the token, and the pod's own words."""
    sources = [
        {"secret": {"name": "s", "items": [{"key": "k", "path": "deep/key", "mode": 0o400}]}},
        {"configMap": {"name": "c"}},
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        {"secret": {"name": "none", "optional": True}},
    ]
    files = files_of({"projected": {"sources": sources}}, POD, read)
    wanted = {"deep/key": b"v", "ca.crt": b"CA", "raw": b"\xff", "token": b"T", "ns": b"n"}
    assert contents(files) == wanted
    assert (files["deep/key"].mode, files["ns"].mode) == (0o400, 0o644)
    with pytest.raises(MissingReferenceError, match="non-existent key"):
        files_of({"secret": {"secretName": "s", "items": [{"key": "x", "path": "x"}]}}, POD, read)


def test_all_that_a_pod_names_is_found() -> None:
    """Inside projected volumes too."""
    volumes = [
        {
            "projected": {
                "sources": [{"secret": {"name": "a"}}, {"serviceAccountToken": {"path": "t", "audience": "x"}}]
            }
        },
        {"configMap": {"name": "b"}},
        {"persistentVolumeClaim": {"claimName": "c"}},
    ]
    containers = [
        {"env": [{"valueFrom": {"secretKeyRef": {"name": "d"}}}], "envFrom": [{"configMapRef": {"name": "e"}}]}
    ]
    pod = {"spec": {"volumes": volumes, "containers": containers}}
    kinds = {"secrets": {"a", "d"}, "configmaps": {"b", "e"}, "persistentvolumeclaims": {"c"}}
    assert references(pod) == {(kind, name) for kind, names in kinds.items() for name in names}
    assert tokens(pod) == {"x": 3600}


def test_files_change_all_at_once_and_old_versions_go(tmp_path: Path) -> None:
    """Links as the kubelet's; the same again touches nothing."""
    write(tmp_path, {"a": File(b"1"), "d/b": File(b"1", 0o400)})
    first = os.readlink(tmp_path / "..data")
    write(tmp_path, {"a": File(b"1"), "d/b": File(b"1", 0o400)})
    assert os.readlink(tmp_path / "..data") == first
    write(tmp_path, {"a": File(b"2"), "c": File(b"2")})
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["..data", "a", "c", os.readlink(tmp_path / "..data")])
    assert (tmp_path / "a").read_bytes() == b"2"
    assert os.readlink(tmp_path / "a") == "..data/a"
    with pytest.raises(ValueError, match="outside"):
        write(tmp_path, {"../../x": File(b"")})


def test_written_volumes_are_read_only_and_a_path_may_hold_variables(tmp_path: Path) -> None:
    """A subPathExpr is made from the container's environment."""
    container = {
        "volumeMounts": [
            {"name": "s", "mountPath": "/s"},
            {"name": "d", "mountPath": "/d", "subPathExpr": "$(USER)/x"},
        ]
    }
    mounts = mounts_of(container, {"s": tmp_path / "s", "d": tmp_path / "d"}, {"s"}, {"USER": "ada"})
    assert [(m.target, m.read_only) for m in mounts] == [("/s", True), ("/d", False)]
    assert mounts[1].source == tmp_path / "d" / "ada" / "x"
    assert mounts[1].source.is_dir()


def test_amounts_are_whole_multiples_of_their_divisor() -> None:
    """Rounded up; the node's own where a container has no limit."""
    container = {"resources": {"limits": {"memory": "1Gi", "cpu": "1500m"}}}
    assert resource(container, {"resource": "limits.memory", "divisor": "1Mi"}) == "1024"
    assert resource(container, {"resource": "limits.cpu"}) == "2"
    assert resource({}, {"resource": "limits.cpu", "divisor": "0"}) == "64"


def test_services_variables_may_be_used_and_replaced() -> None:
    """They come first."""
    env = [{"name": "URL", "value": "http://$(X_SERVICE_HOST)"}, {"name": "Y", "value": "own"}]
    found = container_environment(POD, {"env": env}, read, {"X_SERVICE_HOST": "1", "Y": "service"})
    assert found == {"X_SERVICE_HOST": "1", "Y": "own", "URL": "http://1"}
    with pytest.raises(MissingReferenceError, match='secret "none" not found'):
        container_environment(POD, {"envFrom": [{"secretRef": {"name": "none"}}]}, read)


def test_a_directory_of_the_machine_is_opened_only_for_what_it_lacks(tmp_path: Path) -> None:
    """Everything else in it stays visible."""
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("sub")
    (tmp_path / "file").write_text("")
    root = str(tmp_path)
    assert opened(root, [f"{root}/sub", "/elsewhere"]) == ["--ro-bind", root, root]
    line = " ".join(opened(root, [f"{root}/sub/new"], [f"{root}/file"]))
    assert f"--symlink sub {root}/link" in line
    assert f"--dir {root}/sub --ro-bind {root}/sub/deep {root}/sub/deep" in line
    assert f"{root}/file" not in line


@pytest.mark.parametrize(
    ("text", "lines", "tail"),
    [("a\nb\nc\n", 2, "b\nc\n"), ("a\nb\nc", 2, "b\nc"), ("a\nb\n", 9, "a\nb\n"), ("a\nb\n", 0, ""), ("", 3, "")],
)
def test_the_tail_of_a_log_begins_at_a_line(tmp_path: Path, text: str, lines: int, tail: str) -> None:
    """After what an earlier run has said."""
    path = tmp_path / "log"
    path.write_text("old\n" + text)
    size = path.stat().st_size
    assert path.read_text()[tail_start(path, 4, size, lines) :] == tail
