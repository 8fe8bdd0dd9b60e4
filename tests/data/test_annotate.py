import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from r1reward.data.annotate import UnansweredError, annotate_pair, annotate_pairs
from r1reward.data.annotators import answers_folder
from r1reward.data.build import build_dataset
from r1reward.data.cold_start import select_rl, select_sft
from r1reward.engines import PictureError
from r1reward.settings import AnnotatorSettings, DataSettings
from r1reward.types import PreferencePair


@pytest.fixture(scope="module")
def pairs(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PreferencePair, ...]:
    return tuple(build_dataset(world, tmp_path_factory.mktemp("built"), sampled_pairs=120, seed=0))


class Replay:
    """Answers each attempt with the verdict of a fixed script and counts what it is asked."""

    def __init__(self, script: str, fingerprint: str = "replay") -> None:
        self.script, self.fingerprint, self.asked = script, fingerprint, 0

    def answer(self, pair: PreferencePair, attempt: int) -> str:
        self.asked += 1
        return f"<think>{pair.pair_id}</think><answer>{self.script[attempt]}</answer>"


def _pair(index: int = 0) -> PreferencePair:
    return PreferencePair(
        f"p-{index}", "p", "what colour is the ring ?", ("the ring is red .", "the ring is blue ."), 1
    )


@pytest.mark.parametrize(
    ("script", "attempts", "reached"), [("1", 1, True), ("221", 3, True), ("x21", 3, True), ("222", 3, False)]
)
def test_attempts_stop_at_the_label(script: str, attempts: int, reached: bool) -> None:
    annotation = annotate_pair(Replay(script), _pair(), max_attempts=3)
    assert (annotation.attempts, annotation.reached) == (attempts, reached)
    assert [answer[-10] for answer in annotation.answers] == list(script)


def test_annotation_resumes_by_pair_and_drops_a_half_line(tmp_path: Path) -> None:
    path = tmp_path / "annotations.jsonl"
    many = [_pair(index) for index in range(10)]
    whole = list(annotate_pairs(Replay("21"), many, path=path, max_attempts=2))
    complete = path.read_bytes()
    lines = complete.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6]) + lines[6][:25])
    again = Replay("21")
    assert list(annotate_pairs(again, many, path=path, max_attempts=2)) == whole
    assert again.asked == 2 * 4 and path.read_bytes() == complete
    assert json.loads(lines[0])["verdicts"] == ["2", "1"]


def test_rows_of_other_settings_are_not_reused(tmp_path: Path) -> None:
    path = tmp_path / "annotations.jsonl"
    many = [_pair(index) for index in range(3)]
    annotate_pairs(Replay("1"), many, path=path, max_attempts=3)
    changed = Replay("1", fingerprint="other")
    annotate_pairs(changed, many, path=path, max_attempts=3)
    assert changed.asked == 3 and len(path.read_text().splitlines()) == 6
    swapped = Replay("12", fingerprint="other")
    annotations = annotate_pairs(swapped, [many[0].swapped(), *many[1:]], path=path, max_attempts=3)
    assert swapped.asked == 2 and [annotation.attempts for annotation in annotations] == [2, 1, 1]


def test_more_attempts_ask_again_about_what_was_never_right(tmp_path: Path) -> None:
    path, many = tmp_path / "annotations.jsonl", [_pair(index) for index in range(3)]
    assert not any(one.reached for one in annotate_pairs(Replay("2"), many, path=path, max_attempts=1))
    again = Replay("21")
    found = annotate_pairs(again, many, path=path, max_attempts=2)
    assert all(one.reached and one.attempts == 2 for one in found) and again.asked == 2 * 3


@pytest.mark.parametrize("tail", ["", '{"pair_id": "p'])
def test_annotations_come_in_the_order_of_the_pairs_and_other_rows_stay(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "annotations.jsonl"
    many = [_pair(index) for index in range(5)]
    annotate_pairs(Replay("1"), many, path=path, max_attempts=1)
    whole = path.read_text()
    with path.open("a") as stream:
        stream.write(tail)
    again = Replay("1")
    annotations = annotate_pairs(again, many[3:0:-1], path=path, max_attempts=1)
    assert [annotation.pair_id for annotation in annotations] == ["p-3", "p-2", "p-1"]
    assert again.asked == 0 and path.read_text() == whole + tail


def test_pictures_count_by_content_wherever_they_lie(tmp_path: Path) -> None:
    def ask(folder: str, content: bytes, kind: str = "images") -> int:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "a.png").write_bytes(content)
        pair = replace(_pair(), **{kind: (str(tmp_path / folder / "a.png"),)})
        replay = Replay("1")
        annotate_pairs(replay, [pair], path=tmp_path / "annotations.jsonl", max_attempts=1)
        return replay.asked

    assert [ask("x", b"red"), ask("x", b"red"), ask("y", b"red")] == [1, 0, 0]
    assert [ask("y", b"blue"), ask("y", b"blue"), ask("x", b"red")] == [1, 0, 0]
    assert [ask("x", b"red", "frames"), ask("x", b"red", "frames")] == [1, 0]


def test_a_row_that_is_no_annotation_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for bad in ("[1]", "{}", '{"pair_id": "p-0", "key": "k", "answers": 3, "reached": true}', "x"):
        path.write_text(f"\n{bad}\n")
        with pytest.raises(ValueError, match=r"a\.jsonl, row 2: not an annotation"):
            annotate_pairs(Replay("1"), [_pair()], path=path, max_attempts=1)


