"""What can go wrong with a local cluster, one class per thing a caller may handle."""

from __future__ import annotations


class LocalClusterError(RuntimeError):
    """The base of all of them; the message names the part and the next step."""


class BuildError(LocalClusterError):
    """The control plane could not be found or built."""


class ComponentError(LocalClusterError):
    """A process of the cluster did not start, or ended unasked."""


class SandboxError(LocalClusterError):
    """Pods cannot be run here: bubblewrap or user namespaces are missing."""


class DirectoryError(LocalClusterError):
    """The cluster's directory is in use, or is not a cluster's directory."""
