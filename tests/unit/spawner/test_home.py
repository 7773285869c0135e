"""Which volume of a user server is the home, and what kernels are told of it."""

from __future__ import annotations

from typing import Any

import pytest

from elastic_spawner.home import Home, HomeMode, Mount, find_home, find_mount


def pod(
    mounts: dict[str, str] | None = None,
    *,
    env: dict[str, str] | None = None,
    context: dict[str, int] | None = None,
    whole: dict[str, int] | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """A user server's pod that mounts these claims: mount path to claim."""
    claims = mounts or {}
    return {
        "spec": {
            "securityContext": whole or {},
            "volumes": [
                {"name": f"v{n}", "persistentVolumeClaim": {"claimName": claim}}
                for n, claim in enumerate(claims.values())
            ],
            "containers": [
                {
                    "name": "notebook",
                    "env": [{"name": name, "value": value} for name, value in (env or {}).items()],
                    "securityContext": context or {},
                    "volumeMounts": [{"name": f"v{n}", "mountPath": path} for n, path in enumerate(claims)],
                    **extra,
                },
                {"name": "sidecar", "volumeMounts": [{"name": "v0", "mountPath": "/else"}]},
            ],
        }
    }


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        pytest.param({"/home/jovyan": "claim-ada"}, "/home/jovyan", id="the only claim"),
        pytest.param({"/data": "data", "/home/jovyan": "claim-ada"}, "/home/jovyan", id="own claim, data set beside"),
        pytest.param({"/data": "data", "/srv/ada": "claim-ada"}, "/srv/ada", id="own claim in an unusual place"),
        pytest.param({"/home/jovyan": "nfs", "/home/shared": "nfs2"}, "/home/jovyan", id="where HOME points"),
        pytest.param({"/home/ada": "nfs"}, "/home/ada", id="under /home"),
        pytest.param({"/data": "data"}, None, id="a data set is no home"),
        pytest.param({}, None, id="nothing mounted"),
        pytest.param({"/srv/a/b": "claim-ada", "/srv/a": "claim-ada"}, "/srv/a", id="own claim twice"),
    ],
)
def test_the_home_is_found_among_the_mounts(mounts: dict[str, str], expected: str | None) -> None:
    """By claim, then by place."""
    found = find_mount(pod(mounts, env={"HOME": "/home/jovyan"}), pvc_name="claim-ada")
    assert (found.mount_path if found else None) == expected


def test_a_configured_mount_path_decides_alone() -> None:
    """Even against the spawner's own claim."""
    mounts = {"/home/jovyan": "claim-ada", "/scratch": "scratch"}
    assert find_mount(pod(mounts), pvc_name="claim-ada", mount_path="/scratch/") == Mount("scratch", "/scratch", None)
    assert find_mount(pod(mounts), pvc_name="claim-ada", mount_path="/elsewhere") is None


def test_the_working_directory_points_to_the_home() -> None:
    """Images without HOME in the pod's environment."""
    mounts = {"/data/one": "one", "/data/two": "two"}
    found = find_mount(pod(mounts, workingDir="/data/two"), pvc_name="")
    assert found == Mount("two", "/data/two", None)


def test_what_cannot_be_written_is_no_home() -> None:
    """Read-only claims and mounts hold data sets."""
    read_only = pod({"/home/jovyan": "claim-ada"})
    read_only["spec"]["containers"][0]["volumeMounts"][0]["readOnly"] = True
    assert find_mount(read_only, pvc_name="claim-ada") is None


def test_a_sub_path_of_a_common_claim_is_kept() -> None:
    """Homes as folders of one file server."""
    shared = pod({"/home/jovyan": "nfs"})
    shared["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = "homes/ada"
    mount = find_mount(shared, pvc_name="claim-ada")
    assert find_home(shared, mount, HomeMode.SHARED).home.sub_path == "homes/ada"


MOUNT = Mount("claim-ada", "/home/jovyan", None)


@pytest.mark.parametrize(
    ("asked", "mount", "access", "mode", "note"),
    [
        ("Auto", MOUNT, ["ReadWriteMany"], "Shared", ""),
        ("Auto", MOUNT, ["ReadWriteOnce", "ReadWriteMany"], "Shared", ""),
        ("Auto", MOUNT, ["ReadWriteOnce"], "SameNode", ""),
        ("Auto", MOUNT, ["ReadWriteOncePod"], "None", "one pod only"),
        ("Auto", MOUNT, None, "Shared", "not known"),
        ("Auto", None, None, "None", "no persistent volume claim"),
        ("Shared", MOUNT, ["ReadWriteOnce"], "Shared", ""),
        ("Shared", None, None, "None", "no persistent volume claim"),
        ("SameNode", MOUNT, ["ReadWriteMany"], "SameNode", ""),
        ("None", MOUNT, ["ReadWriteMany"], "None", ""),
        ("None", None, None, "None", ""),
    ],
)
def test_the_mode_follows_what_was_asked_and_what_the_claim_can(asked, mount, access, mode, note) -> None:
    """And what an administrator should know is said."""
    found = find_home(pod({"/home/jovyan": "claim-ada"}), mount, HomeMode(asked), access_modes=access)
    assert found.home.mode == mode
    assert note in found.note if note else found.note == ""
    assert (found.home.claim_name is None) == (mode == "None")


@pytest.mark.parametrize(
    ("context", "whole", "env", "expected"),
    [
        ({}, {}, {}, (None, None, None)),
        ({"runAsUser": 1000, "runAsGroup": 100}, {"fsGroup": 100}, {}, (1000, 100, 100)),
        ({}, {"runAsUser": 5, "runAsGroup": 6, "fsGroup": 7}, {}, (5, 6, 7)),
        ({"runAsUser": 1}, {"runAsUser": 2, "runAsGroup": 3}, {}, (1, 3, None)),
        ({"runAsUser": 0}, {}, {"NB_UID": "1234", "NB_GID": "99"}, (1234, 99, None)),
        ({"runAsUser": 0, "runAsGroup": 0}, {}, {}, (None, None, None)),
        ({"runAsUser": 0}, {}, {"NB_UID": "0"}, (None, None, None)),
    ],
)
def test_kernels_write_as_the_user_that_the_server_writes_as(context, whole, env, expected) -> None:
    """Never as root, though an image may start as root to become the user."""
    home = find_home(pod({}, context=context, whole=whole, env=env), MOUNT, HomeMode.SHARED).home
    assert (home.run_as_user, home.run_as_group, home.fs_group) == expected


def test_a_home_without_volume_still_has_a_place() -> None:
    """The kernel's empty home lies where the user server's home would."""
    home = find_home(pod(), None, HomeMode.NONE, mount_path="/home/ada/").home
    assert home == Home(HomeMode.NONE, "/home/ada")
    assert home.as_spec()["claimName"] is None
