"""Kernels are admitted under the restricted level unless an administrator says otherwise."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from kernel_core.manifests import Home, kernel_pod
from kernel_core.security import container_security, pod_security
from kernel_core.sizes import Size
from tests.unit.kernel_core.random_pods import a_size, a_spec, an_owner, every_container
from tests.unit.kernel_core.test_life import make_kernel
from tests.unit.kernel_core.test_pod_merge import SPEC, kernel_of, pod_of, templated

ALLOWED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


def against_restricted(pod: dict[str, Any]) -> list[str]:
    """What the restricted pod security level has against a pod, as far as our pods touch it."""
    spec = pod["spec"]
    context = spec["securityContext"]
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        found.append("root")
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        found.append("seccomp")
    for container in every_container(pod):
        own = container["securityContext"]
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            found.append(f"{container['name']} may gain privileges")
        if own.get("capabilities", {}).get("drop") != ["ALL"]:
            found.append(f"{container['name']} has capabilities")
        if own.get("runAsNonRoot") is False or own.get("runAsUser") == 0:
            found.append(f"{container['name']} is root")
    found += [volume["name"] for volume in spec["volumes"] if not ALLOWED_VOLUMES & volume.keys()]
    return found


@pytest.mark.parametrize("seed", range(100))
def test_every_pod_is_restricted_by_default_with_all_its_sidecars(seed: int) -> None:
    """Whatever else a size says."""
    source = random.Random(seed)
    kernel = replace(make_kernel(), owner=an_owner(source))
    assert against_restricted(pod_of(a_size(source), a_spec(source), kernel)) == []


def test_a_template_may_set_a_security_context_of_its_own_field_by_field() -> None:
    """What it does not name stays the default's."""
    size = templated(
        securityContext={"runAsUser": 7, "supplementalGroups": [1]},
        containers=[{"name": "kernel", "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}],
    )
    pod = pod_of(size)
    context, own = pod["spec"]["securityContext"], kernel_of(pod)["securityContext"]
    assert (context["runAsUser"], context["supplementalGroups"], context["runAsNonRoot"]) == (7, [1], True)
    assert own == {"allowPrivilegeEscalation": False, "capabilities": {"add": ["SYS_PTRACE"]}}


def test_a_template_that_asks_for_root_gets_a_pod_that_can_start() -> None:
    """runAsNonRoot beside user 0 would only fail on the node."""
    assert pod_security({"runAsUser": 0}, 1000, 100, 100)["runAsNonRoot"] is False
    assert pod_security({"runAsUser": 0, "runAsNonRoot": True}, 1000, 100, 100)["runAsNonRoot"] is True
    assert container_security({"runAsUser": 0})["runAsNonRoot"] is False


@pytest.mark.parametrize("given", [{"privileged": True}, {"capabilities": {"add": ["SYS_ADMIN"]}}])
def test_no_contradiction_is_written_that_the_api_server_refuses(given: dict[str, Any]) -> None:
    """A privileged container without a way to privileges."""
    assert "allowPrivilegeEscalation" not in container_security(given)
    assert container_security({**given, "allowPrivilegeEscalation": True})["allowPrivilegeEscalation"] is True


def test_the_user_is_the_one_of_the_users_own_server() -> None:
    """Both write to one home."""
    home = Home(claim="c", uid=5, gid=6, fs_group=None)
    context = kernel_pod(make_kernel(), 1, "ns", SPEC, None, home)["spec"]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], "fsGroup" in context) == (5, 6, False)


def test_a_token_is_there_only_where_the_template_names_its_account() -> None:
    """Cloud identities need one; nobody else gets one."""
    assert pod_of()["spec"]["automountServiceAccountToken"] is False
    named = pod_of(templated(serviceAccountName="cloud"))["spec"]
    assert named["serviceAccountName"] == "cloud" and "automountServiceAccountToken" not in named
    assert (
        pod_of(Size("s", template={"spec": {"automountServiceAccountToken": True}}))["spec"][
            "automountServiceAccountToken"
        ]
        is False
    )
