"""What a notebook shows by name."""

from pathlib import Path

import pytest
from IPython.utils.capture import capture_output

from r1reward.report.notebook import show


def test_tables_and_figures_are_shown_in_order(empty_root: Path) -> None:
    with capture_output() as captured:
        show(empty_root, "table_02", "extra_base_model", "audit_settings", "figure_5")
    kinds = [[kind for kind in output.data if kind != "text/plain"] for output in captured.outputs]
    assert kinds == [["text/markdown"]] * 3 + [["image/png"]]
    assert "Data sets used for training" in captured.outputs[0].data["text/markdown"]
    with pytest.raises(KeyError):
        show(empty_root, "table_99")
