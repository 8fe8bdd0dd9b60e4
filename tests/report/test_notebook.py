"""What a notebook shows by name."""

from pathlib import Path

import pytest
from IPython.display import Image, Markdown

from r1reward.report import notebook


def test_tables_and_figures_are_shown_in_order(empty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Image | Markdown] = []
    monkeypatch.setattr(notebook, "display", shown.append)
    notebook.show(empty_root, "table_02", "audit_settings", "extra_base_model", "figure_5")
    assert [type(one) for one in shown] == [Markdown, Markdown, Markdown, Image, Image]
    assert "Data sets used for training" in str(shown[0].data) and shown[3].data.startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="table_99"):
        notebook.show(empty_root, "table_99")


def test_claims_are_shown_by_name(empty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Markdown] = []
    monkeypatch.setattr(notebook, "display", shown.append)
    notebook.show_claims(empty_root, "shorter_answers", "filter_needed")
    [table] = shown
    text = str(table.data)
    assert "average response length" in text and "Removing any of these components" in text
    assert text.count("not run") >= 2 and "consistency reward" not in text
    with pytest.raises(ValueError, match="no claim is called filter"):
        notebook.show_claims(empty_root, "filter")
