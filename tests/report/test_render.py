import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from IPython.display import Image, Markdown
from matplotlib.figure import Figure

from r1reward.report import render as rendering
from r1reward.report.construction import figure_base_model
from r1reward.report.curves import draw_curve, figure_2, figure_4
from r1reward.report.figures import figure_1, figure_comparison
from r1reward.report.records import Records
from r1reward.report.render import draw_figures, render, show, show_claims, write_table
from r1reward.report.style import PlainFigure, figure_bytes, new_figure, save_figure, styled
from r1reward.report.tables import judge_table

DRAWN = (
    "table_01",
    "table_02",
    "table_03",
    "table_04",
    "table_08",
    "table_05",
    "table_06",
    "table_07",
    "table_09",
    "table_10",
    "table_11",
    "table_12",
    "table_13",
    "audit_always_one",
    "audit_counts",
    "audit_differences",
    "audit_dimensions",
    "audit_gains",
    "audit_overall",
    "audit_settings",
    "extra_annotators",
    "extra_best_of_n",
    "extra_claims",
    "extra_downstream",
    "extra_self_corrections",
    "extra_full_grid",
    "extra_steering",
    "extra_steering_cost",
    "extra_stress",
    "extra_tournaments",
    "extra_consistency_judges",
    "extra_base_model",
    "extra_instrument",
    "extra_cold_start",
    "extra_judge_behaviour",
    "extra_paired_differences",
)
FIGURES = (
    "figure_1",
    "figure_2",
    "figure_3",
    "figure_4",
    "figure_5",
    "figure_6",
    "extra_downstream",
    "extra_downstream_training",
    "extra_base_model",
    "extra_comparison",
    "extra_construction",
    "extra_mechanisms",
    "extra_training",
)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_rendering_gives_the_same_bytes_and_leaves_the_records(run_root: Path) -> None:
    records = {path: path.read_bytes() for path in (run_root / "records").rglob("*.json*")}
    first = {path: path.read_bytes() for path in render(run_root)}
    again = draw_figures(run_root, ["figure_1", "extra_comparison"])
    again += write_table(judge_table(Records.of_run(run_root), "table_03"), run_root / "tables", "table_03")
    assert {path: path.read_bytes() for path in again} == {path: first[path] for path in again}
    assert {path: path.read_bytes() for path in records} == records
    names = {str(path.relative_to(run_root)) for path in first}
    expected = {f"tables/{name}.{form}" for name in DRAWN for form in ("csv", "md", "tex")}
    expected |= {f"figures/{name}.{form}" for name in FIGURES for form in ("svg", "pdf", "png")}
    assert names == expected | {"claims.json", "index.html"}


def test_the_report_needs_no_torch() -> None:
    code = "import sys, r1reward.report.render; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_records_say_not_run_in_every_own_panel(empty_root: Path) -> None:
    records = Records.of_run(empty_root)
    assert texts(figure_2(records)) == ["not run"] * 8
    assert texts(figure_4(records)) == ["not run"] * 4
    assert texts(figure_base_model(records)) == ["not run"] * 3
    assert texts(figure_comparison(records)) == ["not run"] * 2
    assert texts(figure_1(records)).count("not run yet") == 15


def test_figure_1_shows_the_printed_numbers(empty_root: Path) -> None:
    shown = texts(figure_1(Records.of_run(empty_root)))
    for number in ("71.92", "76.46", "82.2", "83.3", "80.59", "86.47", "85.3", "67.2", "71.9", "82.35"):
        assert number in shown
    assert shown.count("not printed") == 2


def test_figure_1_puts_measured_numbers_only_where_they_were_measured(records: Records) -> None:
    figure = figure_1(records)
    counts = [[text.get_text() for text in axes.texts].count("not run yet") for axes in figure.axes]
    assert counts == [0, 5, 5]


def test_a_curve_is_the_mean_over_seeds_of_the_summed_columns() -> None:
    frame = pd.DataFrame(
        {"step": [0, 1, 0, 1], "seed": [0, 0, 1, 1], "x": [1.0, 2.0, 3.0, np.nan], "y": [0.5, 0.5, 0.5, 0.5]}
    )
    with styled():
        axes = new_figure(2, 2).subplots()
        assert draw_curve(axes, frame, "reinforce_pp", ["x", "y"])
        assert not draw_curve(axes, frame, "reinforce_pp", ["z"])
    # Step 0: mean of 1.5 and 3.5; step 1: the second seed is not finite there.
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [2.5, 2.5]


def test_a_figure_is_drawn_once_for_its_layout_and_once_for_each_file(tmp_path: Path, monkeypatch) -> None:
    drawings, draw = [], PlainFigure.draw
    monkeypatch.setattr(PlainFigure, "draw", lambda *given: drawings.append(given) or draw(*given))
    figure = new_figure(3, 3)
    figure.subplots().plot([1, 2])
    assert len(save_figure(figure, tmp_path, "line")) == 3
    assert len(drawings) == 1 + 3


def test_a_collapse_is_drawn_and_named(run_root: Path, write_jsonl) -> None:
    rows = [
        {
            "step": step,
            "policy_loss": 0.01 if step < 5 else 2e4,
            "grad_norm": 1.0 if step < 5 else float("nan"),
        }
        for step in range(9)
    ]
    write_jsonl(run_root / "records" / "rl" / "reinforce_pp" / "seed_0" / "metrics.jsonl", rows)
    figure = figure_2(Records.of_run(run_root))
    assert figure.axes[0].get_yscale() == "symlog"
    note = figure._supxlabel
    assert note is not None
    assert "not finite" in note.get_text()


@pytest.mark.parametrize("draw", [figure_1, figure_2, figure_base_model, figure_comparison])
def test_figures_do_not_depend_on_the_caller_s_style(records: Records, draw) -> None:
    plain = figure_bytes(draw(records), "svg")
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9}):
        assert figure_bytes(draw(records), "svg") == plain


def test_tables_and_figures_are_shown_in_order(empty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Image | Markdown] = []
    monkeypatch.setattr(rendering, "display", shown.append)
    show(empty_root, "table_02", "audit_settings", "extra_base_model", "figure_5")
    assert [type(one) for one in shown] == [Markdown, Markdown, Markdown, Image, Image]
    assert "Data sets used for training" in str(shown[0].data) and shown[3].data.startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="table_99"):
        show(empty_root, "table_99")


def test_claims_are_shown_by_name(empty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Markdown] = []
    monkeypatch.setattr(rendering, "display", shown.append)
    show_claims(empty_root, "shorter_answers", "filter_needed")
    [table] = shown
    text = str(table.data)
    assert "average response length" in text and "Removing any of these components" in text
    assert text.count("not run") >= 2 and "consistency reward" not in text
    with pytest.raises(ValueError, match="no claim is called filter"):
        show_claims(empty_root, "filter")
