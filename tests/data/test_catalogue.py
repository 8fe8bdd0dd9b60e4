"""The commands `r1reward data check` and `r1reward data fetch`."""

from pathlib import Path
from typing import Any

import pytest

from r1reward import cli
from r1reward.bench.load import load_benchmarks
from r1reward.data import catalogue
from r1reward.data.catalogue import CATALOGUE, REWARD_BENCHMARKS, Roots, examine, fetch, require
from r1reward.data.sources import SOURCES
from r1reward.mini.world.downstream import write_downstream


def run(*words: str | Path) -> int:
    return cli.main(["data", *map(str, words)])


def test_the_mini_world_is_complete(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--root", world) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line.split(":")[0] for line in lines if not line.startswith(" ")]
    assert heads == [*CATALOGUE, "all that is needed is there"]
    assert lines[-1] == f"all that is needed is there: {', '.join(SOURCES)}, vl_rewardbench"
    hub = "openbmb/RLAIF-V-Dataset (revision unverified)"
    assert lines[0] == f"rlaif_v: {hub}; licence cc-by-nc-4.0; 74,802 rows in Table 2"
    head = lines.index(next(line for line in lines if line.startswith("mm_rlhf_rewardbench")))
    assert all("there" in line for line in lines[head + 1 : head + 3])
    assert not any("MISSING" in line for line in lines)


def test_what_is_missing_is_said_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "povid").mkdir()
    (tmp_path / "povid" / "POVID_1.json").write_text("[]")
    assert run("check", "--root", tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"  1 there      rows: {tmp_path}/povid/POVID*.json or *.json" in lines
    (missing,) = [line for line in lines if line.startswith("  MISSING") and "povid" in line]
    assert "train2014.zip" in missing
    assert lines[-1] == f"files are missing of {', '.join(SOURCES)}, vl_rewardbench"
    assert "  MISSING      rows with pictures: " + str(tmp_path / "vl_rewardbench") in "\n".join(lines)


def write_profile(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_text(f'extends = "gpu"\nname = "my"\nsentence = "Ours."\n{text}')
    return path


def test_a_profile_says_where_to_look_and_what_is_needed(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_downstream(tmp_path / "down", prompts=8, lessons=8, questions=4, seed=0)
    for name in ("rlaif_v", "vl_rewardbench"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(world / name)
    folders = (
        f'[data]\nroot = "{tmp_path / "data"}"\nsources = [%s]\n[downstream]\nroot = "{tmp_path / "down"}"\n'
    )
    assert run("check", "--profile", write_profile(tmp_path, folders % '"rlaif_v"')) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "all that is needed is there: rlaif_v, vl_rewardbench"
    assert f"1 there      rows with pictures: {tmp_path}/down/benchmarks/MMStar.tsv" in out
    assert f"1 there      rows: {tmp_path}/down/prompts/v_star/*.json" in out
    assert run("check", "--profile", write_profile(tmp_path, folders % '"rlaif_v", "povid"')) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "files are missing of povid"
    assert run("check", "--profile", write_profile(tmp_path, "")) == 2
    assert "data.root of the profile my is empty" in capsys.readouterr().err
    assert run("check") == 2
    assert "give --root FOLDER" in capsys.readouterr().err


def test_what_a_build_lacks_is_said_at_once(world: Path, tmp_path: Path) -> None:
    require(world)
    (tmp_path / "rlaif_v").symlink_to(world / "rlaif_v")
    with pytest.raises(FileNotFoundError) as error:
        require(tmp_path, sources=("rlaif_v", "povid", "mm_rlhf_mcq"))
    assert str(error.value) == (
        f"data are missing: povid (POVID*.json or *.json in {tmp_path}/povid); "
        f"mm_rlhf_mcq (dpo_pairs.jsonl in {tmp_path}/mm_rlhf); "
        f"vl_rewardbench (*.parquet or data/*.parquet or *.jsonl in {tmp_path}/vl_rewardbench). "
        "`r1reward data check` says more"
    )


def test_benchmarks_are_where_their_loaders_look(world: Path, tmp_path: Path) -> None:
    """What `check` counts as there is what `load_benchmarks` reads."""
    states = {state.spec.name: state for state in examine(Roots(world, world))}
    found = load_benchmarks(world, cache=tmp_path)
    assert {name for name in REWARD_BENCHMARKS if not states[name].missing} == set(found)


def test_a_zip_or_a_folder_will_do(tmp_path: Path) -> None:
    folder = tmp_path / "mm_rlhf"
    (folder / "long").mkdir(parents=True)
    for name in ("dpo_pairs.jsonl", "short.zip", "long/a.jpg"):
        (folder / name).write_text("")
    complete = {state.spec.name for state in examine(Roots(tmp_path, tmp_path)) if not state.missing}
    assert complete == {"mm_rlhf_long", "mm_rlhf_short"}


def test_fetch_asks_for_the_files_of_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(hub_id: str, **given: Any) -> None:
        asked.update(given, hub_id=hub_id)
        for name in given["allow_patterns"]:
            given["local_dir"].mkdir(parents=True, exist_ok=True)
            (given["local_dir"] / name).write_text("")

    monkeypatch.setattr(catalogue, "snapshot_download", download)
    assert [*fetch(["mm_rlhf_mcq"], Roots(tmp_path, tmp_path))] == [("mm_rlhf_mcq", tmp_path / "mm_rlhf")]
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
    assert run("fetch", "povid", "--root", tmp_path) == 2
    message = capsys.readouterr().err
    assert "YiyangAiLab/POVID_preference_data_for_VLLMs was not fetched whole" in message
    assert f"put the rows (*.json) into {tmp_path}/povid" in message
    assert "http://images.cocodataset.org/zips/train2014.zip" in message


def test_a_client_that_fetches_nothing_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "snapshot_download", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match="was not fetched whole"):
        list(fetch(["rlaif_v"], Roots(tmp_path, tmp_path)))


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_data_set_can_be_fetched_or_says_from_where(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(catalogue, "snapshot_download", lambda hub_id, **_: asked.append(hub_id))
    spec, roots = CATALOGUE[name], Roots(tmp_path / "data", tmp_path / "down")
    with pytest.raises(RuntimeError, match="By hand: put the") as error:
        list(fetch([name], roots))
    assert asked == [spec.hub_id] * bool(spec.hub_id)
    assert str(roots.of(name) / spec.folder) in str(error.value) and "\n" not in str(error.value)
    assert all(files.hub_patterns or files.note for files in spec.files)


def test_the_released_rl_set_is_fetched_at_its_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    revisions: list[str] = []

    def download(hub_id: str, **given: Any) -> None:
        revisions.append(given["revision"])
        given["local_dir"].mkdir(parents=True)
        (given["local_dir"] / "a.parquet").write_text("")

    monkeypatch.setattr(catalogue, "snapshot_download", download)
    assert run("fetch", "r1_reward_rl", "vl_rewardbench", "--root", tmp_path) == 0
    assert revisions == ["c3243abfad994265c38923a15fc0b2749c9df3c0", None]
    assert capsys.readouterr().out == (
        f"r1_reward_rl is in {tmp_path}/r1_reward_rl\nvl_rewardbench is in {tmp_path}/vl_rewardbench\n"
    )


def test_an_unknown_name_is_named_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(ValueError, match="'wildvision'; did you mean"):
        list(fetch(["rlaif_v", "wildvision"], Roots(tmp_path, tmp_path)))
