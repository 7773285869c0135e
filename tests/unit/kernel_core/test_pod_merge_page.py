"""docs/reference/pod-merge.md says what the code does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml

from kernel_core.argv import LAUNCHER_VALUES
from kernel_core.images import ORIGINAL_IMAGES
from kernel_core.labels import DEFAULT_ANNOTATIONS, LABEL_QUEUE, our_labels
from kernel_core.manifests import GRACE_SECONDS
from kernel_core.merge import CONTAINER_LISTS, POD_LISTS, POD_MAPPINGS
from kernel_core.placeholders import FILLED_CONTAINER_FIELDS, FILLED_POD_FIELDS, placeholder_values
from kernel_core.sizes import parse_size, parse_spec, problems_of
from tests.unit.kernel_core.test_life import make_kernel

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "pod-merge.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]


@pytest.mark.parametrize(("field", "key"), {**CONTAINER_LISTS, **POD_LISTS}.items())
def test_every_list_is_on_the_page_with_its_key(field: str, key: tuple[str, ...]) -> None:
    """In the table of merging."""
    (how,) = [row[1] for row in ROWS if f"`{field}`" in row[0] and row[1].startswith("by ")]
    assert tuple(re.findall(r"`(\w+)`", how)) == key


def test_every_field_of_a_size_is_on_the_page() -> None:
    """By its name in the custom resource."""
    fields = re.findall(r'size(?:\.item)?\.\w+\("(\w+)"', inspect.getsource(parse_size))
    assert len(fields) > 20
    assert [field for field in fields if f"`{field}`" not in PAGE] == []


def test_placeholders_images_labels_and_limits_are_on_the_page() -> None:
    """All that code names."""
    words = [f"`{{{name}}}`" for name in (*placeholder_values(make_kernel(), "ns"), *LAUNCHER_VALUES)]
    words += [f"`{field}`" for field in (*FILLED_POD_FIELDS, *FILLED_CONTAINER_FIELDS, *POD_MAPPINGS)]
    words += [f"`{name}`" for name in (*ORIGINAL_IMAGES, *filter(None, ORIGINAL_IMAGES.values()), LABEL_QUEUE)]
    words += [label.rpartition("/")[2] for label in our_labels(make_kernel())]
    words += [f'`{key}: "{value}"`' for key, value in DEFAULT_ANNOTATIONS.items()]
    words += [f"| `terminationGracePeriodSeconds` | {GRACE_SECONDS} |"]
    assert [word for word in words if word not in PAGE] == []


def test_the_examples_of_the_how_to_are_sound() -> None:
    """As an administrator would paste them."""
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "offer-sizes.md").read_text()
    first, *others = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    spec, size = yaml.safe_load_all(first)
    sizes = {name: parse_size({**size, "metadata": {"name": name}}) for name in ("a100", "a100-mig")}
    assert problems_of(parse_spec(spec), sizes) == []
    for text in others:
        made = parse_size({"metadata": {"name": "a100"}, "spec": yaml.safe_load(text)})
        assert problems_of(parse_spec(spec), {**sizes, "a100": made}) == []
