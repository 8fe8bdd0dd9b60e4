"""VLMEvalKit: its command, and result files as its code writes them."""

import json
import os

import pytest

from r1reward.benchmarks import units_of
from r1reward.config import load_profile
from r1reward.downstream.vlmevalkit import harness_command, read_results

TABLES = {
    "HallusionBench_auxmatch": "index\tcategory\tl2-category\tscore\n"
    "x_VD_figure_0_0_0\tVD\tfigure\tTrue\nx_VD_figure_0_1_0\tVD\tfigure\tFalse\n",
    "MMBench_DEV_EN_V11_exact_matching_result": "index\thit\n7\t1\n8\t0\n",
    "MME-RealWorld-Lite_score": "index\tcategory\tscore\n0\tPerception/OCR\t1\n1\tReasoning/Monitoring\t-1\n",
    "LLaVABench_openai_result": "index\tscore\tgpt4_score\n0\t8\t8\n1\t4\t8\n",
    "WildVision_gpt-4o": "index\tscore\na\tB>>A\nb\tA=B\nc\tB>A\nd\tUnknown\n",
}


def write(folder, name, text):
    path = folder / "policy" / "T20260101" / f"policy_{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_command_names_benchmarks_checkpoint_and_work_folder(tmp_path):
    text = harness_command(load_profile("paper"), checkpoint="/models/p", name="trained", out=tmp_path)
    exact, judged = text.splitlines()
    assert "HallusionBench MMBench_DEV_EN_V11 MME-RealWorld-Lite MMStar VStarBench --judge exact" in exact
    assert judged.endswith("--data LLaVABench WildVision") and f"--work-dir {tmp_path}" in judged
    config = json.loads((tmp_path / "trained.json").read_text())
    assert config["model"]["trained"]["model_path"] == "/models/p"
    assert config["model"]["trained"]["max_pixels"] == 501760


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
