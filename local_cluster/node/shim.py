"""Builds the bind shim once, with the machine's C compiler."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("bind_shim.c")


class ShimError(RuntimeError):
    """The shim could not be built; the message says what to install."""


def built_shim(cache: Path) -> Path:
    """The shim's library, built into the cache if it is not there."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    target = cache / "shim" / f"bind-{digest}.so"
    if target.exists():
        return target
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise ShimError(
            "No C compiler was found; pods need a small library. Install one as root: apt-get install gcc libc6-dev"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        draft = Path(scratch) / target.name
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(draft), str(SOURCE), "-ldl"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ShimError(f"{SOURCE.name} could not be built with {compiler}: {result.stderr.strip()}")
        draft.rename(target)
    return target
