"""The custom resources and samples, as package data."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

KINDS = ("jupyterkernel", "jupyterkernelspec", "jupyterkerneltemplate", "jupyternotebook")


def definitions() -> list[dict[str, Any]]:
    """The CustomResourceDefinitions, ready to apply."""
    return [yaml.safe_load((files(__package__) / f"{kind}.yaml").read_text()) for kind in KINDS]


def samples(name: str) -> list[dict[str, Any]]:
    """The objects of one sample file, such as ``python-sizes``."""
    return list(yaml.safe_load_all((files(__package__) / "samples" / f"{name}.yaml").read_text()))
