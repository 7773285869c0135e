"""The line that says what a cell waits for is never saved."""

from __future__ import annotations

from typing import Any


def is_waiting_line(output: Any) -> bool:
    """Whether an output carries the broker's mark."""
    if not isinstance(output, dict):
        return False
    metadata = output.get("metadata")
    mark = metadata.get("elastic-jupyter") if isinstance(metadata, dict) else None
    return isinstance(mark, dict) and bool(mark.get("waiting"))


def strip_waiting_lines(model: dict[str, Any], path: str = "", contents_manager: Any = None, **kwargs: Any) -> None:
    """A pre-save hook of jupyter_server: called with the model that is about to be written."""
    if model.get("type") != "notebook":
        return
    content = model.get("content")
    if not isinstance(content, dict):
        return
    cells = content.get("cells")
    for cell in cells if isinstance(cells, list) else []:  # what is no notebook is for the server's validation to say
        outputs = cell.get("outputs") if isinstance(cell, dict) else None
        if isinstance(outputs, list):
            cell["outputs"] = [output for output in outputs if not is_waiting_line(output)]
