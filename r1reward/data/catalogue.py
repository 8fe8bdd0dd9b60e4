"""What lies where: every data set that a command reads, with its files on the hub and on this disk.

Training data and reward benchmarks lie below `data.root`, prompts and benchmarks of the downstream policy
below `downstream.root`. Loaders take their file names from here, `data check` and `data fetch` everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from r1reward import benchmarks
from r1reward.data.sources import OTHER_SOURCES, SOURCES
from r1reward.data.sources.base import FilesSpec, SourceSpec

_PARQUET = ("*.parquet", "data/*.parquet")
_HARNESS = "https://opencompass.openxlab.space/utils"
_NOT_OPENED = "no file of the hub was opened"


def _by_name(specs: Iterable[SourceSpec]) -> dict[str, SourceSpec]:
    return {spec.name: spec for spec in specs}


def _reward_benchmark(name: str, hub_id: str, **given: object) -> SourceSpec:
    values = {"revision": None, "table_2_name": "", "unverified": _NOT_OPENED, **given}
    return SourceSpec(name=name, folder=name, hub_id=hub_id, **values)  # type: ignore[arg-type]


def _prompts(name: str, hub_id: str, licence: str, *files: FilesSpec) -> SourceSpec:
    return SourceSpec(
        name=name,
        folder=f"prompts/{name}",
        hub_id=hub_id,
        revision=None,
        licence=licence,
        expected_count=None,
        table_2_name="",
        files=files,
        unverified="the schema is from cards and from code that reads it",
    )


def _downstream(name: str, where: str, hub_id: str = "", hub_file: str = "") -> SourceSpec:
    """A file of VLMEvalKit; `where` is its address, in `vlmeval/dataset` of the harness."""
    file = f"{name}.tsv"
    on_hub = (hub_file,) if hub_file == file else ()
    note = "" if on_hub else f"from {where}, as {file}"
    return SourceSpec(
        name=name,
        folder="benchmarks",
        hub_id=hub_id if on_hub else "",
        revision=None,
        licence="not stated",
        expected_count=None,
        table_2_name="",
        files=(FilesSpec("rows with pictures", (file,), on_hub, note),),
    )


TRAINING: Mapping[str, SourceSpec] = _by_name(source.spec for source in (SOURCES | OTHER_SOURCES).values())
REWARD_BENCHMARKS: Mapping[str, SourceSpec] = _by_name(
    [
        _reward_benchmark(
            benchmarks.VL,
            "MMInstruction/VL-RewardBench",
            licence="mit, research use only",
            expected_count=1250,
            files=(
                FilesSpec("rows with pictures", (*_PARQUET, "*.jsonl"), _PARQUET, "of its split test alone"),
            ),
        ),
        _reward_benchmark(
            benchmarks.MULTIMODAL,
            "syhuggingface/multimodal_rewardbench",
            licence="cc-by-nc-4.0",
            expected_count=4711,
            files=(
                FilesSpec(
                    "rows",
                    (*_PARQUET, "data/all_data.json", "all_data.json"),
                    _PARQUET,
                    "a mirror; the authors' 0_download_data.py makes data/all_data.json",
                ),
            ),
        ),
        _reward_benchmark(
            benchmarks.MM_RLHF,
            "yifanzhang114/MM-RLHF-RewardBench",
            licence="apache-2.0",
            expected_count=170,
            files=(
                FilesSpec("rows", ("mm_reward_bench.jsonl", "*.jsonl"), ("mm_reward_bench.jsonl",)),
                FilesSpec(
                    "pictures and frames",
                    ("mcq/*", "images/mcq/*"),
                    ("images/*",),
                    "mcq, long and so on, also in images; a video is a folder of frames",
                ),
            ),
        ),
    ]
)
PROMPT_SETS: Mapping[str, SourceSpec] = _by_name(
    [
        _prompts(
            "v_star",
            "craigwu/seal_vqa_data",
            "not stated",
            FilesSpec("rows", ("*.json",), ("*.json",)),
            FilesSpec("pictures", ("*/*",), (), "from the data sets that the rows name (COCO, GQA)"),
        ),
        _prompts(
            "arxivqa",
            "MMInstruction/ArxivQA",
            "cc-by-sa-4.0",
            FilesSpec("rows", ("*.jsonl",), ("*.jsonl",)),
            FilesSpec("pictures", ("images/*",), ("images.tgz",), "unpacked"),
        ),
        _prompts(
            "thinklite_vl",
            "russwang/ThinkLite-VL-70k",
            "MIT, by its card",
            FilesSpec("rows with pictures", _PARQUET, _PARQUET),
        ),
        _prompts(
            "deepeyes_47k",
            "ChenShawn/DeepEyes-Datasets-47k",
            "not stated",
            FilesSpec("rows with pictures", _PARQUET, _PARQUET),
        ),
    ]
)
DOWNSTREAM_BENCHMARKS: Mapping[str, SourceSpec] = _by_name(
    [
        _downstream("HallusionBench", f"{_HARNESS}/VLMEval/HallusionBench.tsv"),
        _downstream("MMBench_DEV_EN_V11", f"{_HARNESS}/benchmarks/MMBench/MMBench_DEV_EN_V11.tsv"),
        _downstream(
            "MME-RealWorld-Lite",
            "https://huggingface.co/datasets/yifanzhang114/MME-RealWorld-Base64 (mme_realworld_lite.tsv)",
        ),
        _downstream("MMStar", f"{_HARNESS}/VLMEval/MMStar.tsv"),
        _downstream("VStarBench", "the hub", "xjtupanda/VStar_Bench", "VStarBench.tsv"),
        _downstream("LLaVABench", f"{_HARNESS}/VLMEval/LLaVABench.tsv"),
        _downstream("WildVision", f"{_HARNESS}/VLMEval/WildVision.tsv"),
    ]
)
DOWNSTREAM: Mapping[str, SourceSpec] = {**PROMPT_SETS, **DOWNSTREAM_BENCHMARKS}
CATALOGUE: Mapping[str, SourceSpec] = {**TRAINING, **REWARD_BENCHMARKS, **DOWNSTREAM}


def needed_for_training(sources: Iterable[str] = ()) -> tuple[str, ...]:
    """Names without which notebook 01 cannot run: sources (none means all of Table 2) and VL-RewardBench."""
    return (*(tuple(sources) or SOURCES), benchmarks.VL)
