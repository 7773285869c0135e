"""The objects a demo starts with, and who may touch them: applied once, as an administrator would."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from local_cluster.cluster import LocalCluster
from local_cluster.demo.settings import NAMESPACE, DemoSettings
