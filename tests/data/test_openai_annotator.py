import base64
import io
import json
import logging
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fault_server import KEY, KEY_VARIABLE, KINDS, FaultServer, good_answer, make_pair, make_settings
from PIL import Image

from r1reward.data.annotate import Annotation, AnnotatorError, UnansweredError, annotate_pairs
from r1reward.data.annotators import OpenAIAnnotator, make_annotator
from r1reward.engines import PictureError
from r1reward.files import read_jsonl
from r1reward.mini.annotator import ScriptedAnnotator
from r1reward.prompts import judge_prompt
from r1reward.servers import client
from r1reward.servers.replies import Fault, Reply, read_error, read_reply, waiting_time
from r1reward.settings import AnnotatorSettings, DataSettings, ScriptSettings
from r1reward.types import PreferencePair


class Run:
    """Annotates at the server in a folder and remembers the waits instead of waiting."""

    def __init__(self, server: FaultServer, folder: Path, **changes: Any) -> None:
        self.server, self.folder, self.waits = server, folder, list[float]()
        settings = make_settings(server, **changes)
        self.annotator = OpenAIAnnotator(settings, log=folder / "requests.jsonl", sleep=self.waits.append)

    def __call__(self, pairs: Sequence[PreferencePair], max_attempts: int = 3) -> list[Annotation]:
        path = self.folder / "annotations.jsonl"
        return annotate_pairs(self.annotator, pairs, path=path, max_attempts=max_attempts)


def test_the_fingerprint_changes_with_everything_that_changes_answers(server: FaultServer) -> None:
    """And with nothing else: how often and how patiently a server is asked is no part of it."""
    changes: list[dict[str, Any]] = [
        {},
        {"model": "another"},
        {"base_url": "http://localhost:1/v1"},
        {"temperature": 0.25},
        {"retry_temperature": 0.75},
        {"seed": 3},
        {"max_tokens": 7},
    ]
    prints = [OpenAIAnnotator(make_settings(server, **change)).fingerprint for change in changes]
    prints.append(OpenAIAnnotator(make_settings(server), prompt="reworded").fingerprint)
    assert len(set(prints)) == len(prints)
    patient = OpenAIAnnotator(make_settings(server, max_retries=9, concurrency=2, timeout_seconds=9.0))
    assert patient.fingerprint == prints[0]


def test_nothing_is_lost_nor_asked_twice_whatever_the_server_does(
    server: FaultServer, tmp_path: Path
) -> None:
    pairs = [make_pair(index) for index in range(60)]
    whole = Run(server, tmp_path / "whole")(pairs)
    needed = server.asked()
    server.requests.clear()

    kinds = [*KINDS] * 3
    random.Random(0).shuffle(kinds)
    planned = dict(zip([pair.pair_id for pair in pairs], kinds, strict=False))
    server.plans = {pair_id: [kind] for pair_id, kind in planned.items()}
    run = Run(server, tmp_path / "faulty", price_input=2.5, price_output=10)
    assert run(pairs) == whole
    files = [read_jsonl(tmp_path / name / "annotations.jsonl") for name in ("whole", "faulty")]
    assert sorted(files[0], key=str) == sorted(files[1], key=str) and len(files[0]) == 60

    assert server.asked() == needed + Counter(planned.keys())
    record = run.annotator.record()
    expected: dict[str, int] = {}
    for fault, count in server.faults.items():
        expected[KINDS[fault]] = expected.get(KINDS[fault], 0) + count
    assert record["faults"] == expected and sum(expected.values()) == len(run.waits) == len(kinds)
    answers = needed.total()
    assert (record["requests"], record["answers"]) == (answers + len(kinds), answers)
    assert record["failed_attempts"] == record["answers_without_tokens"] == 0
    assert record["dollars"] == pytest.approx(answers * (1000 * 2.5 + 100 * 10) / 1e6)
    assert run.annotator.status() == f"${record['dollars']:.2f}, {len(kinds)} faults"
    assert len([wait for wait in run.waits if wait >= 7]) == kinds.count("429 after 7")


