"""Questions about pictures that a policy answers: what it is asked, and what the reference says."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from r1reward.data.storage import near_origin, write_rows
from r1reward.files import iterate_jsonl
from r1reward.prompts import PromptName
from r1reward.types import Request

LETTERS = "ABCDE"
Style = Literal["mini", "vlmevalkit"]
Layout = Literal[Style, "mme_realworld"]
# How a multiple-choice question is written out, for the tiny model and as two classes of VLMEvalKit do, white
# space included: the whole, an option, what stands between options.
_LAYOUTS: dict[Layout, tuple[str, str, str]] = {
    "mini": ("{question} {options} .", "{letter} : {text}", " , "),
    "vlmevalkit": (
        "Question: {question}\nOptions:\n{options}\n"
        "Please select the correct answer from the options above. \n",
        "{letter}. {text}",
        "\n",
    ),
    "mme_realworld": (
        "{question} The choices are listed below:\n{options}\nSelect the best answer to the above "
        "multiple-choice question based on the image. Respond with only the letter (A, B, C, D, or E) of the "
        "correct option. \nThe best answer is:",
        "({letter}) {text}",
        "\n",
    ),
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its pictures (paths); `answer` is the reference's, "" where there is none.

    `source` is the data set, `label` names file and row for messages.
    """

    text: str
    images: tuple[str, ...]
    answer: str = ""
    source: str = ""
    label: str = ""

    @property
    def completion(self) -> str:
        """What supervised training teaches: the reference answer."""
        return self.answer

    def is_reference(self, text: str) -> bool:
        """Whether a text is the reference's answer, word for word."""
        return text.strip() == self.answer.strip() != ""

    def request(self, prompt: PromptName | None = None) -> Request:
        """The question as it is; no prompt is laid around it."""
        return Request(self.text, self.images, origin=self.label)


def with_options(question: str, options: Mapping[str, str], *, style: Layout) -> str:
    """A multiple-choice question in one text; `options` are the texts by letter."""
    whole, option, separator = _LAYOUTS[style]
    listed = [option.format(letter=letter, text=text) for letter, text in options.items()]
    return whole.format(question=question, options=separator.join(listed))


def write_questions(path: Path, questions: Iterable[Question]) -> Path:
    """Write questions as JSON lines, atomically; picture paths and labels are relative to the file."""
    write_rows(
        path,
        (
            {
                "text": one.text,
                "images": [os.path.relpath(image, path.parent) for image in one.images],
                "answer": one.answer,
                "source": one.source,
                "label": near_origin(one.label, path.parent),
            }
            for one in questions
        ),
    )
    return path


def read_questions(path: str | Path) -> list[Question]:
    """All questions written by `write_questions`; a fault names file and row (ValueError)."""
    return list(_iterate(Path(path)))


def _iterate(path: Path) -> Iterator[Question]:
    for number, row in enumerate(iterate_jsonl(path), start=1):
        try:
            images = tuple(os.path.normpath(path.parent / image) for image in row["images"])
            yield Question(row["text"], images, row["answer"], row["source"], row["label"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}, row {number}: not a question: {error}") from error
