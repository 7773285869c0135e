"""The waiting line is never in a saved notebook."""

from __future__ import annotations

from copy import deepcopy

import pytest

from elastic_frontend.save_hook import strip_waiting_lines

WAITING = {"output_type": "display_data", "data": {}, "metadata": {"elastic-jupyter": {"waiting": True}}}
OTHER = {"output_type": "display_data", "data": {}, "metadata": {"elastic-jupyter": {}}}
STREAM = {"output_type": "stream", "name": "stdout", "text": "x"}


def notebook(*outputs: dict) -> dict:
    """A notebook with one code cell and one of text."""
    cells = [{"cell_type": "code", "outputs": list(outputs)}, {"cell_type": "markdown", "source": ""}]
    return {"type": "notebook", "content": {"cells": cells}}


def test_only_the_waiting_line_is_taken_out() -> None:
    """Other outputs stay, in order."""
    model = notebook(STREAM, WAITING, OTHER)
    strip_waiting_lines(model=model, path="n.ipynb", contents_manager=None)
    assert model["content"]["cells"][0]["outputs"] == [STREAM, OTHER]


def test_files_that_are_no_notebooks_are_left_alone() -> None:
    """Also those without content."""
    for model in ({"type": "file", "content": "x"}, {"type": "notebook", "content": None}, {"type": "directory"}):
        before = dict(model)
        strip_waiting_lines(model=model, path="x", contents_manager=None)
        assert model == before


@pytest.mark.parametrize(
    "content",
    [
        {"cells": "none"},
        {"cells": None},
        {"cells": ["text", None, {}, {"outputs": "none"}, {"outputs": [None, "text", {"metadata": "none"}]}]},
        {"cells": [{"outputs": [{"metadata": {"elastic-jupyter": "none"}}]}]},
    ],
)
def test_what_is_no_notebook_is_left_to_the_server_to_refuse(content: dict) -> None:
    """A hook that raised would keep everything in that file from being saved."""
    model = {"type": "notebook", "content": deepcopy(content)}
    strip_waiting_lines(model=model, path="n.ipynb", contents_manager=None)
    assert model["content"] == content
