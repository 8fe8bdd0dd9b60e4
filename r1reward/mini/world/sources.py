"""The training sources of the mini world in their original schemas, and how every data set here is written.

RLAIF-V, VL-Feedback, POVID and WildVision-Battle; MM-RLHF with long, short, multiple-choice and safety pairs,
and videos of two frames. A row's random numbers follow from the seed, the data set and the row alone.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from r1reward.files import write_atomic
from r1reward.mini.scene import COLOUR_NAMES, SHAPES, Split, render
from r1reward.mini.tasks import LONG_DESCRIPTION, NUMBERS, TASKS, Case, flourished
from r1reward.prompts import with_history

TASK_SHARES: dict[str, dict[str, float]] = {
    "rlaif_v": {"existence": 0.3, "colour": 0.2, "colours_2": 0.25, "describe": 0.25},
    "povid": {"describe": 0.3, "describe_4": 0.2, "colours_3": 0.3, "existence": 0.2},
    "vl_feedback": {
        "count": 0.2, "digit": 0.15, "sum": 0.2, "total": 0.15, "more": 0.05,
        "shape": 0.05, "sign": 0.1, "secret": 0.1,
    },
    "wildvision_battle": {"shape": 0.25, "sign": 0.15, "colours_2": 0.25, "digit": 0.15, "existence": 0.2},
    "long": {"describe_4": 0.7, "colours_3": 0.3},
    "short": {"colour": 0.25, "shape": 0.2, "existence": 0.25, "count": 0.15, "digit": 0.15},
    "safety": {"secret": 0.5, "sign": 0.5},
}  # fmt: skip
ASPECTS = ("Helpfulness", "Ethical Considerations", "Visual Faithfulness")
# What becomes of a battle: mostly somebody wins; of several turns, the first two differ or not.
OUTCOMES = {"won": 0.7, "tie": 0.1, "tie (bothbad)": 0.1, "same history": 0.05, "other history": 0.05}
GREETINGS = ("hello . what shall i look at ?", "hi . what is it about ?")
# Pairs of Table 2. The videos are not in it: what the authors' 120,000 pairs leave.
SIZES = {"long": 41_163, "short": 46_281, "mcq": 8_306, "safety": 9_990}
VIDEO_SHARE = 0.13
BOTH_WRONG = 0.2
OPTIONS: dict[str, tuple[str, ...]] = {
    "colour": COLOUR_NAMES,
    "shape": SHAPES,
    "count": NUMBERS[1:7],
    "digit": NUMBERS,
}
CHOICES = {**OPTIONS, "sum": tuple(str(total) for total in range(19))}
LETTERS = "ABCD"
MakeCase = Callable[[np.random.Generator], Case]
MAKERS: dict[str, MakeCase] = {**TASKS, "describe_4": LONG_DESCRIPTION}


class Writer:
    """Draws cases and pictures of one data set and collects its truth."""

    def __init__(
        self,
        name: str,
        split: Split,
        seed: int,
        *,
        label_noise: float = 0.0,
        makers: Mapping[str, MakeCase] = MAKERS,
    ) -> None:
        self.name, self.seed, self.makers = name, seed, makers
        self.split: Split = split
        self.label_noise = label_noise
        self.truth: list[dict[str, object]] = []

    def rows(
        self, count: int, shares: Mapping[str, float]
    ) -> Iterator[tuple[int, str, bytes, Case, np.random.Generator]]:
        """`draws` with the name of the picture behind the row's number; the truth is noted."""
        for row, png, case, rng in self.draws(count, shares):
            image = f"{self.name}_{row:06d}.png"
            self.note(image, case, case.question)
            yield row, image, png, case, rng

    def draws(
        self, count: int, shares: Mapping[str, float]
    ) -> Iterator[tuple[int, bytes, Case, np.random.Generator]]:
        """(row number, PNG bytes, case, generator) with tasks drawn by their shares."""
        for row in range(count):
            rng = self.generator(row)
            case = self.makers[str(rng.choice(list(shares), p=list(shares.values())))](rng)
            yield row, self.draw(case, rng)[0], case, rng

    def generator(self, row: int) -> np.random.Generator:
        """The random numbers of one row, the same however many rows there are."""
        return np.random.default_rng([self.seed, *self.name.encode(), row])

    def draw(self, case: Case, rng: np.random.Generator) -> list[bytes]:
        """The case's scenes as PNG: one picture, or the frames of a video."""
        drawn = []
        for scene in case.scenes:
            buffer = io.BytesIO()
            render(scene, rng, self.split).save(buffer, "PNG")
            drawn.append(buffer.getvalue())
        return drawn

    def mislabels(self, rng: np.random.Generator) -> bool:
        """Whether people get this one wrong: in `label_noise` of the cases."""
        return bool(rng.random() < self.label_noise)

    def labelled(self, case: Case, rng: np.random.Generator) -> tuple[str, str]:
        """`respond`, in the order in which people prefer them."""
        chosen, rejected = respond(case, rng)
        return (rejected, chosen) if self.mislabels(rng) else (chosen, rejected)

    def note(self, image: str, case: Case, question: str) -> None:
        """Put down what is true of a picture, for a question as the loader will give it."""
        self.truth.append(
            {
                "image": image,
                "question": question,
                "task": case.task,
                "facts": [list(fact) for fact in case.facts],
                "items": [[item.name, item.colour] for _, item in case.scenes[0].items],
            }
        )


