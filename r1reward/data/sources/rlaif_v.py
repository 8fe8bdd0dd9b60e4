"""RLAIF-V: parquet files with the pictures inside, one preference pair a row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from r1reward.data.rows import scan_parquet, text_field
from r1reward.data.sources.base import FilesSpec, RowPair, SourceSpec, make_reader, strip_image_tag
from r1reward.data.sources.pictures import embedded_picture

SPEC = SourceSpec(
    name="rlaif_v",
    folder="rlaif_v",
    hub_id="openbmb/RLAIF-V-Dataset",
    licence="cc-by-nc-4.0",
    expected_count=74_802,
    table_2_name="RLAIF-V",
    files=(FilesSpec("rows with pictures", ("*.parquet", "data/*.parquet"), ("*.parquet",)),),
    unverified="the hub's card counts 83,132 rows; which 74,802 the paper took is not stated",
)
COLUMNS = ("image", "question", "chosen", "rejected", "image_path")


def _parse(row: Mapping[str, Any], number: int, origin: str) -> RowPair:
    question = strip_image_tag(text_field(row, "question", origin))
    responses = text_field(row, "chosen", origin), text_field(row, "rejected", origin)
    data, name = embedded_picture(row, origin)
    return RowPair(question, responses, data, name)


read = make_reader(SPEC, _parse, scan=partial(scan_parquet, columns=COLUMNS))
