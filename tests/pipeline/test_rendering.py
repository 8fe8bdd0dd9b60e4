"""Tables and figures are drawn again when anything changed that they are drawn from."""

import pytest

from r1reward.files import write_atomic, write_json
from r1reward.pipeline import rendering
from r1reward.pipeline.rendering import drawing_is_fresh, drawn_file, refresh_drawing


@pytest.fixture
def drawn(checkout, monkeypatch):
    """A run that is drawn, whose drawing code is a file that a test may edit."""
    code = write_atomic(checkout.root / "report.py", "x = 1")
    monkeypatch.setattr(rendering, "imported_files", lambda tree: {"r1reward.report.render": code})
    write_json(checkout.root / "results/paper/values.json", {"table_03": 71.92})
    context = checkout.fake_finished_run()
    assert drawing_is_fresh(context) and not refresh_drawing(context, render=checkout.render)
    return checkout


@pytest.mark.parametrize(
    "edit",
    [
        lambda checkout: write_atomic(checkout.root / "report.py", "x = 2"),
        lambda checkout: write_json(checkout.root / "results/paper/values.json", {"table_03": 71.93}),
        lambda checkout: write_json(checkout.context.folder / "records/made.json", 9),
        lambda checkout: write_json(checkout.context.folder / "records/new.json", 9),
        lambda checkout: write_atomic(checkout.context.folder / "tables/table_01.csv", "by hand"),
        lambda checkout: (checkout.context.folder / "figures/figure_1.svg").unlink(),
        lambda checkout: write_atomic(checkout.context.folder / "index.html", "by hand"),
        lambda checkout: write_atomic(drawn_file(checkout.context), "{half"),
        lambda checkout: write_json(drawn_file(checkout.context), []),
    ],
)
def test_what_changed_is_drawn_again(drawn, edit):
    edit(drawn)
    context = drawn.context
    assert not drawing_is_fresh(context)
    before = drawn.drawn
    assert refresh_drawing(context, render=drawn.render) and drawn.drawn == before + 1


def test_the_code_behind_tables_and_figures_is_the_whole_report(checkout):
    sources = rendering.imported_files(rendering.ast.parse(rendering._ENTRY))
    for name in ("tables", "figures", "claims", "page", "style", "paper", "layout", "audit"):
        assert f"r1reward.report.{name}" in sources
