"""POVID: a JSON list of LLaVA conversations with a rejected twin; pictures are COCO train2014."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1reward.data.rows import DroppedRow, mapping, scan_json_list, text_field
from r1reward.data.sources.base import FilesSpec, RowPair, SourceSpec, make_reader, strip_image_tag
from r1reward.files import RefusedRow

SPEC = SourceSpec(
    name="povid",
    folder="povid",
    hub_id="YiyangAiLab/POVID_preference_data_for_VLLMs",
    licence="cc-by-4.0",
    expected_count=17_184,
    table_2_name="POVID",
    files=(
        FilesSpec("rows", ("POVID*.json", "*.json"), ("*.json",)),
        FilesSpec(
            "pictures",
            ("images/*", "train2014/*", "train2014.zip"),
            (),
            "COCO train2014, from http://images.cocodataset.org/zips/train2014.zip; the zip may stay packed",
        ),
    ),
)


def _exchange(row: Mapping[str, Any], name: str, origin: str) -> tuple[str, str, int]:
    """(question, response, number of turns) of a conversation in LLaVA's form."""
    turns = row.get(name)
    if not isinstance(turns, list) or len(turns) < 2:
        raise RefusedRow(origin, f"field '{name}' is not a conversation")
    texts = {}
    for turn, speaker in zip(turns, ("human", "gpt"), strict=False):
        if text_field(mapping(turn, origin), "from", origin) != speaker:
            raise RefusedRow(origin, f"field '{name}' does not start with human and gpt")
        texts[speaker] = text_field(turn, "value", origin)
    return strip_image_tag(texts["human"]), texts["gpt"], len(turns)


def _parse(row: Mapping[str, Any], number: int, origin: str) -> RowPair:
    question, chosen, turns = _exchange(row, "conversations", origin)
    _, rejected, _ = _exchange(row, "rejected_conversations", origin)
    if turns > 2:
        raise DroppedRow("several turns")
    name = text_field(row, "image", origin)
    return RowPair(question, (chosen, rejected), name, name)


read = make_reader(
    SPEC, _parse, scan=scan_json_list, subfolders=("images", "train2014"), archives=("train2014.zip",)
)
