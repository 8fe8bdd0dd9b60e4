"""Prompts and benchmarks of the downstream policy in the mini world, in their original schemas (paper C.9).

Prompts show training digits, benchmarks test digits, and the validation benchmarks validation digits. What is
true of the open questions is written beside their files, for the scripted judge alone.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from r1reward.files import write_atomic
from r1reward.mini.scene import COLOUR_NAMES, GRID, SHAPES, Item, Split, place
from r1reward.mini.tasks import Case, write_question
from r1reward.mini.world.sources import (
    LETTERS,
    MAKERS,
    MakeCase,
    Writer,
    ask_options,
    choose,
    spoil,
    write_parquet,
    write_picture,
)

# Which tasks a set or benchmark asks about. Prompts ask what the judge can compare: no sums, and little with
# options, which it knows with letters alone.
PROMPT_TASKS = {
    "v_star": {"crowd": 1.0},
    "arxivqa": {"colour": 0.4, "count": 0.3, "digit": 0.3},
    "thinklite_vl": {
        "count": 0.25, "digit": 0.15, "existence": 0.25, "colours_3": 0.25, "describe": 0.1,
    },
}  # fmt: skip
PROMPT_SHARES = {"v_star": 0.35, "arxivqa": 0.05, "thinklite_vl": 0.6}
LESSON_TASKS = {
    "v_star": {"crowd": 1.0},
    "arxivqa": {"colour": 0.15, "shape": 0.2, "count": 0.25, "digit": 0.25, "sum": 0.15},
    "thinklite_vl": {
        "sum": 0.2, "count": 0.2, "digit": 0.1, "existence": 0.2, "colours_3": 0.15, "describe": 0.15,
    },
}  # fmt: skip
LESSON_SHARES = {"v_star": 0.2, "arxivqa": 0.4, "thinklite_vl": 0.4}
BENCHMARK_TASKS = {
    "MMBench_DEV_EN_V11": {"colour": 0.2, "shape": 0.2, "count": 0.3, "digit": 0.3},
    "perception": {"digit": 0.5, "count": 0.5},
    "reasoning": {"sum": 1.0},
    "MMStar": {"colour": 0.1, "shape": 0.1, "count": 0.3, "digit": 0.3, "sum": 0.2},
    "VStarBench": {"crowd": 1.0},
    "LLaVABench": {"describe": 0.34, "colours_3": 0.33, "sum": 0.33},
    "WildVision": {"colours_3": 0.25, "count": 0.25, "digit": 0.25, "sum": 0.25},
}
LLAVA_CATEGORIES = {"describe": "detail", "colours_3": "conv", "sum": "complex"}
FOLDERS: dict[Split, str] = {"test": "benchmarks", "validation": "validation"}
TRUTH = "open_questions.jsonl"
FIGURES, QUESTIONS = 2, 3  # of a set of HallusionBench


def crowd(rng: np.random.Generator) -> Case:
    """The colour of the only thing of its shape in a picture without a free cell."""
    shapes = [SHAPES[index] for index in rng.permutation(len(SHAPES))]
    true, false = (COLOUR_NAMES[index] for index in rng.permutation(len(COLOUR_NAMES))[:2])
    others = [Item(str(rng.choice(shapes[1:])), str(rng.choice(COLOUR_NAMES))) for _ in range(GRID**2 - 1)]
    scene = place([Item(shapes[0], true), *others], rng)
    facts = ((shapes[0], true),)
    return Case("colour", write_question("colour", shapes[:1]), facts, (false,), (scene,))


def whole_description(rng: np.random.Generator) -> Case:
    """A description that has to name everything in the picture."""
    case = MAKERS["describe"](rng)
    shown = {shape for shape, _ in case.facts}
    kept = tuple((cell, item) for cell, item in case.scenes[0].items if item.name in shown)
    return replace(case, scenes=(replace(case.scenes[0], items=kept),))


DOWNSTREAM_MAKERS: dict[str, MakeCase] = {**MAKERS, "crowd": crowd, "describe": whole_description}
_writer = partial(Writer, makers=DOWNSTREAM_MAKERS)


def write_downstream(
    folder: Path,
    *,
    prompts: int,
    lessons: int,
    questions: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write `prompts`, the `lessons` of the mini policy, and the benchmarks for test and validation.

    `questions` is the size of a benchmark: of its questions, or of HallusionBench's rows. Everything follows
    from `seed`. `progress` counts the sets that are written.
    """
    work: list[Callable[[], None]] = [
        partial(
            _PROMPT_WRITERS[name],
            folder / "prompts" / name,
            max(1, round(prompts * share)),
            _writer(f"prompts_{name}", "train", seed),
        )
        for name, share in PROMPT_SHARES.items()
    ]
    work.append(partial(_write_lessons, folder / "lessons" / "v_star", lessons, seed))
    work += [partial(_write_benchmarks, folder / name, questions, s, seed) for s, name in FOLDERS.items()]
    for done, write in enumerate(work):
        progress(done, len(work))
        write()
    progress(len(work), len(work))


