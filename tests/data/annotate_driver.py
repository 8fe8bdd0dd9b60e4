"""Annotates pairs at a server: `annotate_driver.py URL FOLDER [FIRST END]`, for tests with processes."""

import sys
from pathlib import Path

from fault_server import KEY_VARIABLE, make_pair

from r1reward.data.annotate import Annotation, annotate_pairs
from r1reward.data.annotators import OpenAIAnnotator
from r1reward.settings import AnnotatorSettings

PAIRS, CONCURRENCY, ATTEMPTS = 120, 4, 3


def annotate(url: str, folder: Path, first: int = 0, end: int = PAIRS) -> list[Annotation]:
    settings = AnnotatorSettings(
        base_url=url, key_variable=KEY_VARIABLE, model="m", seed=0, concurrency=CONCURRENCY
    )
    annotator = OpenAIAnnotator(settings, log=folder / "requests.jsonl", sleep=lambda seconds: None)
    pairs = [make_pair(index) for index in range(first, end)]
    return annotate_pairs(annotator, pairs, path=folder / "annotations.jsonl", max_attempts=ATTEMPTS)


if __name__ == "__main__":
    annotate(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