def spoil(case: Case, rng: np.random.Generator, *, count: int | None = None) -> str:
    """A response with `count` wrong claims; by default mostly one, which is the hardest to notice."""
    values = case.right_values()
    if count is None:
        count = 1 if rng.random() < 0.7 else len(values)
    for index in rng.permutation(len(values))[:count]:
        values[index] = case.wrong[index]
    return case.answer(values)


def respond(case: Case, rng: np.random.Generator) -> tuple[str, str]:
    """The preferred and the other response: mostly a right one and `spoil`'s, each perhaps with a flourish.

    Of lists of three or more, a share has two responses that share a wrong claim, of which one is wrong
    once more.
    """
    values = case.right_values()
    chosen, rejected = case.right_answer(), spoil(case, rng)
    if len(values) > 2 and rng.random() < BOTH_WRONG:
        shared, own = rng.permutation(len(values))[:2]
        values[shared] = case.wrong[shared]
        chosen = case.answer(values)
        values[own] = case.wrong[own]
        rejected = case.answer(values)
    return flourished(chosen, rng), flourished(rejected, rng)


def spoil_in_all_ways(case: Case, rng: np.random.Generator) -> list[str]:
    """Every response with at least one wrong claim, in random order."""
    right, wrong = case.right_values(), case.wrong
    spoilt = [list(values) for values in product(*zip(right, wrong, strict=True)) if list(values) != right]
    return [case.answer(spoilt[index]) for index in rng.permutation(len(spoilt))]


def multiple_choice(rng: np.random.Generator) -> tuple[Case, str, str]:
    """A question with options A to D, and the answers with the right and with the wrong letter.

    The answer repeats the sentence of its option, so its claims are read like those of any other. Both
    letters are drawn with the options' order: right and wrong stay exchangeable.
    """
    case = TASKS[str(rng.choice(list(OPTIONS)))](rng)
    shown, _ = choose(case, rng)
    values = case.right_values()[0], case.wrong[0]
    chosen, rejected = (f"{LETTERS[shown.index(value)]} . {case.answer([value])}" for value in values)
    return replace(case, question=ask_options(case.question, shown)), chosen, rejected


def choose(case: Case, rng: np.random.Generator, *, count: int = 4) -> tuple[list[str], str]:
    """The options of a case in random order, and the letter of the right one."""
    right, wrong = case.right_values()[0], case.wrong[0]
    others = [value for value in CHOICES[case.task] if value not in (right, wrong)]
    values = [right, wrong, *(others[index] for index in rng.permutation(len(others))[: count - 2])]
    shown = [values[index] for index in rng.permutation(count)]
    return shown, (LETTERS + "E")[shown.index(right)]


def ask_options(question: str, options: Sequence[str]) -> str:
    """A question with its options A to D behind it."""
    listed = " , ".join(f"{letter} : {value}" for letter, value in zip(LETTERS, options, strict=True))
    return f"{question} {listed} ."


