"""RLAIF-V, VL-Feedback, POVID and WildVision-Battle of the mini world, in their original schemas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from r1reward.files import write_atomic
from r1reward.mini.tasks import Case
from r1reward.mini.world.cases import Writer, spoil, write_picture
from r1reward.prompts import with_history

TASK_SHARES: dict[str, dict[str, float]] = {
    "rlaif_v": {"existence": 0.3, "colour": 0.2, "colours_2": 0.25, "describe": 0.25},
    "povid": {"describe": 0.5, "colours_3": 0.3, "existence": 0.2},
    "vl_feedback": {"count": 0.25, "digit": 0.2, "sum": 0.25, "shape": 0.1, "sign": 0.1, "secret": 0.1},
    "wildvision_battle": {"shape": 0.25, "sign": 0.15, "colours_2": 0.25, "digit": 0.15, "existence": 0.2},
}
ASPECTS = ("Helpfulness", "Ethical Considerations", "Visual Faithfulness")
# What becomes of a battle: mostly somebody wins; of several turns, the first two differ or not.
OUTCOMES = {"won": 0.7, "tie": 0.1, "tie (bothbad)": 0.1, "same history": 0.05, "other history": 0.05}
GREETINGS = ("hello . what shall i look at ?", "hi . what is it about ?")


def write_rlaif_v(folder: Path, count: int, writer: Writer) -> None:
    """One parquet file with the pictures inside."""
    rows = [
        {
            "ds_name": "mini-world",
            "image": {"bytes": png, "path": image},
            "question": case.question,
            "chosen": case.answer(case.right_values()),
            "rejected": spoil(case, rng),
            "origin_dataset": "mini-world",
            "origin_split": json.dumps({"model": "mini-world", "feedback": "world truth", "type": case.task}),
            "idx": row,
            "image_path": image,
        }
        for row, image, png, case, rng in writer.rows(count, TASK_SHARES["rlaif_v"])
    ]
    write_parquet(folder / "RLAIF-V-Dataset_000.parquet", rows)


def write_povid(folder: Path, count: int, writer: Writer) -> None:
    """A JSON list of conversations and a folder of pictures."""
    rows = []
    for row, image, png, case, rng in writer.rows(count, TASK_SHARES["povid"]):
        write_picture(folder / "images" / image, png)
        turn = {"from": "human", "value": f"<image>\n{case.question}"}
        rows.append(
            {
                "id": f"{row:012d}",
                "image": image,
                "conversations": [turn, {"from": "gpt", "value": case.answer(case.right_values())}],
                "rejected_conversations": [turn, {"from": "gpt", "value": spoil(case, rng)}],
            }
        )
    write_atomic(folder / "POVID_preference_data_for_VLLMs_version_1.json", json.dumps(rows))


def _completion(model: str, response: str, rating: int, rng: np.random.Generator) -> dict[str, object]:
    ratings = {aspect: str(rating) for aspect in ASPECTS}
    if rng.random() < 0.1:
        ratings["Ethical Considerations"] = "N/A"
    annotations = {aspect: {"Rating": ratings[aspect], "Rationale": ""} for aspect in ASPECTS}
    return {"annotations": annotations, "model": model, "response": response}


def write_vl_feedback(folder: Path, count: int, writer: Writer) -> None:
    """JSON lines with four rated completions each, and a folder of pictures."""
    models = ["mini-a", "mini-b", "mini-c", "mini-d"]
    lines = []
    for row, image, png, case, rng in writer.rows(count, TASK_SHARES["vl_feedback"]):
        write_picture(folder / "merged_images" / image, png)
        right = [True, False, *(bool(rng.integers(2)) for _ in range(2))]
        completions = [
            _completion(
                model,
                case.answer(case.right_values()) if right[index] else spoil(case, rng, count=1),
                5 if right[index] else 2,
                rng,
            )
            for model, index in zip(models, rng.permutation(4), strict=True)
        ]
        line = {
            "id": f"mini-{row}",
            "prompt": case.question,
            "models": models,
            "completions": completions,
            "img_path": f"merged_images/{image}",
        }
        lines.append(json.dumps(line))
    write_atomic(folder / "vlfeedback_80k.jsonl", "\n".join(lines) + "\n")


def _chat(turns: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in turns]


def _battle(case: Case, outcome: str, rng: np.random.Generator) -> dict[str, object]:
    """The conversations of both models and the winner; the better one is model a half of the time."""
    right, wrong = case.answer(case.right_values()), spoil(case, rng)
    a_wins = bool(rng.integers(2))
    responses = {"tie": (right, right), "tie (bothbad)": (wrong, wrong)}.get(outcome, (right, wrong))
    greetings = {"same history": GREETINGS[:1] * 2, "other history": GREETINGS}.get(outcome)
    before = [[("user", "hello"), ("assistant", text)] for text in greetings] if greetings else [[], []]
    chats = [
        _chat([*turns, ("user", case.question), ("assistant", response)])
        for turns, response in zip(before, responses if a_wins else responses[::-1], strict=True)
    ]
    winner = outcome if outcome.startswith("tie") else "model_a" if a_wins else "model_b"
    turns = len(chats[0]) // 2
    return {"conversation_a": chats[0], "conversation_b": chats[1], "winner": winner, "turn": turns}


def write_wildvision(folder: Path, count: int, writer: Writer) -> None:
    """One parquet file of battles: somebody wins, ties, and some chats of two turns."""
    rows = []
    for row, image, png, case, rng in writer.rows(count, TASK_SHARES["wildvision_battle"]):
        outcome = str(rng.choice(list(OUTCOMES), p=list(OUTCOMES.values())))
        if outcome == "same history":
            asked = with_history([("user", "hello"), ("assistant", GREETINGS[0])], case.question)
            writer.note(image, case, asked)
        rows.append(
            {
                "question_id": f"mini-{row}",
                "model_a": "mini-a",
                "model_b": "mini-b",
                **_battle(case, outcome, rng),
                "language": "English",
                "image": {"bytes": png, "path": image},
                "anony": True,
                "tstamp": row,
                "judge": "world truth",
                "domain": case.task,
            }
        )
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", rows)


def write_parquet(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Write rows as one parquet file, atomically."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink)
    write_atomic(path, sink.getvalue().to_pybytes())
