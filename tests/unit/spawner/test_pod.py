"""The user server's pod: KubeSpawner's, without accelerators."""

from __future__ import annotations

import logging

import pytest
from kubernetes_asyncio.client import ApiClient, Configuration
from traitlets.config import Config

from elastic_spawner.accelerators import is_accelerator


def requests(pod) -> list[tuple[dict, dict]]:
    """Requests and limits of every container of a pod."""
    plain = ApiClient(Configuration()).sanitize_for_serialization(pod)["spec"]
    found = [c.get("resources", {}) for c in [*plain["containers"], *plain.get("initContainers", [])]]
    return [(resources.get("requests", {}), resources.get("limits", {})) for resources in found]


@pytest.mark.parametrize(
    "name",
    ["nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "nvidia.com/gpu.shared", "amd.com/gpu", "gpu.intel.com/i915",
     "habana.ai/gaudi", "google.com/tpu", "aws.amazon.com/neuroncore", "example.org/GPU-small"],
)  # fmt: skip
def test_accelerators_are_known_by_name(name: str) -> None:
    """Whole devices, slices and shares of the usual makers."""
    assert is_accelerator(name)


@pytest.mark.parametrize("name", ["cpu", "memory", "ephemeral-storage", "hugepages-2Mi", "smarter-devices/fuse"])
def test_other_resources_are_left_alone(name: str) -> None:
    """A user server may need them."""
    assert not is_accelerator(name)


async def test_a_gpu_asked_for_by_configuration_is_left_out_and_logged(make_spawner, caplog) -> None:
    """Limits, requests, init and side containers."""
    spawner = make_spawner(
        extra_resource_limits={"nvidia.com/gpu": "1", "smarter-devices/fuse": "1"},
        extra_resource_guarantees={"nvidia.com/gpu": "1"},
        mem_limit="1G",
        init_containers=[
            {"name": "warm", "image": "x", "resources": {"limits": {"amd.com/gpu": "1", "cpu": "1"}}},
        ],
        extra_containers=[{"name": "side", "image": "x", "resources": {"requests": {"nvidia.com/mig-1g.5gb": 1}}}],
    )
    spawner.log = logging.getLogger("spawner-under-test")
    with caplog.at_level(logging.WARNING, "spawner-under-test"):
        pod = await spawner.get_pod_manifest()
    notebook, side, warm = requests(pod)
    assert notebook == ({}, {"memory": 1073741824, "smarter-devices/fuse": "1"})
    assert side == ({}, {})
    assert warm == ({}, {"cpu": "1"})
    assert "Left out of the user server of ada: amd.com/gpu=1, nvidia.com/gpu=1, nvidia.com/mig-1g.5gb=1" in caplog.text


async def test_an_administrator_can_leave_user_servers_their_gpus(make_spawner) -> None:
    """An empty list of kernel-only resources."""
    spawner = make_spawner(extra_resource_limits={"nvidia.com/gpu": "1"}, kernel_only_resources=[])
    pod = await spawner.get_pod_manifest()
    assert pod.spec.containers[0].resources.limits["nvidia.com/gpu"] == "1"


async def test_a_profile_with_gpus_starts_a_light_server(make_spawner) -> None:
    """Profiles written for GPU servers go on working."""
    spawner = make_spawner(
        profile_list=[
            {
                "display_name": "Big",
                "slug": "big",
                "kubespawner_override": {"extra_resource_limits": {"nvidia.com/gpu": "2"}, "cpu_limit": 2},
            }
        ]
    )
    spawner.user_options = {"profile": "big"}
    await spawner.load_user_options()
    (notebook,) = requests(await spawner.get_pod_manifest())
    assert notebook[1] == {"cpu": 2}


async def test_profiles_set_the_traits_of_this_spawner(make_spawner) -> None:
    """By the same key as KubeSpawner's own."""
    spawner = make_spawner(
        gateway_url="http://one",
        profile_list=[
            {
                "display_name": "Other",
                "slug": "other",
                "kubespawner_override": {"gateway_url": "http://two/", "home_mode": "SameNode"},
                "profile_options": {
                    "home": {
                        "display_name": "Home",
                        "choices": {
                            "with": {"display_name": "with", "kubespawner_override": {"home_mode": "Shared"}},
                            "without": {"display_name": "without", "kubespawner_override": {"home_mode": "None"}},
                        },
                    }
                },
            }
        ],
    )
    spawner.user_options = {"profile": "other", "home": "without"}
    await spawner.load_user_options()
    assert (spawner.gateway_url, spawner.home_mode) == ("http://two", "None")
    assert spawner.get_env()["JUPYTER_GATEWAY_URL"] == "http://two"


async def test_groups_set_the_traits_of_this_spawner(make_spawner) -> None:
    """A group with a gateway of its own."""
    spawner = make_spawner(
        gateway_url="http://all",
        group_overrides={"10-gpu": {"groups": ["gpu"], "spawner_override": {"gateway_url": "http://gpu"}}},
    )
    spawner.user.groups = [Config(name="gpu")]
    await spawner.apply_group_overrides()
    assert spawner.gateway_url == "http://gpu"


async def test_the_pod_keeps_what_other_tools_know_a_user_server_by(make_spawner) -> None:
    """Name, container, port, labels and annotations of KubeSpawner."""
    pod = await make_spawner(user="ada@example.org").get_pod_manifest()
    container = pod.spec.containers[0]
    assert pod.metadata.name.startswith("jupyter-ada-example-org---")
    assert container.name == "notebook"
    assert container.ports[0].name == "notebook-port"
    assert pod.metadata.labels["component"] == "singleuser-server"
    assert pod.metadata.annotations["hub.jupyter.org/username"] == "ada@example.org"
    assert pod.spec.automount_service_account_token is False


async def test_state_survives_a_restart_of_the_hub(make_spawner) -> None:
    """Pod and claim keep their names although the templates changed."""
    before = make_spawner(pod_name_template="old-{username}")
    before.pvc_name, before._pvc_exists = "old-claim", True
    after = make_spawner()
    after.load_state(before.get_state())
    assert (after.pod_name, after.pvc_name) == ("old-ada", "old-claim")
    assert after.get_state() == before.get_state()


async def test_start_keeps_the_future_that_progress_waits_for(make_spawner) -> None:
    """Without an API server the start fails, and says so through that future."""
    spawner = make_spawner(k8s_api_host="http://127.0.0.1:9")
    future = spawner.start()
    assert spawner._start_future is future
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        await future


async def test_a_user_server_has_time_to_suspend_its_kernels(make_spawner) -> None:
    """More than KubeSpawner's one second, and still configurable."""
    assert make_spawner().delete_grace_period == 5
    config = Config()
    config.KubeSpawner.delete_grace_period = 2
    assert make_spawner(config=config).delete_grace_period == 2
