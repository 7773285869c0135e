"""Kubernetes' quantities, as far as sizes need them: is it one, is it zero, and what is half of it.

Pure. Which resources count as devices is said here too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d{1,3}))?")
_FACTORS = {
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("n", "u", "m"), start=-3)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}


def parse_quantity(text: object) -> Decimal | None:
    """The number that ``2``, ``500m``, ``1e3`` or ``16Gi`` stands for, or None if it is no quantity."""
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        return None
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        return None
    number, suffix, exponent = match.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _FACTORS[suffix or ""])


def is_zero(text: object) -> bool:
    """Whether it is a quantity, and nothing."""
    return parse_quantity(text) == 0


def half_of(text: object) -> str:
    """Half of an amount of memory in the largest unit that is whole, or "" if it is none."""
    quantity = parse_quantity(text)
    if quantity is None or quantity < 2:
        return ""
    half = int(quantity / 2)
    for suffix in ("Gi", "Mi", "Ki"):
        factor = int(_FACTORS[suffix])
        if half % factor == 0:
            return f"{half // factor}{suffix}"
    return str(half)


def is_extended(resource: str) -> bool:
    """Whether a resource is a device of some vendor: ``nvidia.com/gpu``, ``amd.com/gpu``, a MIG slice."""
    domain, slash, _ = resource.partition("/")
    return bool(slash) and domain != "kubernetes.io" and not domain.endswith(".kubernetes.io")


def extended_of(resources: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """The devices of a container's ``resources``; where limit and request differ, the limit holds."""
    named = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    return {name: amount for name, amount in named.items() if is_extended(name)}
