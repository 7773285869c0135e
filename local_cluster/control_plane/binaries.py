"""Where the control plane's programs are: what the user names, a complete set that exists, or the cache.

Building is `builder`'s part; nothing here downloads or runs anything.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local_cluster.errors import BuildError

SOURCES = Path(__file__).parent
PROGRAM = "kubernetes-control-plane"
OVERRIDE = "ELASTIC_JUPYTER_KUBERNETES"
"""Names a binary that was built by other means."""
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")


@dataclass(frozen=True, slots=True)
class Binaries:
    """The argument prefix of each component."""

    prefixes: Mapping[str, tuple[str, ...]]
    origin: str

    def argv(self, component: str, *rest: str) -> list[str]:
        """The command line of a component."""
        return [*self.prefixes[component], *rest]


def single(program: Path, origin: str) -> Binaries:
    """One program that is all components."""
    return Binaries({name: (str(program), name) for name in COMPONENTS}, origin)


def cache_dir(environ: Mapping[str, str]) -> Path:
    """Where all that is built outside the checkout lies."""
    if own := environ.get("ELASTIC_JUPYTER_CACHE"):
        return Path(own)
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or os.path.expanduser("~")) / ".cache"
    return Path(base) / "elastic-jupyter"


def kubernetes_version(go_mod: str) -> str:
    """The version of Kubernetes that a go.mod asks for, such as ``v1.36.3``."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+\S*)", go_mod, re.MULTILINE)
    if found is None:
        raise BuildError("control_plane/go.mod does not require k8s.io/kubernetes.")
    return found.group(1)


def cache_key(sources: Path = SOURCES) -> str:
    """The version, the machine and a digest of everything that decides what the program does."""
    digest = hashlib.sha256()
    for name in ("main.go", "go.mod", "go.sum"):
        digest.update((sources / name).read_bytes())
    version = kubernetes_version((sources / "go.mod").read_text())
    return f"{version}-{platform.machine()}-{digest.hexdigest()[:12]}"


def cached(environ: Mapping[str, str]) -> Path:
    """Where the program lies once it is built."""
    return cache_dir(environ) / "kubernetes" / cache_key() / PROGRAM


def complete_set(directories: list[Path]) -> dict[str, tuple[str, ...]] | None:
    """Every component from these directories, or None if only some are there: versions are never mixed."""
    found: dict[str, tuple[str, ...]] = {}
    for name in COMPONENTS:
        path = next((d / name for d in directories if os.access(d / name, os.X_OK)), None)
        if path is None:
            return None
        found[name] = (str(path),)
    return found


def find(environ: Mapping[str, str]) -> Binaries | None:
    """The programs in the documented order, or None if they must be built."""
    if own := environ.get(OVERRIDE):
        if not os.access(own, os.X_OK):
            raise BuildError(f"{OVERRIDE} names {own}, which is no program. Unset it to build one.")
        return single(Path(own), OVERRIDE)
    if assets := environ.get("KUBEBUILDER_ASSETS"):
        prefixes = complete_set([Path(assets)])
        if prefixes is not None:
            return Binaries(prefixes, "KUBEBUILDER_ASSETS")
    prefixes = complete_set([Path(entry) for entry in environ.get("PATH", os.defpath).split(":") if entry])
    if prefixes is not None:
        return Binaries(prefixes, "PATH")
    program = cached(environ)
    return single(program, "cache") if os.access(program, os.X_OK) else None