@pytest.mark.parametrize(
    ("fault", "requests"), [("truncated", 4), ("10 MB", 4), ("500", 4), ("reset", 4), ("400", 1)]
)
def test_retries_are_bounded_and_the_pair_is_asked_about_again(
    server: FaultServer, tmp_path: Path, fault: str, requests: int
) -> None:
    server.plans = {"p-0": [fault] * requests}
    run = Run(server, tmp_path)
    assert run([make_pair(0)], max_attempts=2) == [Annotation("p-0", (), reached=False, unanswered=True)]
    assert len(server.requests) == requests and len(run.waits) == requests - 1
    assert run.annotator.record()["failed_attempts"] == 1
    assert not (tmp_path / "annotations.jsonl").exists()
    (annotation,) = run([make_pair(0)], max_attempts=1)
    assert annotation.answers == (good_answer("p-0", 0),)
    first = read_jsonl(tmp_path / "requests.jsonl")[0]
    assert (first["outcome"], first["given_up"]) == (KINDS.get(fault, "http_400"), requests == 1)
    assert first["detail"]


def test_a_server_that_never_answers_times_out(server: FaultServer, tmp_path: Path) -> None:
    server.always = "timeout"
    run = Run(server, tmp_path, timeout_seconds=0.2, max_retries=1)
    (annotation,) = run([make_pair(0)], max_attempts=1)
    assert annotation == Annotation("p-0", (), reached=False, unanswered=True)
    assert run.annotator.record()["faults"] == {"timeout": 2}


def test_a_server_that_sends_too_slowly_times_out(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter(range(0, 10**9, 3600))
    monkeypatch.setattr(client, "time", SimpleNamespace(time=lambda: next(hours)))
    annotator = OpenAIAnnotator(make_settings(server, max_retries=0))
    with pytest.raises(UnansweredError, match="timeout: 'the answer came too slowly'"):
        annotator.answer(make_pair(0), 0)
    assert annotator.record()["faults"] == {"timeout": 1}


def test_a_server_that_is_not_there_is_a_fault_of_the_connection(server: FaultServer, tmp_path: Path) -> None:
    server._server.server_close()
    run = Run(server, tmp_path, max_retries=1)
    assert run([make_pair(0)], max_attempts=1)[0].unanswered
    assert run.annotator.record()["faults"] == {"connection": 2}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("401", rf"HTTP 401\) refuses the key: set the variable {KEY_VARIABLE}"),
        ("403", "that may use m"),
        ("404", r"no model 'm' at http.*data\.openai\.model"),
        ("429 quota", "no credit left"),
    ],
)
def test_a_run_that_cannot_succeed_stops_at_once(
    server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str, message: str
) -> None:
    caplog.set_level(logging.DEBUG)
    server.always = fault
    run = Run(server, tmp_path, concurrency=4)
    with pytest.raises(AnnotatorError, match=message) as caught:
        run([make_pair(index) for index in range(40)])
    assert 1 <= len(server.requests) <= 4 and run.waits == []
    assert server.requests[0][2]["authorization"] == f"Bearer {KEY}"
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "Incorrect API key provided: ***" in written
    said = [caught.getrepr(showlocals=True), caplog.text, repr(run.annotator), vars(run.annotator.log)]
    assert KEY not in written + str(caught.value) + str(run.annotator.record()) + caplog.text
    assert KEY not in "".join(map(str, said[1:]))


def test_a_server_that_is_down_stops_the_run_and_the_next_one_goes_on(
    server: FaultServer, tmp_path: Path
) -> None:
    pairs = [make_pair(index) for index in range(40)]
    server.plans = {f"p-{index}": ["500"] * 9 for index in range(10, 40)}
    run = Run(server, tmp_path, concurrency=1, max_retries=0)
    with pytest.raises(AnnotatorError, match=r"10 attempts in a row failed at http.*http_500.*are kept"):
        run(pairs)
    kept = read_jsonl(tmp_path / "annotations.jsonl")
    assert [row["pair_id"] for row in kept] == [f"p-{index}" for index in range(10)]
    server.plans.clear()
    server.requests.clear()
    again = Run(server, tmp_path, concurrency=1, max_retries=0)
    annotations = again(pairs)
    assert set(server.asked()) == {f"p-{index}" for index in range(10, 40)}
    assert [annotation.pair_id for annotation in annotations] == [pair.pair_id for pair in pairs]
    record = again.annotator.record()
    assert record["failed_attempts"] == record["faults"]["http_500"] == 10
    with pytest.raises(AnnotatorError, match="stopped"):
        run.annotator.answer(pairs[0], 0)


