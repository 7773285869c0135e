"""The command line of one container: bubblewrap with namespaces, a root of its own and the pod's mounts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local_cluster.node.images import Image
from local_cluster.node.volumes import Mount


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Everything that decides how a container is run."""

    image: Image
    mounts: Sequence[Mount]
    environment: Mapping[str, str]
    argv: Sequence[str]
    working_dir: str
    uid: int
    gid: int
    hostname: str
    passwd: Path
    group: Path
    hosts: Path
    shim: Path
    status_descriptor: int


def command_line(box: Sandbox) -> list[str]:
    """bubblewrap's arguments. The process is PID 1, as in a container, so it ignores SIGTERM unless it handles it."""
    line = [
        "bwrap",
        "--die-with-parent",
        "--new-session",
        "--unshare-user",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
    ]
    line += ["--as-pid-1", "--json-status-fd", str(box.status_descriptor)]
    line += ["--uid", str(box.uid), "--gid", str(box.gid), "--hostname", box.hostname[:63]]
    line += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib64", "lib32"):
        real = Path("/") / name
        if real.is_symlink():
            line += ["--symlink", str(real.readlink()), f"/{name}"]
        elif real.is_dir():
            line += ["--ro-bind", f"/{name}", f"/{name}"]
    line += ["--ro-bind", "/etc", "/etc", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/run"]
    line += ["--dir", "/var/tmp", "--tmpfs", "/dev/shm"]
    for source, target in ((box.passwd, "/etc/passwd"), (box.group, "/etc/group"), (box.hosts, "/etc/hosts")):
        line += ["--ro-bind", str(source), target]
    for directory in (*box.image.binds, box.shim):
        line += ["--ro-bind", str(directory), str(directory)]
    if not any(mount.target == box.image.home for mount in box.mounts):
        line += ["--tmpfs", box.image.home]
    for mount in sorted(box.mounts, key=lambda m: m.target.count("/")):
        line += ["--ro-bind" if mount.read_only else "--bind", str(mount.source), mount.target]
    return [*line, "--chdir", box.working_dir, "--", *box.argv]


def process_environment(box: Sandbox, pod_ip: str) -> dict[str, str]:
    """The container's own variables over the image's; nothing of this process's environment is in it."""
    path = f"{box.image.prefix / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        "PATH": path,
        "HOME": box.image.home,
        "LANG": "C.UTF-8",
        "HOSTNAME": box.hostname,
        **box.environment,
        "LD_PRELOAD": str(box.shim),
        "POD_BIND_ADDRESS": pod_ip,
    }
