"""The waiting line is never in a saved notebook."""

from __future__ import annotations

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