def _write_v_star(folder: Path, count: int, writer: Writer) -> None:
    drawn = writer.draws(count, PROMPT_TASKS["v_star"])
    _write_conversations(
        folder, writer.name, ((png, case.question, case.right_answer()) for _, png, case, _ in drawn)
    )


def _write_lessons(folder: Path, count: int, seed: int) -> None:
    """Answered questions like those of all three sets, as conversations; options are part of the question."""
    rows: list[tuple[bytes, str, str]] = []
    for name, share in LESSON_SHARES.items():
        writer = _writer(f"lessons_{name}", "train", seed)
        for _, png, case, rng in writer.draws(max(1, round(count * share)), LESSON_TASKS[name]):
            question = case.question
            if name == "arxivqa":
                question = ask_options(question, choose(case, rng)[0])
            rows.append((png, question, case.right_answer()))
    _write_conversations(folder, "lessons", rows)


def _write_conversations(folder: Path, name: str, rows: Iterable[tuple[bytes, str, str]]) -> None:
    """A JSON list of LLaVA conversations and a folder of pictures."""
    talks = []
    for row, (png, question, answer) in enumerate(rows):
        image = f"{name}_{row:06d}.png"
        write_picture(folder / "images" / image, png)
        turns = [("human", f"<image>\n{question}"), ("gpt", answer)]
        talk = [{"from": speaker, "value": text} for speaker, text in turns]
        talks.append({"id": row, "image": image, "conversations": talk})
    write_atomic(folder / "vqa_data.json", json.dumps(talks))


def _write_arxivqa(folder: Path, count: int, writer: Writer) -> None:
    """JSON lines with options and a letter, and a folder of pictures."""
    lines = []
    for row, png, case, rng in writer.draws(count, PROMPT_TASKS["arxivqa"]):
        image = f"images/{writer.name}_{row:06d}.png"
        write_picture(folder / image, png)
        options, letter = choose(case, rng)
        line = {
            "id": f"mini-{row}",
            "image": image,
            "options": [f"{key}) {text}" for key, text in zip(LETTERS, options, strict=True)],
            "question": case.question,
            "label": letter,
            "rationale": case.right_answer(),
        }
        lines.append(json.dumps(line) + "\n")
    write_atomic(folder / "arxivqa.jsonl", "".join(lines))


def _write_thinklite(folder: Path, count: int, writer: Writer) -> None:
    """One parquet file with the pictures inside."""
    rows: list[dict[str, object]] = [
        {"id": row, "image": png, "problem": f"<image>{case.question}", "answer": case.right_answer()}
        for row, png, case, _ in writer.draws(count, PROMPT_TASKS["thinklite_vl"])
    ]
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", rows)


_PROMPT_WRITERS: dict[str, Callable[[Path, int, Writer], None]] = {
    "v_star": _write_v_star,
    "arxivqa": _write_arxivqa,
    "thinklite_vl": _write_thinklite,
}


def _write_benchmarks(folder: Path, count: int, split: Split, seed: int) -> None:
    truth: list[dict[str, object]] = []
    files: dict[str, list[dict[str, object]]] = {
        "HallusionBench": list(_hallusion(_writer("hallusionbench", split, seed), count)),
        "MMBench_DEV_EN_V11": list(_mmbench(_writer("mmbench", split, seed), count)),
        "MME-RealWorld-Lite": [
            row
            for number, part in enumerate(("perception", "reasoning"))
            for row in _real_world(_writer(f"mme_{part}", split, seed), count, part, first=number * count)
        ],
        "MMStar": list(_chosen(_writer("mmstar", split, seed), count, "MMStar")),
        "VStarBench": list(_chosen(_writer("vstar", split, seed), count, "VStarBench")),
        "LLaVABench": list(_open(_writer("llavabench", split, seed), count, "LLaVABench", truth)),
        "WildVision": list(_open(_writer("wildvision", split, seed), count, "WildVision", truth)),
    }
    for name, rows in files.items():
        _write_tsv(folder / f"{name}.tsv", rows)
    write_atomic(folder / TRUTH, "".join(json.dumps(row) + "\n" for row in truth))


