"""The pod and the Secret of a kernel."""

from __future__ import annotations

import base64
import json

from kernel_core.kernel import accelerators_of, parse_pod
from kernel_core.manifests import ConnectionInfo, Home, connection_secret, kernel_pod
from kernel_core.names import CONNECTION_FILE, LABEL_INCARNATION, LABEL_KERNEL
from kernel_core.sizes import KernelSpec, Size
from tests.unit.kernel_core.test_life import make_kernel

SPEC = KernelSpec(
    "python3",
    "Python 3",
    "python",
    "image:1",
    ("python", "-f", "{connection_file}"),
    env=({"name": "A", "value": "spec"},),
)
SIZE = Size(
    "1-gpu", "1 GPU", {"nvidia.com/gpu": "1", "memory": "2Gi"}, node_selector={"pool": "gpu"}, shared_memory="1Gi"
)
HOME = Home(claim="claim-ada", sub_path="ada", uid=1234, gid=99)
INFO = ConnectionInfo("key", 1, 2, 3, 4, 5)


def container(pod):
    """The kernel's container."""
    return next(c for c in pod["spec"]["containers"] if c["name"] == "kernel")


def test_the_pod_asks_for_exactly_the_size() -> None:
    """Requests and limits are the same."""
    pod = kernel_pod(make_kernel(), 2, "ns", SPEC, SIZE, HOME)
    resources = container(pod)["resources"]
    assert resources["requests"] == resources["limits"] == {"nvidia.com/gpu": "1", "memory": "2Gi"}
    assert pod["spec"]["nodeSelector"] == {"pool": "gpu"}
    assert accelerators_of(pod["spec"]["containers"]) == "nvidia.com/gpu ×1"


def test_the_pod_mounts_the_owners_home_and_starts_in_it() -> None:
    """The same claim, path and user as the user server."""
    pod = kernel_pod(make_kernel(), 1, "ns", SPEC, SIZE, HOME)
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["home"]["persistentVolumeClaim"]["claimName"] == "claim-ada"
    mount = next(m for m in container(pod)["volumeMounts"] if m["name"] == "home")
    assert (mount["mountPath"], mount["subPath"]) == ("/home/jovyan", "ada")
    assert container(pod)["workingDir"] == "/home/jovyan"
    assert pod["spec"]["securityContext"]["runAsUser"] == 1234


def test_a_home_that_no_spawner_recorded_is_an_empty_one() -> None:
    """Mode None and no record mean the same to a kernel."""
    pod = kernel_pod(make_kernel(), 1, "ns", SPEC, None, Home())
    assert any(v["name"] == "home" and v.get("emptyDir") == {} for v in pod["spec"]["volumes"])


def test_a_home_of_one_node_pins_the_kernel_to_it() -> None:
    """A volume that cannot be mounted twice."""
    pod = kernel_pod(make_kernel(), 1, "ns", SPEC, None, Home(claim="c", mode="SameNode", node="n7"))
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "n7"}


def test_what_must_hold_stands_above_the_administrators_template() -> None:
    """Labels by which pods are found, restart policy, no token; the template's other fields stay."""
    template = {
        "metadata": {"labels": {LABEL_KERNEL: "forged", "team": "a"}},
        "spec": {
            "restartPolicy": "Always",
            "containers": [{"name": "main", "env": [{"name": "A", "value": "template"}, {"name": "B", "value": "b"}]}],
            "tolerations": [{"key": "gpu"}],
        },
    }
    pod = kernel_pod(make_kernel(), 3, "ns", SPEC, Size("s", template=template), HOME)
    labels = pod["metadata"]["labels"]
    assert (labels[LABEL_KERNEL], labels[LABEL_INCARNATION], labels["team"]) == ("k", "3", "a")
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["tolerations"] == [{"key": "gpu"}]
    env = {e["name"]: e.get("value") for e in container(pod)["env"]}
    assert (env["A"], env["B"]) == ("spec", "b")


def test_the_merge_leaves_the_administrators_template_as_it_was() -> None:
    """Sizes are shared by all kernels."""
    template = {"spec": {"containers": [{"name": "kernel"}]}}
    size = Size("s", template=template, resources={"cpu": "1"})
    kernel_pod(make_kernel(), 1, "ns", SPEC, size, HOME)
    assert template == {"spec": {"containers": [{"name": "kernel"}]}}


def test_the_key_is_in_the_secret_only() -> None:
    """Not in the pod, and the connection file binds every address of the pod."""
    kernel = make_kernel()
    pod, secret = kernel_pod(kernel, 1, "ns", SPEC, SIZE, HOME), connection_secret(kernel, 1, "ns", INFO)
    file = json.loads(base64.b64decode(secret["data"]["connection.json"]))
    assert file["ip"] == "0.0.0.0"
    assert ConnectionInfo.from_secret(secret) == INFO
    assert INFO.key not in json.dumps(pod["spec"]["containers"][0]["command"]) + json.dumps(container(pod)["env"])
    assert container(pod)["command"][-1] == CONNECTION_FILE


def test_a_parsed_pod_belongs_to_its_kernel_and_incarnation() -> None:
    """Labels are how pods are found again."""
    made = kernel_pod(make_kernel(), 4, "ns", SPEC, SIZE, HOME)
    made["metadata"]["uid"] = "x"
    pod = parse_pod(made)
    assert (pod.kernel, pod.incarnation, pod.running, pod.ended) == ("k", 4, False, None)
