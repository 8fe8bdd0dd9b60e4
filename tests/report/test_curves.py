from pathlib import Path

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from r1reward.algo.mechanisms import mechanisms_record
from r1reward.cluster import launch
from r1reward.files import write_json
from r1reward.report.curves import figure_2, figure_mechanisms
from r1reward.report.records import Records
from r1reward.report.style import figure_bytes


@pytest.fixture
def drawn(empty_root: Path) -> Records:
    write_json(empty_root / "records" / "mechanisms.json", mechanisms_record())
    return Records.of_run(empty_root)


def curves(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): np.asarray(line.get_xydata()) for line in axes.lines}


def test_the_panels_show_the_record(drawn: Records) -> None:
    negative, positive, advantage, share = figure_mechanisms(drawn).axes
    assert curves(negative)["with Pre-CLIP"][-1].tolist() == [10.0, 0.0]
    assert curves(negative)["without Pre-CLIP"][-1, 1] == pytest.approx(np.exp(10))
    assert curves(positive)["without Pre-CLIP"][-1].tolist() == [10.0, 0.0]
    # One wrong answer of 256, in percent and standard deviations.
    assert curves(advantage)["without the 3-sigma filter"][0] == pytest.approx([100 / 256, -(255**0.5)])
    assert curves(advantage)["with the 3-sigma filter"][0].tolist() == [100 / 256, 0.0]
    assert curves(share)["without the 3-sigma filter"][0, 1] == pytest.approx(100 * 255 / 256)
    assert curves(share)["with the 3-sigma filter"][0, 1] == 0.0


def test_every_axis_has_a_label(drawn: Records) -> None:
    for axes in figure_mechanisms(drawn).axes:
        assert axes.get_xlabel() and axes.get_ylabel() and axes.get_title(loc="left")


def test_drawing_twice_gives_the_same_bytes(drawn: Records) -> None:
    assert figure_bytes(figure_mechanisms(drawn), "svg") == figure_bytes(figure_mechanisms(drawn), "svg")


def test_without_the_record_every_panel_says_so(empty_root: Path) -> None:
    figure = figure_mechanisms(Records.of_run(empty_root))
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["not run"] * 4


def test_every_panel_of_figure_2_is_drawn(tmp_path: Path) -> None:
    names = {*launch.NAMES.values(), "judge_unknown", "judged", "contradicted", "reward_failed"}
    with SummaryWriter(str(tmp_path / "board")) as writer:
        for step in range(1, 4):
            for name in [*names, "rollout/num_samples"]:
                writer.add_scalar(f"train/{name}", 0.5 * step, step)
    record = tmp_path / "run" / "records" / "rl" / "stable_reinforce" / "seed_0" / "metrics.jsonl"
    launch.read_back(tmp_path / "board", record)
    panels = figure_2(Records.of_run(tmp_path / "run")).axes[:8]
    assert len(panels) == 8 and all(axes.lines for axes in panels)
