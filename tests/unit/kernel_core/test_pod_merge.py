"""A kernel's pod out of what administrators wrote, layer by layer."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import pytest

from kernel_core.kernel import Kernel, Owner, parse_pod
from kernel_core.manifests import GRACE_SECONDS, Home, kernel_pod
from kernel_core.merge import merged_pod, without_nulls
from kernel_core.names import CONNECTION_DIR, CONNECTION_FILE, LABEL_KERNEL
from kernel_core.sizes import KernelSpec, Size, parse_size, parse_spec
from tests.unit.kernel_core.random_pods import (
    a_size,
    a_spec,
    an_owner,
    every_container,
    keys_that_come_twice,
    strings_of,
)
from tests.unit.kernel_core.test_life import make_kernel

HOME = Home(claim="claim-ada", sub_path="ada", uid=1234, gid=99)
SPEC = KernelSpec("python3", "Python 3", "python", "image:1", ("python", "-f", "{connection_file}"))
SEEDS = range(150)


def pod_of(size: Size | None = None, spec: KernelSpec = SPEC, kernel: Kernel | None = None, home: Home = HOME):
    """One pod."""
    return kernel_pod(kernel or make_kernel(), 1, "ns", spec, size, home)


def kernel_of(pod):
    """The kernel's container."""
    return next(c for c in pod["spec"]["containers"] if c["name"] == "kernel")


def by_name(entries, key: str = "name"):
    """A list of objects by name."""
    return {entry[key]: entry for entry in entries}


def templated(**spec) -> Size:
    """A size that is only a pod template."""
    return Size("s", template={"spec": spec})


@pytest.mark.parametrize("seed", SEEDS)
def test_no_list_of_a_pod_has_a_key_twice(seed: int) -> None:
    """Server-side apply would refuse it."""
    source = random.Random(seed)
    kernel = replace(make_kernel(), owner=an_owner(source))
    assert keys_that_come_twice(pod_of(a_size(source), a_spec(source), kernel)) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pod_taken_as_template_gives_the_same_pod(seed: int) -> None:
    """Merging again changes nothing, and nothing that was given is changed."""
    source = random.Random(seed)
    size, spec, kernel = a_size(source), a_spec(source), replace(make_kernel(), owner=an_owner(source))
    before = copy.deepcopy(size)
    pod = pod_of(size, spec, kernel)
    assert size == before
    assert merged_pod(pod["spec"], pod["spec"]) == pod["spec"]
    template = {key: pod[key] for key in ("metadata", "spec")}
    again = replace(size, template=template, sidecars=(), init_containers=())
    assert pod_of(again, spec, kernel) == pod


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_ours_always_wins(seed: int) -> None:
    """Names, labels, connection file, home, end of the pod, token: whatever was written."""
    source = random.Random(seed)
    kernel = replace(make_kernel(), owner=an_owner(source))
    pod = pod_of(a_size(source), a_spec(source), kernel)
    labels, container = pod["metadata"]["labels"], kernel_of(pod)
    assert (labels[LABEL_KERNEL], labels["kernel_id"], labels["app"]) == ("k", "k", "jupyterhub")
    assert pod["metadata"]["annotations"]["hub.jupyter.org/username"] == kernel.owner.user
    volumes, mounts = by_name(pod["spec"]["volumes"]), by_name(container["volumeMounts"], "mountPath")
    assert volumes["home"]["persistentVolumeClaim"] == {"claimName": "claim-ada"}
    assert volumes["connection"]["secret"]["secretName"] == "kernel-k-1"
    assert mounts["/home/jovyan"] == {"name": "home", "mountPath": "/home/jovyan", "subPath": "ada"}
    assert mounts[CONNECTION_DIR] == {"name": "connection", "mountPath": CONNECTION_DIR, "readOnly": True}
    env = by_name(container["env"])
    assert env["HOME"]["value"] == "/home/jovyan"
    assert env["JUPYTERHUB_USER"]["value"].replace("$$", "$") == kernel.owner.user
    assert container["command"] == ["python", CONNECTION_FILE]
    assert (pod["spec"]["restartPolicy"], pod["spec"]["terminationGracePeriodSeconds"]) == ("Never", GRACE_SECONDS)
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert container["image"] == "image:1"


