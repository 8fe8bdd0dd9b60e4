"""MM-RLHF: the pairs of `dpo_pairs.jsonl`, ranked by people; a source for each subset of Table 2.

The subset is the first part of the path of a row's picture (`long/…`, `short/…`, `mcq/…`, `safety/…`,
`video/…`). Each source reads the one file and passes over the rows of the others, so a row has the same
number in all of them. A row that names no subset is refused by each of them. Pictures lie unpacked in
their folders or are read from `long.zip` and so on. The videos are not in Table 2; they are a source of
their own for those who want them, with frames in a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1reward.data.rows import text_field
from r1reward.data.sources.base import FilesSpec, RowPair, Source, SourceSpec, make_reader, strip_image_tag
from r1reward.files import RefusedRow, scan_jsonl

SUBSETS = ("long", "short", "mcq", "safety", "video")
COUNTS = {"long": 41_163, "short": 46_281, "mcq": 8_306, "safety": 9_990}
ROWS = FilesSpec("rows", ("dpo_pairs.jsonl",), ("dpo_pairs.jsonl",))


def _parse(row: Mapping[str, Any], subset: str, origin: str) -> RowPair | None:
    is_video = row.get("video") is not None
    name = text_field(row, "video" if is_video else "image", origin)
    found = name.removeprefix("./").split("/")[0]
    if found not in SUBSETS:
        raise RefusedRow(origin, "path of no subset", f"{name!r} starts with none of {', '.join(SUBSETS)}")
    if found != subset:
        return None
    question = strip_image_tag(text_field(row, "prompt", origin))
    responses = text_field(row, "chosen", origin), text_field(row, "rejected", origin)
    return RowPair(question, responses, name, name, is_video=is_video)


def _make_source(subset: str) -> Source:
    if subset == "video":
        files = FilesSpec("frames", ("video/*/*",), ("video.zip",), "unpacked; a video is a folder of frames")
    else:
        files = FilesSpec("pictures", (f"{subset}/*", f"{subset}.zip"), (f"{subset}.zip",))
    spec = SourceSpec(
        name=f"mm_rlhf_{subset}",
        folder="mm_rlhf",
        hub_id="yifanzhang114/MM-RLHF",
        licence="not stated (the code is Apache-2.0)",
        expected_count=COUNTS.get(subset),
        table_2_name=f"MM-RLHF-{subset.capitalize()}" if subset in COUNTS else "",
        files=(ROWS, files),
        unverified="the authors speak of 120k pairs, Table 2 adds up to 105,740 without videos",
    )
    return Source(
        spec,
        make_reader(
            spec,
            lambda row, number, origin: _parse(row, subset, origin),
            scan=scan_jsonl,
            archives=(f"{subset}.zip",),
        ),
    )


ALL = {subset: _make_source(subset) for subset in SUBSETS}