class Unreachable(Replay):
    """Has no answer for some pairs."""

    def __init__(self, script: str, error: Exception, *lost: str) -> None:
        super().__init__(script)
        self.error, self.lost = error, lost

    def answer(self, pair: PreferencePair, attempt: int) -> str:
        if pair.pair_id in self.lost and attempt == 1:
            raise self.error
        return super().answer(pair, attempt)


@pytest.mark.parametrize("error", [UnansweredError("http_500"), PictureError("picture gone.png")])
def test_a_pair_without_an_answer_is_left_out_and_asked_about_again(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    path, many = tmp_path / "a.jsonl", [_pair(index) for index in range(4)]
    found = annotate_pairs(Unreachable("21", error, "p-1"), many, path=path, max_attempts=2)
    assert [one.unanswered for one in found] == [False, True, False, False]
    assert (found[1].answers, found[1].reached) == (("<think>p-1</think><answer>2</answer>",), False)
    assert [json.loads(line)["pair_id"] for line in path.read_text().splitlines()] == ["p-0", "p-2", "p-3"]
    assert str(error) in caplog.text and "1 of 4 pairs have no answer (p-1)" in caplog.text
    # Neither difficult nor easy: nothing is known of it.
    assert [pair.pair_id for pair in select_rl(many, found)] == ["p-0", "p-2", "p-3"]
    assert [example.pair.pair_id for example in select_sft(many, found)] == ["p-0", "p-2", "p-3"]
    again = Replay("21")
    assert all(one.reached for one in annotate_pairs(again, many, path=path, max_attempts=2))
    assert again.asked == 2


@pytest.mark.parametrize("error", [MemoryError(), OSError("no space left")])
def test_what_is_no_fault_of_a_pair_stops_and_keeps_nothing_of_it(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "a.jsonl"
    with pytest.raises(type(error)):
        annotate_pairs(Unreachable("21", error, "p-0"), [_pair()], path=path, max_attempts=2)
    assert not path.exists()


def test_progress_counts_pairs_and_ids_are_unique(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    many = [_pair(index) for index in range(70)]
    report: Callable[[int, int], None] = lambda done, total: seen.append((done, total))  # noqa: E731
    annotate_pairs(Replay("1"), many, path=tmp_path / "a.jsonl", max_attempts=1, progress=report)
    assert seen == [(64, 70), (70, 70)]
    with pytest.raises(ValueError, match="unique"):
        annotate_pairs(Replay("1"), [_pair(), _pair()], path=tmp_path / "b.jsonl", max_attempts=1)


class Batches:
    """Answers a batch by its first pair, so that a batch asked in other company answers otherwise."""

    batch_size = 3

    def __init__(self, fail_at: int | None = None) -> None:
        self.fingerprint, self.fail_at = "batches", fail_at
        self.calls: list[tuple[int, list[str]]] = []

    def answers(self, pairs: Sequence[PreferencePair], attempt: int) -> list[str]:
        if self.fail_at == len(self.calls):
            raise OSError("gone")
        self.calls.append((attempt, [pair.pair_id for pair in pairs]))
        verdicts = [1 if attempt == int(pair.pair_id[-1]) % 3 else 2 for pair in pairs]
        return [f"<think>{pairs[0].pair_id}</think><answer>{verdict}</answer>" for verdict in verdicts]


def test_a_batch_asks_again_only_about_what_is_not_reached(tmp_path: Path) -> None:
    annotator = Batches()
    found = annotate_pairs(annotator, [_pair(i) for i in range(4)], path=tmp_path / "a.jsonl", max_attempts=2)
    assert annotator.calls == [(0, ["p-0", "p-1", "p-2"]), (1, ["p-1", "p-2"]), (0, ["p-3"])]
    outcomes = [(one.attempts, one.reached) for one in found]
    assert outcomes == [(1, True), (2, True), (2, False), (1, True)]


@pytest.mark.parametrize("keep", [1, 2, 3, 4])
def test_a_torn_batch_is_asked_again_as_a_whole(tmp_path: Path, keep: int) -> None:
    pairs = [_pair(index) for index in range(7)]
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    annotate_pairs(Batches(), pairs, path=whole, max_attempts=3)
    torn.write_text("".join(whole.read_text().splitlines(keepends=True)[:keep]))
    annotate_pairs(Batches(), pairs, path=torn, max_attempts=3)
    assert torn.read_text() == whole.read_text()


def test_finished_batches_survive_an_error(tmp_path: Path) -> None:
    pairs, path = [_pair(index) for index in range(6)], tmp_path / "a.jsonl"
    with pytest.raises(OSError, match="gone"):
        annotate_pairs(Batches(fail_at=3), pairs, path=path, max_attempts=3)
    again = Batches()
    annotate_pairs(again, pairs, path=path, max_attempts=3)
    assert again.calls[0] == (0, ["p-3", "p-4", "p-5"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "run"),
        ({"annotator": "openai"}, "paid/annotator"),
        ({"annotator": "openai", "openai": AnnotatorSettings(folder="own")}, "own"),
    ],
)
def test_answers_that_cost_money_are_kept_outside_the_run(changes: dict, expected: str) -> None:
    settings = DataSettings(**changes)
    assert answers_folder(settings, Path("run"), paid=Path("paid")) == Path(expected)
