"""The command line of one container: bubblewrap with namespaces, a root of its own and the pod's mounts.

It looks at which directories this machine has, and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
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


HIDDEN = "/.host"
MANY = 40
"""Entries above which a directory's are links to a hidden copy: a mount for each would take 30 ms."""


def opened(root: str, targets: Sequence[str], own: Collection[str] = ()) -> list[str]:
    """A read-only directory of the machine in which ``targets`` can be mounted although they are not there.

    It is made anew, with everything in it but the ``targets`` and what is the pod's ``own``.
    """
    inside = [target for target in targets if target.startswith(f"{root}/")]
    if all(os.path.isdir(target) and not os.path.islink(target) for target in inside):
        return ["--ro-bind", root, root]
    line = ["--dir", root]
    entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    if hide := len(entries) > MANY:
        line = ["--ro-bind", root, f"{HIDDEN}{root}", *line]
    for entry in entries:
        if entry.path in own or entry.path in inside:
            continue
        if any(target.startswith(f"{entry.path}/") for target in inside) and entry.is_dir():
            line += opened(entry.path, inside)
        elif entry.is_symlink():
            line += ["--symlink", os.readlink(entry.path), entry.path]
        elif hide:
            line += ["--symlink", f"{HIDDEN}{entry.path}", entry.path]
        else:
            line += ["--ro-bind", entry.path, entry.path]
    return line


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
    targets = [mount.target.rstrip("/") for mount in box.mounts]
    own = ((box.passwd, "/etc/passwd"), (box.group, "/etc/group"), (box.hosts, "/etc/hosts"))
    line += opened("/usr", targets)
    for name in ("bin", "sbin", "lib", "lib64", "lib32"):
        real = Path("/") / name
        if real.is_symlink():
            line += ["--symlink", str(real.readlink()), f"/{name}"]
        elif real.is_dir():
            line += ["--ro-bind", f"/{name}", f"/{name}"]
    line += [*opened("/etc", targets, [target for _, target in own])]
    line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/run"]
    line += ["--dir", "/var/tmp", "--tmpfs", "/dev/shm"]
    for source, target in own:
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