def test_what_is_sent_is_the_papers_prompt_with_every_picture(server: FaultServer, tmp_path: Path) -> None:
    for name, mode in (("a.png", "RGB"), ("b.bmp", "RGB"), ("c.jpg", "L"), ("d.png", "P")):
        Image.new(mode, (4, 3), 200).save(tmp_path / name)
    images, frames = (str(tmp_path / "a.png"), str(tmp_path / "b.bmp")), (
        str(tmp_path / "c.jpg"), str(tmp_path / "d.png"))  # fmt: skip
    pair = make_pair(0, images=images, frames=frames)
    OpenAIAnnotator(make_settings(server)).answer(pair, 0)
    _, body, _ = server.requests[0]
    *pictures, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": judge_prompt(pair, name="paper")}
    assert pair.responses[0] in text["text"] and pair.responses[1] in text["text"]
    heads, contents = zip(*(part["image_url"]["url"].split(",") for part in pictures), strict=True)
    assert heads == tuple(f"data:image/{kind};base64" for kind in ("png", "png", "jpeg", "png"))
    sent = [base64.b64decode(content) for content in contents]
    assert [sent[0], sent[2], sent[3]] == [Path(p).read_bytes() for p in (images[0], *frames)]
    assert Image.open(io.BytesIO(sent[1])).size == (4, 3)
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.0, 2048)
    with pytest.raises(PictureError, match=r"gone\.png \(p-1\) is missing"):
        OpenAIAnnotator(make_settings(server)).answer(make_pair(1, images=("gone.png",)), 0)


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({"seed": None}, [(0.0, None), (0.0, None)]),
        ({"seed": 5}, [(0.0, 5), (0.0, 6)]),
        ({"seed": None, "temperature": 0.2, "retry_temperature": 0.7}, [(0.2, None), (0.7, None)]),
        ({"seed": None, "temperature": 0.2, "retry_temperature": 0.0}, [(0.2, None), (0.0, None)]),
    ],
)
def test_later_attempts_may_differ(
    server: FaultServer, changes: dict[str, Any], sent: list[tuple[float, int | None]]
) -> None:
    annotator = OpenAIAnnotator(make_settings(server, **changes))
    for attempt in range(2):
        annotator.answer(make_pair(0), attempt)
    assert [(body["temperature"], body.get("seed")) for _, body, _ in server.requests] == sent


def test_answers_are_reused_only_for_the_same_question_and_never_deleted(
    server: FaultServer, tmp_path: Path
) -> None:
    pairs = [make_pair(index) for index in range(5)]
    first = Run(server, tmp_path)(pairs)
    asked = len(server.requests)
    Run(server, tmp_path, concurrency=2, timeout_seconds=9, price_input=1)(pairs)
    assert len(server.requests) == asked
    other = Run(server, tmp_path, model="another")(pairs[:3])
    assert {body["model"] for _, body, _ in server.requests[asked:]} == {"another"}
    asked = len(server.requests)
    assert len(read_jsonl(tmp_path / "annotations.jsonl")) == 5 + 3
    assert (
        Run(server, tmp_path)(pairs) == first and Run(server, tmp_path, model="another")(pairs[:3]) == other
    )
    assert len(server.requests) == asked
    assert len(read_jsonl(tmp_path / "annotations.jsonl")) == 5 + 3
    Run(server, tmp_path)([make_pair(0, images=()), pairs[1].swapped()])
    assert server.asked()["p-1"] > 2 and len(server.requests) > asked


def test_processes_that_share_a_folder_lose_nothing_and_agree(server: FaultServer, tmp_path: Path) -> None:
    driver = Path(__file__).parent / "annotate_driver.py"
    ranges = [(0, 60), (30, 90)]
    commands = [[sys.executable, str(driver), server.url, str(tmp_path), *map(str, part)] for part in ranges]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-2000:]
    rows = read_jsonl(tmp_path / "annotations.jsonl")
    kept = {row["pair_id"]: row["answers"] for row in rows}
    assert set(kept) == {f"p-{index}" for index in range(90)}
    assert all(answers[-1] == good_answer(name, len(answers) - 1) for name, answers in kept.items())
    # What one has finished no other asks about again: only what is under way at once may be there twice.
    assert len(rows) <= 90 + 30
    logged = read_jsonl(tmp_path / "requests.jsonl")
    assert len(logged) == len(server.requests) == server.asked().total()
    server.requests.clear()
    pairs = [make_pair(index) for index in range(90)]
    settings = make_settings(server, max_retries=6)
    again = annotate_pairs(
        OpenAIAnnotator(settings), pairs, path=tmp_path / "annotations.jsonl", max_attempts=3
    )
    assert not server.requests and [list(one.answers) for one in again] == [
        kept[one.pair_id] for one in again
    ]


