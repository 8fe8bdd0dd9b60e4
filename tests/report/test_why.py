import json
from pathlib import Path

import pytest

from r1reward.report.why import explain, table_rows

MANIFEST = {
    "notebook": "05_ablations",
    "seeds": [0, 1, 2],
    "git": {"commit": "abc123", "modified": True},
    "device": {"cores": 2},
}


@pytest.fixture
def run_with_manifest(run_root: Path) -> Path:
    files = (run_root / "records" / "grid").rglob("*.json*")
    outputs = {file.relative_to(run_root).as_posix(): "hash" for file in files}
    (run_root / "manifests").mkdir()
    (run_root / "manifests" / "05_ablations.json").write_text(json.dumps({**MANIFEST, "outputs": outputs}))
    for seed in range(3):
        folder = run_root / f"records/grid/wo_filter/seed_{seed}"
        run = {"start": f"start{seed}", "seed": seed, "rl": {"advantage_limit": "off"}}
        status = {"status": "finished", "step": 48, "reason": "", "weights": f"hash{seed}", "run": run}
        (folder / "status.json").write_text(json.dumps(status))
        about = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(about | {"device": f"card {seed}"}))
    return run_root


def test_a_row_names_records_settings_checkpoint_commit_and_command(run_with_manifest: Path) -> None:
    text = explain(run_with_manifest, "table_05:wo_filter")
    for part in (
        "table_05, wo advantage",
        "records/grid/wo_filter/seed_2/metrics.jsonl",
        'rl        {"advantage_limit": "off"}',
        "start     start1",
        "weights   hash1",
        "status    finished after 48 steps",
        "device    card 2",
        "commit    abc123 with changes",
        'machine   {"cores": 2}',
        "command   r1reward run 05_ablations --profile synthetic --seeds 3",
        "training, seed 0, 1, 2\n",
        "judging, seed 0, 1, 2\n",
    ):
        assert part in text, part
    assert text.count("abc123") == 2, "once for the training of all seeds, once for the judging"


def test_an_identical_variant_points_to_its_reference(run_with_manifest: Path) -> None:
    text = explain(run_with_manifest, "table_06:wo_pre_clip")
    assert "identical by construction" in text
    assert "records/rl/stable_reinforce/seed_0/metrics.jsonl" in text
    assert "no manifest names these records" in text


def test_a_table_alone_lists_its_rows(run_root: Path) -> None:
    text = explain(run_root, "table_07")
    assert "table_07:external" in text and "table_07:weight_0.0" in text
    assert set(table_rows()) == {f"table_{number:02d}" for number in (3, 4, 5, 6, 7, 8, 10, 11, 12, 13)}


def test_annotators_and_cold_start_have_trainings(run_root: Path) -> None:
    assert "records/annotators/weak/seed_1/annotation.json" in explain(run_root, "table_10:annotator_weak")
    assert "bench/vl_rewardbench/sft/seed_0/greedy.jsonl" in explain(run_root, "table_03:sft")


def test_votes_name_their_pools(run_root: Path) -> None:
    pool = "records/scaling/vl_rewardbench/stable_reinforce/seed_0/pool.jsonl"
    (run_root / pool).parent.mkdir(parents=True)
    (run_root / pool).write_text("{}")
    for table in ("table_12", "table_03"):
        text = explain(run_root, f"{table}:stable_reinforce")
        assert pool in text
        assert ("greedy.jsonl" in text) == (table == "table_03")


def test_what_was_not_run_says_so(run_root: Path) -> None:
    assert explain(run_root, "table_05:grpo").endswith("GRPO: not run")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("table_5:sft", "no table is called table_5; did you mean table_05"),
        ("table_05:wo_preclip", "no row of table_05 is called wo_preclip; did you mean wo_pre_clip"),
    ],
)
def test_unknown_names_get_the_nearest(run_root: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explain(run_root, name)


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no records"):
        explain(tmp_path, "table_05")


def test_a_policy_names_its_training_and_its_answers(run_root: Path) -> None:
    for name in ("training", "start", "trained"):
        folder = run_root / "records" / "downstream" / name / "seed_0"
        folder.mkdir(parents=True)
        (folder / "a.jsonl").write_text("")
    text = explain(run_root, "table_11:trained")
    assert "records/downstream/training/seed_0/a.jsonl" in text
    assert "records/downstream/trained/seed_0/a.jsonl" in text
    assert "training" not in explain(run_root, "table_11:start")
