"""What users choose from: a kernelspec (an image and a command) in a size (resources and limits).

Pure. A JupyterKernelSpec lists its sizes, each a JupyterKernelTemplate; or it names one template, which is then a
size without a name. One function says which kernelspecs that makes and what they are called, another finds the size
of a kernel again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kernel_core.argv import DEFAULT_COMMAND
from kernel_core.names import kernelspec_name
from kernel_core.spec_objects import InvalidSpecError, KernelSpec, Size, parse_size, parse_spec
from kernel_core.spec_problems import Sizes, choice_problems, problems_of, spec_problems, template_of

__all__ = [
    "DEFAULT_COMMAND",
    "Choice",
    "InvalidSpecError",
    "KernelSpec",
    "Size",
    "Sizes",
    "all_choices",
    "choices_of",
    "parse_size",
    "parse_spec",
    "problems_of",
    "size_of",
]


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of the launcher: a kernelspec in one of its sizes, in the one without a name, or without any."""

    spec: KernelSpec
    size: Size | None

    @property
    def name(self) -> str:
        """What notebooks store."""
        return kernelspec_name(self.spec.name, self.size.name if self.size else "")

    @property
    def display_name(self) -> str:
        """What people read, such as ``Python 3 · 1 GPU``."""
        if self.size is None or not self.size.name:
            return self.spec.display_name
        return f"{self.spec.display_name} · {self.size.display_name or self.size.name}"


def size_of(spec: KernelSpec, size_name: str, sizes: Sizes) -> Size | None:
    """The size of a kernel by its ``kernelSpec`` and ``size``; None if the kernelspec has neither size nor template.

    The one template of a kernelspec comes back without a name, since such a kernel's size is "". Raises
    InvalidSpecError if no pod can be made of it. A size that the kernelspec no longer lists still serves the kernels
    that have it.
    """
    if problems := [*spec_problems(spec), *choice_problems(spec, size_name, sizes)]:
        raise InvalidSpecError(" ".join(problems))
    name = template_of(spec, size_name)
    size = sizes.get(name) if name else None
    return replace(size, name=size_name) if size else None


def choices_of(spec: KernelSpec, sizes: Sizes) -> list[Choice]:
    """The launcher's entries of one kernelspec. One that could not run is left out; ``problems_of`` says why."""
    found = []
    for name in spec.sizes or ("",):
        try:
            found.append(Choice(spec, size_of(spec, name, sizes)))
        except InvalidSpecError:
            continue
    return found


def all_choices(specs: Iterable[KernelSpec], sizes: Sizes) -> dict[str, Choice]:
    """Every entry of the launcher by name."""
    return {choice.name: choice for spec in specs for choice in choices_of(spec, sizes)}
