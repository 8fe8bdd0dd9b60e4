"""VLMEvalKit: its command, and result files as its code writes them."""

import json
import os

import pytest

from r1reward.benchmarks import units_of
from r1reward.config import load_profile
from r1reward.downstream.vlm_benchmarks import BENCHMARKS
from r1reward.downstream.vlmevalkit import (
    harness_commands,
    harness_name,
    read_results,
    require_results,
)

TABLES = {
    "HallusionBench_auxmatch": "index\tcategory\tl2-category\tscore\n"
    "x_VD_figure_0_0_0\tVD\tfigure\tTrue\nx_VD_figure_0_1_0\tVD\tfigure\tFalse\n",
    "MMBench_DEV_EN_V11_exact_matching_result": "index\thit\n7\t1\n8\t0\n",
    "MME-RealWorld-Lite_score": "index\tcategory\tscore\n0\tPerception/OCR\t1\n1\tReasoning/Monitoring\t-1\n",
    "LLaVABench_openai_result": "index\tscore\tgpt4_score\n0\t8\t8\n1\t4\t8\n",
    "WildVision_gpt-4o": "index\tscore\na\tB>>A\nb\tA=B\nc\tB>A\nd\tUnknown\n",
}


def write(folder, name, text):
    path = folder / "results" / "policy" / "T20260101" / f"policy_{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_commands_name_checkpoint_data_and_work_folder(tmp_path):
    checkpoint = tmp_path / "run" / "model"
    checkpoint.mkdir(parents=True)
    asked = {"checkpoint": checkpoint, "name": "qwen2_5_x", "out": tmp_path / "out"}
    exact, judged = harness_commands(load_profile("paper"), benchmarks=[*BENCHMARKS], **asked)
    assert exact.endswith("--judge exact_matching") and f"--work-dir {tmp_path}/out/results" in judged
    assert "--data" not in exact and "--model" not in exact, "the harness refuses them beside --config"
    config = json.loads((tmp_path / "out" / "qwen2_5_x_exact.json").read_text())
    assert set(config["data"]) == {name for name, one in BENCHMARKS.items() if not one.open}
    linked = config["model"]["qwen2_5_x"]["model_path"]
    assert linked.endswith("qwen2_5_x") and os.path.realpath(linked) == str(checkpoint.resolve())
    (only,) = harness_commands(load_profile("paper"), benchmarks=["WildVision"], **asked)
    assert "qwen2_5_x_open.json" in only


def test_other_weights_have_another_name(tmp_path):
    names = set()
    for content in (b"a", b"b"):
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "model.safetensors").write_bytes(content)
        names.add(harness_name(tmp_path, "start/seed_0"))
    assert len(names) == 2 and all(name.startswith("qwen2_5_vl_start_seed_0_") for name in names)


def test_results_become_the_columns_of_table_11(tmp_path):
    for name, text in TABLES.items():
        write(tmp_path, name, text.replace("Unknown", "A=B").replace("True", "1").replace("False", "0"))
    write(tmp_path, "MMStar", "index\tprediction\n0\tB\n")
    found = read_results(tmp_path, "policy")
    assert "MMStar" not in found and "VStarBench" not in found
    columns = {
        column: sum(units.values()) / len(units)
        for lines in found.values()
        for column, units in units_of(lines).items()
    }
    assert columns == pytest.approx(
        {
            "hallucination_bench_aacc": 0.5,
            "hallucination_bench_facc": 0.5,
            "hallucination_bench_qacc": 0.0,
            "mmbench_v1_1": 0.5,
            "mme_realworld_lite_perception": 1.0,
            "mme_realworld_lite_reasoning": 0.0,
            "llava_wild": 0.75,
            "wildvision": 0.5,
        }
    )


LLAVA = [
    # The judge's scores of the reference and the model, -1 where it failed, and what LLaVABench_score prints.
    ([[7, 5], [8, 10], [10, 4], [10, 3], [9, 7], [10, 6], [7, 10], [10, 10], [9, 5], [7, 5]], 74.712644),
    ([[7, 3], [8, 3], [-1, -1], [10, 9], [9, 9], [10, 10], [7, 8], [6, 3], [7, 10], [7, 7], [9, 7], [9, 9]],
     87.5),
    ([[-1, -1], [10, 9], [10, 6], [8, 3], [-1, -1], [8, 4], [7, 7], [8, 4], [6, 10], [-1, -1]], 74.074074),
    ([[8, 4], [-1, -1], [-1, -1], [-1, -1], [6, 3], [10, 3]], 33.333333),
]  # fmt: skip