@pytest.mark.parametrize("seed", SEEDS)
def test_devices_are_limited_to_what_is_requested_and_their_taints_are_tolerated(seed: int) -> None:
    """In every container; the API server takes nothing else."""
    source = random.Random(seed)
    pod = pod_of(a_size(source), a_spec(source))
    tolerated = {entry["key"] for entry in pod["spec"].get("tolerations") or ()}
    for container in every_container(pod):
        resources = container.get("resources") or {}
        devices = {name for kind in ("limits", "requests") for name in resources.get(kind) or () if "/" in name}
        for name in devices:
            assert resources["limits"][name] == resources["requests"][name]
            assert name in tolerated or resources["limits"][name] == "0"


@pytest.mark.parametrize("seed", SEEDS)
def test_no_users_name_reaches_another_folder(seed: int) -> None:
    """Neither a slash nor two dots come from a placeholder."""
    source = random.Random(seed)
    kernel = replace(make_kernel(), owner=an_owner(source))
    pod = pod_of(a_size(source), a_spec(source), kernel)
    for container in every_container(pod):
        for mount in container.get("volumeMounts") or ():
            assert "/" not in mount.get("subPath", "") and ".." not in mount.get("subPath", "")
    for name in strings_of([volume["name"] for volume in pod["spec"]["volumes"]]):
        assert name == name.lower() or name == "HOME"
        assert not set(name) & set("/{}.$")


def test_each_layer_stands_above_the_one_before() -> None:
    """Template, size, kernelspec, and what always holds."""
    names = ("T", "S", "K", "HOME")
    template = {
        "nodeSelector": {"a": "template", "b": "template"},
        "priorityClassName": "template",
        "schedulerName": "template",
        "containers": [
            {"name": "kernel", "image": "template", "env": [{"name": n, "value": "template"} for n in names]}
        ],
    }
    size = Size(
        "s",
        template={"spec": template},
        node_selector={"b": "size"},
        priority_class="size",
        env=tuple({"name": n, "value": "size"} for n in names[1:]),
    )
    spec = replace(SPEC, env=tuple({"name": n, "value": "spec"} for n in names[2:]))
    pod = pod_of(size, spec)
    env = {name: entry.get("value") for name, entry in by_name(kernel_of(pod)["env"]).items()}
    assert [env[name] for name in names] == ["template", "size", "spec", "/home/jovyan"]
    assert pod["spec"]["nodeSelector"] == {"a": "template", "b": "size"}
    assert (pod["spec"]["priorityClassName"], pod["spec"]["schedulerName"]) == ("size", "template")
    assert kernel_of(pod)["image"] == "image:1"


