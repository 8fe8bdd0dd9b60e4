"""Figures from what a run on OpenRLHF logged. Not beside the cluster's tests: those need no matplotlib."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from r1reward.cluster import launch
from r1reward.report.curves import figure_2
from r1reward.report.records import Records


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
