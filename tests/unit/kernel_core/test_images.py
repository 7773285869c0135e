"""Old image names, and what runs in their place."""

from __future__ import annotations

import pytest

from kernel_core.images import mapped_image

GATEWAY, KERNEL = "elastic-jupyter/gateway:0.1.0", "elastic-jupyter/kernel-python:0.1.0"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("ghcr.io/skai-x/enterprise-gateway:2.6.0", GATEWAY),
        ("ghcr.io/skai-x/enterprise-gateway-with-kernel-spec:latest", GATEWAY),
        ("ghcr.io/skai-x/enterprise-gateway", GATEWAY),
        ("ccr.ccs.tencentyun.com/kubeflow-oteam/enterprise-gateway:2.5.0", GATEWAY),
        ("ghcr.io/skai-x/jupyter-kernel-py:2.6.0", KERNEL),
        ("ccr.ccs.tencentyun.com/kubeflow-oteam/jupyter-kernel-py:2.5.0", KERNEL),
    ],
)
def test_images_of_the_original_operator_are_replaced(image: str, expected: str) -> None:
    """Whatever their tag."""
    assert mapped_image(image) == (expected, True)


@pytest.mark.parametrize(
    "image",
    [
        "jupyter/base-notebook:python-3.9.7",
        "ghcr.io/skai-x/ml-demo-jupyter:latest",
        "ccr.ccs.tencentyun.com/kubeflow-oteam/mpi-operator:latest",
        "registry.example.org/ghcr.io/skai-x/jupyter-kernel-py:2.6.0",
        "pytorch/pytorch:2.9.0",
        KERNEL,
        "",
    ],
)
def test_every_other_image_stays(image: str) -> None:
    """Notebook images among them."""
    assert mapped_image(image) == (image, False)


def test_a_table_of_ones_own_decides_by_its_first_fitting_pattern() -> None:
    """An empty target keeps the image, one that is equal maps nothing."""
    table = {"a/keep:*": "", "a/same:1": "a/same:1", "a/*": "b:1"}
    assert [mapped_image(f"a/{name}", table) for name in ("keep:2", "same:1", "x")] == [
        ("a/keep:2", False),
        ("a/same:1", False),
        ("b:1", True),
    ]
