"""A JupyterHub that uses ElasticSpawner: the demo's hub, and an example for others."""

from __future__ import annotations

from pathlib import Path


def jupyterhub_config_path() -> Path:
    """The configuration file for ``jupyterhub -f``."""
    return Path(__file__).with_name("jupyterhub_config.py")
