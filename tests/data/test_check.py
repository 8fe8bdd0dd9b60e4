"""The commands `r1reward data check` and `r1reward data fetch`."""

from pathlib import Path
from typing import Any

import pytest

from r1reward import cli
from r1reward.data import check
from r1reward.data.check import examine, fetch
from r1reward.data.sources import OTHER_SOURCES, SOURCES


def test_the_mini_world_is_complete(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "check", "--root", str(world)]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line.split(":")[0] for line in lines if not line.startswith(" ")]
    assert heads == [*SOURCES, *OTHER_SOURCES, "all eight sources are there"]
    assert "rlaif_v: openbmb/RLAIF-V-Dataset (revision unverified" in lines[0]
    assert "74,802 rows in Table 2" in lines[0]
    assert sum(line.strip().startswith("absent") for line in lines) == 1  # R1-Reward-RL


def test_what_is_missing_is_said_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "povid").mkdir()
    (tmp_path / "povid" / "POVID_1.json").write_text("[]")
    assert cli.main(["data", "check", "--root", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"  1 there      rows: {tmp_path}/povid/POVID*.json or *.json" in lines
    (missing,) = [line for line in lines if line.startswith("  MISSING") and "povid" in line]
    assert "train2014.zip" in missing
    assert lines[-1] == f"files are missing of {', '.join(SOURCES)}"


def test_a_zip_or_a_folder_will_do(tmp_path: Path) -> None:
    folder = tmp_path / "mm_rlhf"
    (folder / "long").mkdir(parents=True)
    for name in ("dpo_pairs.jsonl", "short.zip", "long/a.jpg"):
        (folder / name).write_text("")
    complete = {state.spec.name for state in examine(tmp_path) if not state.missing}
    assert complete == {"mm_rlhf_long", "mm_rlhf_short"}


def test_fetch_asks_for_the_files_of_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(hub_id: str, **given: Any) -> None:
        asked.update(given, hub_id=hub_id)
        for name in given["allow_patterns"]:
            given["local_dir"].mkdir(parents=True, exist_ok=True)
            (given["local_dir"] / name).write_text("")

    monkeypatch.setattr(check, "snapshot_download", download)
    assert fetch("mm_rlhf_mcq", tmp_path) == tmp_path / "mm_rlhf"
    assert asked == {
        "hub_id": "yifanzhang114/MM-RLHF",
        "repo_type": "dataset",
        "revision": None,
        "local_dir": tmp_path / "mm_rlhf",
        "allow_patterns": ["dpo_pairs.jsonl", "mcq.zip"],
    }


def test_without_a_network_fetch_says_what_to_put_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tests run with HF_HUB_OFFLINE=1: this is what the hub's own client raises."""
    assert cli.main(["data", "fetch", "povid", "--root", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "YiyangAiLab/POVID_preference_data_for_VLLMs was not fetched whole" in message
    assert f"put the rows (*.json) into {tmp_path}/povid" in message
    assert "http://images.cocodataset.org/zips/train2014.zip" in message


def test_a_client_that_fetches_nothing_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "snapshot_download", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match="was not fetched whole"):
        fetch("rlaif_v", tmp_path)


def test_an_unknown_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'wildvision'; did you mean wildvision_battle"):
        fetch("wildvision", tmp_path)