@pytest.mark.parametrize(("scores", "printed"), LLAVA)
def test_failed_judgments_of_llava_wild_count_on_both_sides(tmp_path, scores, printed):
    rows = "".join(f"{index}\t{own}\t{other}\n" for index, (other, own) in enumerate(scores))
    write(tmp_path, "LLaVABench_openai_result", f"index\tscore\tgpt4_score\n{rows}")
    (units,) = units_of(read_results(tmp_path, "policy")["LLaVABench"]).values()
    assert 100 * sum(units.values()) / len(units) == pytest.approx(printed, abs=1e-6)


def test_any_other_verdict_about_wildvision_is_no_win(tmp_path):
    verdicts = ["B>>A", "B>A", "A=B", "A>B", "A>>B", "Unknown", "", "nan", "b>a", "1"]
    rows = "".join(f"{index}\t{verdict}\n" for index, verdict in enumerate(verdicts))
    write(tmp_path, "WildVision_gpt-4o", f"index\tscore\n{rows}")
    points = [line["points"] for line in read_results(tmp_path, "policy")["WildVision"]]
    assert points == [1.0, 1.0, *[0.0] * 8]


def test_truth_values_and_unknown_verdicts_count(tmp_path):
    for name in ("HallusionBench_auxmatch", "WildVision_gpt-4o"):
        write(tmp_path, name, TABLES[name])
    found = read_results(tmp_path, "policy")
    assert [line["points"] for line in found["HallusionBench"]] == [1.0, 0.0]
    assert [line["points"] for line in found["WildVision"]] == [1.0, 0.0, 1.0, 0.0]


def test_the_newest_result_counts_and_a_faulty_row_is_named(tmp_path):
    old = write(tmp_path, "MMStar_old", "index\thit\n0\t1\n")
    os.utime(old, (1, 1))
    write(tmp_path, "MMStar_new", "index\thit\n0\t0\n")
    assert read_results(tmp_path, "policy")["MMStar"][0]["points"] == 0.0
    write(tmp_path, "MMStar_newest", "index\thit\n0\tmaybe\n")
    with pytest.raises(ValueError, match=r"MMStar_newest\.tsv, row 1: .*maybe"):
        read_results(tmp_path, "policy")


def test_missing_results_stop_with_the_commands(tmp_path):
    """And only what is missing is asked for; what is there is taken already."""
    profile = load_profile("paper", overrides={"downstream": {"harness": str(tmp_path)}})
    checkpoint, place = "Qwen/Qwen2.5-VL-3B-Instruct", "start/seed_0"
    record, name = tmp_path / "record" / place, harness_name(checkpoint, place)
    folder = tmp_path / "results" / name / "T"
    folder.mkdir(parents=True)
    names = ["MMStar", *(name for name in BENCHMARKS if name != "MMStar")]
    for benchmark in names:
        with pytest.raises(RuntimeError, match=r"VLMEvalKit(.|\n)*run\.py"):
            require_results({place: checkpoint}, profile, record=tmp_path / "record")
        index = "0" if benchmark == "MMBench_DEV_EN_V11" else "x_VD_figure_0_0_0"
        text = f"index\tcategory\tl2-category\tscore\n{index}\tPerception/OCR\tfigure\t1\n"
        (folder / f"{name}_{benchmark}_result.tsv").write_text(text)
        if benchmark == names[1]:
            asked = json.loads((tmp_path / f"{name}_exact.json").read_text())["data"]
            assert "MMStar" not in asked and benchmark in asked
            assert [path.stem for path in record.glob("*.jsonl")] == ["MMStar"]
    require_results({place: checkpoint}, profile, record=tmp_path / "record")
    assert len(list(record.glob("*.jsonl"))) == len(BENCHMARKS)
