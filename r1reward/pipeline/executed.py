"""An executed notebook as it is published: its outputs without what belongs to one machine or moment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1reward.files import sha256_file, write_atomic
from r1reward.report.records import read_manifests

# In a manifest: the hash of the executed notebook in its published form. A run by hand has none.
EXECUTED = "executed"

# Forms of an output that a code host shows, the best first; a table keeps its text beside it.
_PICTURE = "image/png"
_TEXTS = ("text/markdown", "text/html", "text/latex", "text/plain")
_WIDGET = "application/vnd.jupyter.widget-view+json"


def write_clean(executed: Path, target: Path, *, places: Mapping[str, str]) -> Path:
    """Write the published form of an executed notebook; returns `target`.

    Progress and warnings (stderr), overwritten lines, widgets and the times of cells are left out, a figure
    is kept once. `places` are absolute folders with what to write for them. The same outputs give the same
    bytes.
    """
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata = {
        name: notebook.metadata[name] for name in ("kernelspec",) if name in notebook.metadata
    }
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _clean(output))]
    text = nbformat.writes(nbformat.from_dict(notebook))
    for folder in sorted(places, key=len, reverse=True):
        text = text.replace(folder, places[folder])
    return write_atomic(target, text + "\n")


def check_executed(results: Path) -> list[str]:
    """Differences between published executed notebooks and the hashes in the manifests beside them."""
    promised = promised_notebooks(results)
    present = {file.stem: file for file in (results / "notebooks").glob("*.ipynb")}
    faults = [f"notebooks/{name}.ipynb: missing" for name in sorted(promised.keys() - present.keys())]
    faults += [
        f"{file}: not what {name} showed when it ran"
        for name, file in sorted(present.items())
        if sha256_file(file) != promised.get(name)
    ]
    return faults


def promised_notebooks(root: Path) -> dict[str, str]:
    """Hashes of the executed notebooks that belong to the manifests of a run or results folder."""
    manifests = read_manifests(root, keys=())
    return {name: manifest[EXECUTED] for name, manifest in manifests.items() if EXECUTED in manifest}


def _clean(output: Mapping[str, Any]) -> dict[str, Any] | None:
    """An output without noise, or None where nothing is left of it."""
    if output["output_type"] == "stream":
        text = re.sub(r"(?m)^.*\r(?!\n)", "", output["text"]) if output["name"] == "stdout" else ""
        return {**output, "text": text} if text.strip() else None
    data = output.get("data", {})
    if not data or _WIDGET in data:
        return None
    kept = (_PICTURE,) if _PICTURE in data else _TEXTS
    return {**output, "data": {form: data[form] for form in kept if form in data}, "metadata": {}}
