"""Kernelspecs from JupyterKernelSpec and JupyterKernelTemplate objects, as they are now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jupyter_client.kernelspec import KernelSpec as JupyterKernelSpecFile
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from kernel_core.sizes import Choice

PROCESS_PROXY = "process_proxies.elastic.ElasticProcessProxy"

Choices = Callable[[], Mapping[str, Choice]]


def spec_json(choice: Choice) -> dict[str, Any]:
    """One kernelspec as kernel.json has it."""
    metadata: dict[str, Any] = {"process_proxy": {"class_name": PROCESS_PROXY, "config": {}}}
    if choice.spec.debugger:
        metadata["debugger"] = True
    return {
        "argv": list(choice.spec.command),
        "env": {},
        "display_name": choice.display_name,
        "language": choice.spec.language,
        "interrupt_mode": choice.spec.interrupt_mode,
        "metadata": metadata,
    }


def listing(choices: Mapping[str, Choice], default: str) -> dict[str, Any]:
    """The answer to ``GET /api/kernelspecs``."""
    if default not in choices:
        default = next(iter(choices), "")
    return {"default": default, "kernelspecs": {name: model(choice) for name, choice in choices.items()}}


def model(choice: Choice) -> dict[str, Any]:
    """The answer for one kernelspec."""
    return {"name": choice.name, "spec": spec_json(choice), "resources": {}}


class ElasticKernelSpecManager(KernelSpecManager):  # type: ignore[misc]
    """What Enterprise Gateway reads kernelspecs from; it reads them at each start."""

    choices: Choices = dict

    def find_kernel_specs(self) -> dict[str, str]:
        """Names; there are no directories."""
        return dict.fromkeys(self.choices(), "")

    def get_kernel_spec(self, kernel_name: str) -> Any:
        """One kernelspec. Raises NoSuchKernel."""
        choice = self.choices().get(kernel_name)
        if choice is None:
            raise NoSuchKernel(kernel_name)
        return JupyterKernelSpecFile(resource_dir="", **spec_json(choice))

    def get_all_specs(self) -> dict[str, Any]:
        """All of them."""
        return {name: {"resource_dir": "", "spec": spec_json(choice)} for name, choice in self.choices().items()}
