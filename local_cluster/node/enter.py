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


def become(directory: str, command: tuple[str, ...]) -> None:
    """Turn into the command. Python's own modules may be out of sight here, so nothing may be imported any more."""
    try:
        os.chdir(directory)
    except OSError as error:
        os.write(2, f"{directory}: {error.strerror}\n".encode())
        return
    path = os.environ.get("PATH", "").split(":")
    wrong = "no such command"
    for program in [command[0]] if "/" in command[0] else [f"{part}/{command[0]}" for part in path]:
        try:
            os.execv(program, command)  # noqa: S606  # a command of the pod's author, inside the sandbox
        except FileNotFoundError:
            continue
        except OSError as error:
            wrong = str(error.strerror)
    os.write(2, f"{command[0]}: {wrong}\n".encode())


def main(pid: str, directory: str, *command: str) -> int:
    """The command's exit code."""
    try:
        enter(pid)
    except OSError as error:
        os.write(2, f"the container could not be entered: {error.strerror}\n".encode())
        return 126
    child = os.fork()
    if child == 0:
        try:
            become(directory, command)
        finally:
            os._exit(127)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    os._exit(main(*sys.argv[1:]))