def _hallusion(writer: Writer, count: int) -> Iterator[dict[str, object]]:
    """Sets of two figures that differ in colours, with the same three questions about each."""
    for number in range(max(1, count // (FIGURES * QUESTIONS))):
        rng = writer.generator(number)
        shapes = [SHAPES[index] for index in rng.permutation(len(SHAPES))[:QUESTIONS]]
        colours = [[str(c) for c in rng.permutation(COLOUR_NAMES)[:FIGURES]] for _ in shapes]
        asked = [colour[rng.integers(FIGURES)] for colour in colours]
        for figure in range(FIGURES):
            items = [Item(shape, colour[figure]) for shape, colour in zip(shapes, colours, strict=True)]
            subjects = [f"{colour} {shape}" for shape, colour in zip(shapes, asked, strict=True)]
            right = [colour[figure] == said for colour, said in zip(colours, asked, strict=True)]
            scene = place(items, rng)
            case = Case("existence", "", ((subjects[0], ""),), ("",), (scene,))
            png = writer.draw(case, rng)[0]
            for question, (subject, there) in enumerate(zip(subjects, right, strict=True)):
                yield {
                    "index": f"mini_VD_figure_{number}_{figure}_{question}",
                    "image": png,
                    "question": write_question("existence", [subject]),
                    "answer": "Yes" if there else "No",
                    "category": "VD",
                    "l2-category": "figure",
                }


def _mmbench(writer: Writer, count: int) -> Iterator[dict[str, object]]:
    """Every question in all four rotations of its options; the index says which belong together."""
    for row, png, case, rng in writer.draws(count, BENCHMARK_TASKS["MMBench_DEV_EN_V11"]):
        options, letter = choose(case, rng)
        for turn in range(len(LETTERS)):
            turned = options[turn:] + options[:turn]
            answer = LETTERS[(LETTERS.index(letter) - turn) % len(LETTERS)]
            index = row + 1_000_000 * turn
            yield _choice_row(index, png, case, turned, answer) | {"category": case.task}


def _real_world(writer: Writer, count: int, part: str, *, first: int) -> Iterator[dict[str, object]]:
    """Five options in one column; categories are like "Perception/OCR"."""
    for row, png, case, rng in writer.draws(count, BENCHMARK_TASKS[part]):
        options, letter = choose(case, rng, count=5)
        listed = [f"({key}) {text}" for key, text in zip(LETTERS + "E", options, strict=True)]
        yield {
            "index": first + row,
            "image": png,
            "question": case.question,
            "multi-choice options": str(listed),
            "answer": letter,
            "category": f"{part.capitalize()}/{case.task}",
            "l2-category": case.task,
        }


def _chosen(writer: Writer, count: int, name: str) -> Iterator[dict[str, object]]:
    for row, png, case, rng in writer.draws(count, BENCHMARK_TASKS[name]):
        options, letter = choose(case, rng)
        category = "direct_attributes" if name == "VStarBench" else case.task
        yield _choice_row(row, png, case, options, letter) | {"category": category}


def _choice_row(index: int, png: bytes, case: Case, options: Sequence[str], answer: str) -> dict[str, object]:
    listed = dict(zip(LETTERS + "E", options, strict=False))
    return {"index": index, "image": png, "question": case.question, **listed, "answer": answer}


def _open(
    writer: Writer, count: int, name: str, truth: list[dict[str, object]]
) -> Iterator[dict[str, object]]:
    """Open questions; another model's answer to be compared with is wrong half of the time."""
    for row, png, case, rng in writer.draws(count, BENCHMARK_TASKS[name]):
        truth.append(
            {
                "benchmark": name,
                "index": str(row),
                "task": case.task,
                "subjects": [subject for subject, _ in case.facts],
                "values": case.right_values(),
            }
        )
        line: dict[str, object] = {"index": row, "image": png, "question": case.question}
        if name == "WildVision":
            yield line | {
                "claude3_sonnet": case.right_answer() if rng.integers(2) else spoil(case, rng, count=1)
            }
        else:
            yield line | {
                "gpt4_ans": case.right_answer(),
                "caption": "",
                "category": LLAVA_CATEGORIES[case.task],
            }


def _write_tsv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """VLMEvalKit's form: a picture that an earlier row has is its index."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    drawn: dict[object, object] = {}
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        known = drawn.setdefault(row["image"], row["index"])
        picture = known if known != row["index"] else base64.b64encode(row["image"]).decode()  # type: ignore[arg-type]
        writer.writerow({**row, "image": picture})
    write_atomic(path, stream.getvalue())