def test_progress_shows_what_it_costs(server: FaultServer, tmp_path: Path) -> None:
    server.plans = {"p-0": ["500"]}
    seen: list[tuple[int, int, str]] = []
    annotator = OpenAIAnnotator(make_settings(server, concurrency=1), sleep=lambda seconds: None)
    annotate_pairs(
        annotator,
        [make_pair(index) for index in range(3)],
        path=tmp_path / "a.jsonl",
        max_attempts=1,
        progress=lambda done, total, note: seen.append((done, total, note)),
    )
    assert seen == [(n, 3, f"{1100 * n} tokens, 1 faults") for n in (1, 2, 3)]


def test_refusals_and_answers_without_tokens_are_answers(server: FaultServer, tmp_path: Path) -> None:
    server.plans = {"p-0": ["refusal", "no usage"]}
    run = Run(server, tmp_path)
    (annotation,) = run([make_pair(0)], max_attempts=2)
    assert annotation.answers[0] == "I cannot ? help."
    record = run.annotator.record()
    assert (record["answers"], record["answers_without_tokens"], record["faults"]) == (2, 1, {})


@pytest.mark.parametrize("key", ["", "  ", "sk-ä", "sk a", "sk\nsecret"])
def test_a_key_that_cannot_be_one_is_named_but_not_shown(
    monkeypatch: pytest.MonkeyPatch, server: FaultServer, key: str
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(AnnotatorError, match=KEY_VARIABLE) as caught:
        OpenAIAnnotator(make_settings(server))
    assert not key.strip() or key not in str(caught.value)
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(AnnotatorError, match="is not set"):
        OpenAIAnnotator(make_settings(server))
    OpenAIAnnotator(make_settings(server, key_variable="")).answer(make_pair(0), 0)
    assert len(server.requests) == 1


def test_a_key_in_the_address_is_refused() -> None:
    for url in ("https://user:key@host/v1", "https://host/v1?key=1", "host/v1"):
        with pytest.raises(ValueError, match="base_url"):
            AnnotatorSettings(base_url=url)


def test_the_settings_choose_the_annotator(server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "truth.jsonl").write_text("")
    script = ScriptSettings(slips=0.3)
    scripted = make_annotator(DataSettings(script=script), tmp_path / "truth.jsonl", 4)
    assert isinstance(scripted, ScriptedAnnotator) and (scripted.settings, scripted.seed) == (script, 4)
    settings = DataSettings(annotator="openai", openai=make_settings(server))
    remote = make_annotator(settings, tmp_path / "truth.jsonl", 4, log=tmp_path / "log.jsonl")
    assert isinstance(remote, OpenAIAnnotator) and remote.name == "m" != scripted.name
    assert remote.log.path == tmp_path / "log.jsonl"


def test_bodies_become_replies_or_faults() -> None:
    def body(message: object, usage: object = None) -> bytes:
        return json.dumps({"choices": [{"message": message}], "usage": usage}).encode()

    assert read_reply(body({"content": "ä"}, {"prompt_tokens": 3, "completion_tokens": 0})) == Reply(
        "ä", 3, 0
    )
    for usage in ([], {"prompt_tokens": "3", "completion_tokens": True}, {"prompt_tokens": -1}):
        assert read_reply(body({"content": ""}, usage)) == Reply("", None, None)
    assert read_reply(body({"content": ["a"]})) == Reply("a", None, None)
    for message in ({}, [], None, {"content": None}):
        reply = read_reply(body(message))
        assert isinstance(reply, Fault) and reply.kind == "wrong_type"
    assert read_reply(b"\xff") == Fault("not_json", "\ufffd")


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("inf", float("inf")),
        ("nan", None),
        ("soon", None),
        ("", None),
        (format_datetime(datetime.fromtimestamp(NOW + 30, UTC), usegmt=True), 30.0),
        (format_datetime(datetime.fromtimestamp(NOW - 30, UTC), usegmt=True), 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str, wait: float | None) -> None:
    fault = read_error(429, {"retry-after": header}, b"", now=NOW)
    assert (fault.kind, fault.retry, fault.wait) == ("http_429", True, wait)
    assert read_error(400, {"retry-after": header}, b"", now=NOW).wait is None


def test_waits_double_up_to_a_minute_and_are_spread() -> None:
    rng = random.Random(0)
    for retries in range(12):
        top = min(2.0**retries, 60.0)
        waits = [waiting_time(Fault("http_500"), retries, rng) for _ in range(200)]
        assert top / 2 <= min(waits) < 0.6 * top < 0.9 * top < max(waits) <= top
    asked = [waiting_time(Fault("http_429", wait=20.0), 0, rng) for _ in range(100)]
    assert 20.0 <= min(asked) < max(asked) <= 20.5
    assert 120.0 <= waiting_time(Fault("http_429", wait=float("inf")), 20, rng) <= 150.0
