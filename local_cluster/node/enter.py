"""Runs a command inside a running container: ``python enter.py PID DIRECTORY COMMAND...``.

A program of its own, because entering namespaces changes the whole process. A container has two user namespaces,
one that owns its mounts and one inside it that gives the process its user; entering them in this order needs no
root. nsenter takes them in the other order.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys

NS_GET_USERNS = 0xB701
NAMESPACES = ("ipc", "uts", "pid", "mnt")


def same(one: int, other: int) -> bool:
    """Whether two descriptors are of one namespace."""
    return os.path.samestat(os.fstat(one), os.fstat(other))


def enter(pid: str) -> None:
    """Enter all namespaces of a process; the pid namespace is the next child's."""
    libc = ctypes.CDLL(None, use_errno=True)

    def one(descriptor: int) -> None:
        if libc.setns(descriptor, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    held = {name: os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in (*NAMESPACES, "user")}
    owner = fcntl.ioctl(held["mnt"], NS_GET_USERNS)
    one(owner)
    for name in NAMESPACES:
        one(held[name])
    if not same(owner, held["user"]):
        one(held["user"])
    for descriptor in (*held.values(), owner):
        os.close(descriptor)


def main(pid: str, directory: str, *command: str) -> int:
    """The command's exit code."""
    try:
        enter(pid)
    except OSError as error:
        sys.stderr.write(f"the container could not be entered: {error}\n")
        return 126
    child = os.fork()
    if child == 0:
        try:
            os.chdir(directory)
            os.execvp(command[0], command)  # noqa: S606  # a command of the pod's author, inside the sandbox
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
            os._exit(127)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