def test_every_field_of_a_size_reaches_the_pod() -> None:
    """As the objects have them."""
    item = {
        "metadata": {"name": "big"},
        "spec": {
            "size": {
                "resources": {"cpu": 0.5, "memory": "8Gi", "nvidia.com/mig-1g.5gb": 1},
                "affinity": {"nodeAffinity": {"x": 1}},
                "runtimeClassName": "nvidia",
                "queueName": "research",
                "labels": {"cost-centre": "42"},
                "annotations": {"note": "for {username}"},
                "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one", "request": "first"}],
                "schedulerName": "volcano",
                "initContainers": [{"name": "prepare", "image": "i"}],
                "sidecars": [{"name": "log", "image": "i"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-{username}"}}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "env": [{"name": "WHO", "value": "{username} in {namespace}"}],
                "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            }
        },
    }
    pod = pod_of(parse_size(item))
    spec, container, meta = pod["spec"], kernel_of(pod), pod["metadata"]
    assert container["resources"]["limits"] == {"cpu": "0.5", "memory": "8Gi", "nvidia.com/mig-1g.5gb": "1"}
    assert container["resources"]["claims"] == [{"name": "gpu", "request": "first"}]
    assert spec["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": "one"}]
    assert spec["affinity"] == {"nodeAffinity": {"x": 1}}
    assert (spec["runtimeClassName"], spec["schedulerName"]) == ("nvidia", "volcano")
    assert meta["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert (meta["labels"]["cost-centre"], meta["annotations"]["note"]) == ("42", "for ada")
    assert [c["name"] for c in spec["containers"]] == ["kernel", "log"]
    assert [c["name"] for c in spec["initContainers"]] == ["prepare"]
    assert by_name(spec["volumes"])["data"]["persistentVolumeClaim"]["claimName"] == "data-ada"
    assert by_name(container["volumeMounts"])["data"]["mountPath"] == "/data"
    assert by_name(container["env"])["WHO"]["value"] == "ada in ns"
    assert {t["key"] for t in spec["tolerations"]} == {"dedicated", "nvidia.com/mig-1g.5gb"}


@pytest.mark.parametrize("device", ["nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "amd.com/gpu", "gpu.intel.com/i915"])
def test_a_size_with_a_device_tolerates_its_taint_and_has_room_in_shared_memory(device: str) -> None:
    """Half of the memory limit; a container's own 64 MB kill data loaders."""
    pod = pod_of(Size("s", resources={device: "1", "memory": "3Gi"}))
    assert pod["spec"]["tolerations"] == [{"key": device, "operator": "Exists", "effect": "NoSchedule"}]
    assert by_name(pod["spec"]["volumes"])["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1536Mi"}
    assert by_name(kernel_of(pod)["volumeMounts"])["shared-memory"]["mountPath"] == "/dev/shm"


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (Size("s", resources={"cpu": "1", "memory": "2Gi"}), None),
        (Size("s", resources={"nvidia.com/gpu": "0", "memory": "2Gi"}), None),
        (Size("s", resources={"nvidia.com/gpu": "1"}), {"medium": "Memory"}),
        (Size("s", resources={"nvidia.com/gpu": "1", "memory": "2Gi"}, shared_memory="0"), None),
        (Size("s", shared_memory="1Gi"), {"medium": "Memory", "sizeLimit": "1Gi"}),
        (Size("s", resource_claims=({"name": "g", "resourceClaimName": "c"},)), {"medium": "Memory"}),
    ],
)
def test_shared_memory_follows_the_size_and_its_devices(size: Size, expected: dict[str, str] | None) -> None:
    """On by default with an accelerator, off with "0", never without reason."""
    volume = by_name(pod_of(size)["spec"]["volumes"]).get("shared-memory")
    assert (volume and volume["emptyDir"]) == expected


def test_a_template_that_brings_shared_memory_of_its_own_keeps_it() -> None:
    """One mount at /dev/shm."""
    own = {"name": "kernel", "volumeMounts": [{"name": "mine", "mountPath": "/dev/shm/"}]}
    size = Size("s", resources={"nvidia.com/gpu": "1"}, template={"spec": {"containers": [own]}})
    assert "shared-memory" not in by_name(pod_of(size)["spec"]["volumes"])


def test_devices_of_a_template_count_as_those_of_a_size() -> None:
    """A limit alone, as most templates have it, becomes a request too."""
    size = templated(containers=[{"name": "kernel", "resources": {"limits": {"amd.com/gpu": 2}}}])
    pod = pod_of(size)
    assert kernel_of(pod)["resources"]["requests"] == {"amd.com/gpu": 2}
    assert pod["spec"]["tolerations"][0]["key"] == "amd.com/gpu"
    assert "shared-memory" in by_name(pod["spec"]["volumes"])


def test_the_template_of_the_original_operator_becomes_a_pod() -> None:
    """Labels directly under metadata, no image, restartPolicy Always, its launcher as command."""
    template = {
        "metadata": {"app": "enterprise-gateway", "component": "kernel", "team": "a", "creationTimestamp": None},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "kernel", "resources": None}]},
    }
    size = parse_size({"metadata": {"name": "t"}, "spec": {"template": template}})
    spec = parse_spec(
        {
            "metadata": {"name": "python-kubernetes"},
            "spec": {
                "language": "Python",
                "image": "ghcr.io/skai-x/jupyter-kernel-py:2.6.0",
                "command": ["kubeflow-launcher", "--verbose", "--RemoteProcessProxy.kernel-id", "{kernel_id}"],
                "template": {"name": "t", "namespace": "default"},
            },
        }
    )
    pod = pod_of(replace(size, name=""), spec)
    container, labels = kernel_of(pod), pod["metadata"]["labels"]
    assert container["image"] == "elastic-jupyter/kernel-python:0.1.0"
    assert container["command"] == ["python", "-m", "ipykernel_launcher", "-f", CONNECTION_FILE]
    assert pod["spec"]["restartPolicy"] == "Never"
    assert (labels["app"], labels["component"], labels["team"]) == ("jupyterhub", "jupyter-kernel", "a")
    adapted = pod["metadata"]["annotations"]["kubeflow.tkestack.io/adapted"]
    assert "jupyter-kernel-py:2.6.0 replaced by" in adapted and "kubeflow-launcher" in adapted


