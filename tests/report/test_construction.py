from pathlib import Path

from PIL import Image

from r1reward.report.construction import figure_construction, figure_gallery
from r1reward.report.records import Records


def _texts(records: Records) -> list[str]:
    return [text.get_text() for axes in figure_construction(records).axes for text in axes.texts]


def test_the_figure_shows_counts_difficulty_and_balance(records: Records) -> None:
    texts = _texts(records)
    assert texts.count("1,000") == 2
    assert texts.count("75") == 3
    assert texts.count("500 : 500") == 2 and texts.count("1,000 : 1,000") == 1


def test_the_mm_rlhf_shares_of_the_paper_are_hollow(run_root: Path) -> None:
    path = run_root / "records" / "data.json"
    path.write_text(path.read_text().replace("rlaif_v", "mm_rlhf_long"))
    axes = figure_construction(Records.of_run(run_root)).axes[0]
    (hollow,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert abs(hollow.get_xdata()[0] - 100 * 41163 / 205740) < 1e-9


def test_without_a_record_every_panel_says_so(empty_root: Path) -> None:
    assert _texts(Records.of_run(empty_root)) == ["not run"] * 3


def test_the_preferred_response_is_bold(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (28, 28), "red").save(picture)
    figure = figure_gallery([(picture, "what ?", ("one", "two"), 2, "povid")] * 3)
    words = [text for axes in figure.axes for text in axes.texts]
    bold = [text.get_text() for text in words if text.get_fontweight() == "bold"]
    assert bold == ["2  two"] * 3
    assert len([axes for axes in figure.axes if axes.images]) == 3