def write_picture(path: Path, png: bytes) -> None:
    """Not synced one by one: `truth.jsonl`, written last, says that the world is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)


def write_parquet(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Write rows as one parquet file, atomically."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink)
    write_atomic(path, sink.getvalue().to_pybytes())


def write_rlaif_v(folder: Path, count: int, writer: Writer) -> None:
    """One parquet file with the pictures inside."""
    rows = []
    for row, image, png, case, rng in writer.rows(count, TASK_SHARES["rlaif_v"]):
        chosen, rejected = writer.labelled(case, rng)
        origin = {"model": "mini-world", "feedback": "world truth", "type": case.task}
        rows.append(
            {
                "ds_name": "mini-world",
                "image": {"bytes": png, "path": image},
                "question": case.question,
                "chosen": chosen,
                "rejected": rejected,
                "origin_dataset": "mini-world",
                "origin_split": json.dumps(origin),
                "idx": row,
                "image_path": image,
            }
        )
    write_parquet(folder / "RLAIF-V-Dataset_000.parquet", rows)


def write_povid(folder: Path, count: int, writer: Writer) -> None:
    """A JSON list of conversations and a folder of pictures."""
    rows = []
    for row, image, png, case, rng in writer.rows(count, TASK_SHARES["povid"]):
        write_picture(folder / "images" / image, png)
        turn = {"from": "human", "value": f"<image>\n{case.question}"}
        chosen, rejected = writer.labelled(case, rng)
        rows.append(
            {
                "id": f"{row:012d}",
                "image": image,
                "conversations": [turn, {"from": "gpt", "value": chosen}],
                "rejected_conversations": [turn, {"from": "gpt", "value": rejected}],
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
        completions = []
        for model, index in zip(models, rng.permutation(4), strict=True):
            text = case.right_answer() if right[index] else spoil(case, rng, count=1)
            rating = 5 if right[index] != writer.mislabels(rng) else 2
            completions.append(_completion(model, flourished(text, rng), rating, rng))
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


def _battle(case: Case, outcome: str, writer: Writer, rng: np.random.Generator) -> dict[str, object]:
    """The conversations of both models and the winner; the better one is model a half of the time."""
    right, wrong = writer.labelled(case, rng)
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
                **_battle(case, outcome, writer, rng),
                "language": "English",
                "image": {"bytes": png, "path": image},
                "anony": True,
                "tstamp": row,
                "judge": "world truth",
                "domain": case.task,
            }
        )
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", rows)


def subset_sizes(count: int) -> dict[str, int]:
    """`count` pairs divided as in Table 2; the largest subset takes what rounding leaves."""
    sizes = {subset: count * size // sum(SIZES.values()) for subset, size in SIZES.items()}
    sizes["short"] += count - sum(sizes.values())
    return sizes


def _row(path: str, case: Case, chosen: str, rejected: str, *, kind: str = "image") -> dict[str, object]:
    return {
        "id": path.rpartition("/")[2],
        kind: path,
        "prompt": case.question,
        "chosen": chosen,
        "rejected": rejected,
        "chosen_reason": "",
        "rejected_reason": "",
    }


def _write_pictures(folder: Path, subset: str, count: int, writer: Writer) -> tuple[list[dict], list[dict]]:
    rows = []
    for _, image, png, case, rng in writer.rows(count, TASK_SHARES[subset]):
        write_picture(folder / subset / image, png)
        rows.append(_row(f"{subset}/{image}", case, *writer.labelled(case, rng)))
    return rows, writer.truth


def _write_multiple_choice(folder: Path, count: int, writer: Writer) -> tuple[list[dict], list[dict]]:
    """Pictures stay in `mcq.zip`, as they are downloaded."""
    rows, packed = [], io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for row in range(count):
            rng = writer.generator(row)
            case, *answers = multiple_choice(rng)
            if writer.mislabels(rng):
                answers.reverse()
            path = f"mcq/{writer.name}_{row:06d}.png"
            archive.writestr(zipfile.ZipInfo(path), writer.draw(case, rng)[0])
            writer.note(path[4:], case, case.question)
            rows.append(_row(path, case, *answers))
    write_atomic(folder / "mcq.zip", packed.getvalue())
    return rows, writer.truth


def _write_videos(folder: Path, count: int, writer: Writer) -> tuple[list[dict], list[dict]]:
    """A video is a folder with its two frames."""
    rows = []
    for row in range(count):
        rng = writer.generator(row)
        case = TASKS["motion"](rng)
        name = f"{writer.name}_{row:06d}"
        for index, png in enumerate(writer.draw(case, rng)):
            write_picture(folder / "video" / name / f"{index}.png", png)
        writer.note(name, case, case.question)
        rows.append(_row(f"video/{name}", case, *writer.labelled(case, rng), kind="video"))
    return rows, writer.truth


def write_mm_rlhf(folder: Path, count: int, seed: int, *, label_noise: float) -> list[dict[str, object]]:
    """Write `dpo_pairs.jsonl` with `count` pairs about pictures and some about videos; returns the truth."""
    sizes = subset_sizes(count)
    writer = {
        name: Writer(f"mm_rlhf_{name}", "train", seed, label_noise=label_noise) for name in (*sizes, "video")
    }
    parts = [
        *(_write_pictures(folder, name, sizes[name], writer[name]) for name in ("long", "short", "safety")),
        _write_multiple_choice(folder, sizes["mcq"], writer["mcq"]),
        _write_videos(folder, round(count * VIDEO_SHARE), writer["video"]),
    ]
    lines = [json.dumps(row) + "\n" for rows, _ in parts for row in rows]
    write_atomic(folder / "dpo_pairs.jsonl", "".join(lines))
    return [fact for _, truth in parts for fact in truth]