def test_other_images_run_as_they_are_unless_a_table_says_otherwise() -> None:
    """The table is the administrator's."""
    assert "kubeflow.tkestack.io/adapted" not in pod_of()["metadata"]["annotations"]
    pod = kernel_pod(make_kernel(), 1, "ns", SPEC, None, HOME, images={"image:*": "mirror/image:1"})
    assert kernel_of(pod)["image"] == "mirror/image:1"


def test_an_image_may_stand_in_the_template_alone() -> None:
    """The kernelspec's, where there is one, is above it."""
    size = templated(containers=[{"name": "kernel", "image": "template:1"}])
    assert kernel_of(pod_of(size, replace(SPEC, image="")))["image"] == "template:1"


def test_the_kernel_starts_in_the_notebooks_folder_else_where_administrators_say_else_at_home() -> None:
    """In this order."""
    size = templated(containers=[{"name": "kernel", "workingDir": "/template/{username}"}])
    spec = replace(SPEC, working_dir="/spec")
    kernel = replace(make_kernel(), working_dir="/home/jovyan/project")
    found = [
        kernel_of(pod)["workingDir"] for pod in (pod_of(), pod_of(size), pod_of(size, spec), pod_of(size, spec, kernel))
    ]
    assert found == ["/home/jovyan", "/template/ada", "/spec", "/home/jovyan/project"]


def test_sidecars_may_mount_the_users_home_and_do_not_hide_the_kernel() -> None:
    """The volume is called home; the kernel is still found by its container."""
    log = {"name": "log", "image": "i", "volumeMounts": [{"name": "home", "mountPath": "/home"}]}
    made = pod_of(Size("s", sidecars=(log,)))
    assert [c["name"] for c in made["spec"]["containers"]] == ["kernel", "log"]
    made["metadata"]["uid"] = "x"
    assert parse_pod(made).kernel == "k"


def test_an_administrators_variable_may_refer_to_ours() -> None:
    """Kubernetes knows only those that come before it."""
    pod = pod_of(None, replace(SPEC, env=({"name": "CACHE", "value": "$(HOME)/cache"},)))
    names = [entry["name"] for entry in kernel_of(pod)["env"]]
    assert names.index("HOME") < names.index("CACHE")


def test_null_fields_of_a_template_are_absent_ones() -> None:
    """YAML with empty fields is common, and the API server takes it."""
    size = templated(
        containers=[{"name": "main", "env": None, "volumeMounts": None}], volumes=None, securityContext=None
    )
    assert kernel_of(pod_of(size))["command"]
    assert without_nulls({"a": [None, {"b": None}], "c": 0}) == {"a": [{}], "c": 0}


def test_a_kernel_pod_carries_its_user_server_and_id_for_bills_and_dashboards() -> None:
    """Labels exactly as KubeSpawner 7 has them on the user's server, so that both are counted together."""
    kernel = replace(make_kernel(), owner=Owner("Ada@x.org", "My Server"))
    pod = pod_of(kernel=kernel)
    labels, notes = pod["metadata"]["labels"], pod["metadata"]["annotations"]
    assert labels["hub.jupyter.org/username"] == "ada-x-org---" + labels["hub.jupyter.org/username"][-8:]
    assert (notes["hub.jupyter.org/username"], notes["hub.jupyter.org/servername"]) == ("Ada@x.org", "My Server")
    assert labels["app.kubernetes.io/name"] == "jupyter-kernel"
    assert labels["app.kubernetes.io/part-of"] == labels["app.kubernetes.io/managed-by"] == "elastic-jupyter"
    assert labels["kernel_id"] == "k"
    assert pod_of()["metadata"]["labels"]["hub.jupyter.org/servername"] == ""


def test_a_running_kernel_is_not_evicted_for_a_smaller_cluster_unless_its_template_says_so() -> None:
    """Its variables would be lost."""
    key = "cluster-autoscaler.kubernetes.io/safe-to-evict"
    assert pod_of()["metadata"]["annotations"][key] == "false"
    size = Size("s", template={"metadata": {"annotations": {key: True}}})
    assert pod_of(size)["metadata"]["annotations"][key] == "true"
    assert pod_of(Size("s", annotations={key: "true"}))["metadata"]["annotations"][key] == "true"
