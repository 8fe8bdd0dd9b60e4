"""One bad row of a benchmark costs that row, and whoever reads the scores is told."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from known_judge import KnownJudge
from PIL import Image

from r1reward.bench import evaluate as module
from r1reward.bench import mm_rlhf_rewardbench, multimodal_rewardbench, vl_rewardbench
from r1reward.bench.evaluate import judge_often
from r1reward.bench.judging import generative_judge, run_benchmark
from r1reward.benchmarks import MM_RLHF, MULTIMODAL, VL
from r1reward.config import load_profile
from r1reward.data.storage import read_pairs, write_pairs
from r1reward.engines import Sampling
from r1reward.files import read_jsonl
from r1reward.report.records import Records
from r1reward.report.render import TABLES
from r1reward.types import PreferencePair

GOOD: dict[str, dict[str, Any]] = {
    VL: {"id": "mathverse_1", "image": "mcq/a.png", "prompt": "q", "chosen": "a", "rejected": "b"},
    MULTIMODAL: {"ID": "math_1", "Image": "mcq/a.png", "Category": "reasoning", "Text": "q", "Output1": "a",
                 "Output2": "b", "Better": "Output1"},
    MM_RLHF: {"id": "1", "image": "mcq/a.png", "prompt": "q", "chosen": "a", "rejected": "b"},
}  # fmt: skip
PICTURE = {VL: "image", MULTIMODAL: "Image", MM_RLHF: "image"}
TEXT = {VL: "prompt", MULTIMODAL: "Text", MM_RLHF: "prompt"}
SUMMARY = "3 of 5 rows left out: field '{}' is missing or not text 1, not an object 1, picture not found 1"


def load(name: str, file: Path) -> list[PreferencePair]:
    if name == VL:
        return vl_rewardbench.load_benchmark(file, pictures=file.parent)
    return (multimodal_rewardbench if name == MULTIMODAL else mm_rlhf_rewardbench).load_benchmark(file)


def write(name: str, folder: Path, rows: Sequence[Any]) -> Path:
    (folder / "mcq").mkdir(exist_ok=True)
    Image.new("RGB", (28, 28), "red").save(folder / "mcq" / "a.png")
    lines = [json.dumps(row) for row in rows]
    text = f"[{','.join(lines)}]" if name == MULTIMODAL else "\n".join(lines)
    file = folder / ("rows.json" if name == MULTIMODAL else "rows.jsonl")
    file.write_text(text)
    return file


def faulty(name: str) -> list[Any]:
    """Five rows, of which the second, the third and the fourth have a fault."""
    good = GOOD[name]
    gone, number = {**good, PICTURE[name]: "mcq/gone.png"}, {**good, TEXT[name]: "q", PICTURE[name]: 3}
    return [good, gone, [good], number, good]


@pytest.mark.parametrize("name", GOOD)
def test_a_faulty_row_costs_itself_and_every_pair_says_so(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(name, tmp_path, faulty(name))
    pairs = load(name, file)
    assert [pair.meta["row"] for pair in pairs] == [0, 4]
    assert {pair.meta["left_out"] for pair in pairs} == {SUMMARY.format(PICTURE[name])}
    assert f"3 of 5 rows are faulty and left out, the first: {file}, row 2: picture" in caplog.text
    with pytest.raises(ValueError, match=rf"all 3 rows are faulty, the first: {file}, row 1: "):
        load(name, write(name, tmp_path, faulty(name)[1:4]))
    caplog.clear()
    assert "left_out" not in load(name, write(name, tmp_path, [GOOD[name]]))[0].meta and not caplog.text


def test_a_malformed_line_is_a_row(tmp_path: Path) -> None:
    file = write(VL, tmp_path, [GOOD[VL]] * 3)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1][:40], lines[2]]))
    pairs = load(VL, file)
    assert [(pair.meta["row"], pair.meta["left_out"]) for pair in pairs] == [
        (0, "1 of 3 rows left out: not JSON 1"),
        (2, "1 of 3 rows left out: not JSON 1"),
    ]


@pytest.mark.parametrize("name", ["rows.json", "rows.parquet"])
def test_a_file_whose_rows_nobody_can_count_is_an_error(name: str, tmp_path: Path) -> None:
    """Scores over what happens to stand before a fault would be anybody's guess."""
    file = tmp_path / name
    file.write_text(json.dumps([GOOD[MULTIMODAL]] * 3)[:-30])
    with pytest.raises(ValueError, match=rf"^{file}: not "):
        load(MULTIMODAL, file)


def test_records_and_tables_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the file to the note below a table, through the file of pairs that the notebooks hand on."""
    pairs = read_pairs(write_pairs(tmp_path / "pairs.jsonl", load(VL, write(VL, tmp_path, faulty(VL)))))
    place = tmp_path / "run/records/bench" / VL / "sft/seed_0"
    judge, sampling = KnownJudge(pairs), Sampling(8, temperature=0.0)
    run_benchmark(
        generative_judge(judge, sampling, prompt="mini"),
        pairs,
        work=tmp_path / "w",
        record=place / "greedy.jsonl",
    )
    said = SUMMARY.format("image")
    assert [line["left_out"] for line in read_jsonl(place / "greedy.jsonl")] == [said] * 2
    pool = tmp_path / "pool.jsonl"
    monkeypatch.setattr(module, "load_engine", lambda *_: judge)
    monkeypatch.setattr(module, "identify", lambda *_: "judge")
    judge_often("judge", pairs, profile=load_profile("smoke"), seed=0, work=tmp_path / "p", record=pool)
    assert [line["left_out"] for line in read_jsonl(pool)] == [said] * 2
    records = Records.of_run(tmp_path / "run")
    about_vl = ("table_03", "table_05", "table_06", "table_07", "table_10", "table_12", "table_13",
                "extra_judge_behaviour", "extra_paired_differences", "extra_steering")  # fmt: skip
    for name in about_vl:
        notes = TABLES[name](records).attrs["notes"]
        assert any(note.startswith(f"VL-RewardBench: {said}.") for note in notes), name
    assert not any("left out" in note for note in TABLES["table_04"](records).attrs["notes"])
