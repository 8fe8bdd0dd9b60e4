"""R1-Reward-RL: the authors' own RL data, whose pairs are inside the judge prompt of each row.

`message` is a chat as JSON text with one user turn, `answer` is like ["<answer>2</answer>"], `image` is
base64. The responses stay in the order of the prompt, so either may be preferred. It is not one of the
eight subsets of Table 2 but what came out of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from r1reward.data.rows import mapping, scan_parquet, text_field
from r1reward.data.sources.base import FilesSpec, RowPair, SourceSpec, make_reader, strip_image_tag
from r1reward.files import RefusedRow, Row, scan_jsonl
from r1reward.parsing import parse_verdict
from r1reward.prompts import parse_judge_prompt
from r1reward.types import Verdict

SPEC = SourceSpec(
    name="r1_reward_rl",
    folder="r1_reward_rl",
    hub_id="yifanzhang114/R1-Reward-RL",
    revision="c3243abfad994265c38923a15fc0b2749c9df3c0",
    licence="apache-2.0",
    files=(FilesSpec("rows with pictures", ("*.parquet", "data/*.parquet", "*.jsonl"), ("*.parquet",)),),
    unverified="the card of this revision counts 17,261 rows, another listing 48,296; no file was opened",
)
COLUMNS = ("message", "answer", "image")


def _prompt(message: str, origin: str) -> str:
    """The text of the only user turn of a chat given as JSON."""
    try:
        turns = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise RefusedRow(origin, "field 'message' is not JSON", f"message: {error}") from error
    if not isinstance(turns, list) or len(turns) != 1:
        raise RefusedRow(origin, "field 'message' is not one turn")
    content = mapping(turns[0], origin).get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part for part in parts if mapping(part, origin).get("type") == "text"]
    return "\n".join(text_field(part, "text", origin) for part in texts)


def _parse(row: Mapping[str, Any], number: int, origin: str) -> RowPair:
    fields = parse_judge_prompt(_prompt(text_field(row, "message", origin), origin), name="paper")
    if fields is None:
        raise RefusedRow(origin, "not the released prompt", "message: a mark of the prompt is not there once")
    answers = row.get("answer")
    texts = answers if isinstance(answers, list) else []
    verdicts = {parse_verdict(answer) if isinstance(answer, str) else None for answer in texts}
    if verdicts not in ({Verdict.FIRST}, {Verdict.SECOND}):
        raise RefusedRow(origin, "field 'answer' names no response", f"answer is {answers!r:.100}")
    image = text_field(row, "image", origin)
    picture = image if image.startswith("data:") else f"data:;base64,{image}"
    question, first, second = fields
    preferred = 1 if verdicts == {Verdict.FIRST} else 2
    return RowPair(strip_image_tag(question), (first, second), picture, "", preferred)


def _scan(path: Path) -> Iterator[Row]:
    return scan_jsonl(path) if path.suffix == ".jsonl" else scan_parquet(path, COLUMNS)


read = make_reader(SPEC, _parse, scan=_scan)
