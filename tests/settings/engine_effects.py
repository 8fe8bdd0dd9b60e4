"""What each setting of `engine` and of every server does: tensors, arguments and requests."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from studio import Changes, Studio, effect

from r1reward.data.annotators import make_annotator
from r1reward.data.storage import write_pairs
from r1reward.engines import EngineError, PromptTooLongError, Sampling, load_engine
from r1reward.engines.openai import OpenAIEngine
from r1reward.engines.transformers import TransformersEngine
from r1reward.engines.vllm import VLLMEngine
from r1reward.files import read_jsonl
from r1reward.judge.consistency_judges import JudgeName, make_consistency_judge
from r1reward.settings import Profile
from r1reward.train import annotators
from r1reward.train.tasks import JudgeTask
from r1reward.types import PreferencePair, Request, Verdict

GREEDY = Sampling(4, temperature=0.0)


class Server:
    """Answers "1" after a while; remembers requests, headers, and how many it had at the same time."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.status, self.together, self.silent = 200, 1, False
        self.now = self.most = 0
        self.changed, self.closing = threading.Condition(), threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None: ...

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                owner.answer(self, body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.block_on_close = True, False
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        with self.changed:
            self.bodies.append(body)
            self.keys.append(handler.headers.get("authorization") or "")
            self.now += 1
            self.most = max(self.most, self.now)
            self.changed.notify_all()
            # More than are allowed at a time would come meanwhile.
            self.changed.wait_for(lambda: self.most > self.together, timeout=0.1)
        if self.silent:
            self.closing.wait()
        with self.changed:
            self.now -= 1
        choice = {"message": {"content": "<answer>1</answer>"}, "finish_reason": "stop"}
        reply = {"choices": [choice], "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 1_000_000}}
        content = json.dumps(reply if self.status == 200 else {"error": {"message": "no"}}).encode()
        try:
            handler.send_response(self.status)
            handler.send_header("content-length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
        except OSError:  # the client gave up
            handler.close_connection = True


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.closing.set()
        server.server.shutdown()
        server.server.server_close()


@effect("engine.name")
def each_name_is_an_engine_of_its_own(studio: Studio) -> None:
    """vLLM itself is not here."""
    engine = load_engine(studio.world.model, studio.profile())
    assert isinstance(engine, TransformersEngine)
    assert isinstance(load_engine("m", studio.profile({"engine.name": "openai"})), OpenAIEngine)
    with fake_vllm():
        made = load_engine(studio.world.model, studio.profile({"engine.name": "vllm"}))
    assert isinstance(made, VLLMEngine)


@effect("engine.batch_size", "engine.max_prompt_tokens", "engine.max_new_tokens")
def generation_keeps_to_its_sizes(studio: Studio) -> None:
    """In rollouts and in an engine of its own: rows of a forward, length of answers, refused prompts."""
    learner = studio.learner({"engine.batch_size": 2})
    engine = load_engine(studio.world.model, studio.profile({"engine.batch_size": 2}))
    assert isinstance(engine, TransformersEngine)
    for one in (learner.engine, engine):
        seen: list[tuple[int, int]] = []
        one.generate([Request("what ?")] * 5, GREEDY, progress=partial(_note, seen))
        assert seen == [(2, 5), (4, 5), (5, 5)]
    lengths = {n: studio.rl({"engine.max_new_tokens": n}).rows[0]["response_length"] for n in (2, 3)}
    assert lengths == {2: 2.0, 3: 3.0}
    long = Request("word " * 20)
    for limit in (16, 512):
        changes = {"engine.max_prompt_tokens": limit}
        loaded = load_engine(studio.world.model, studio.profile(changes))
        for one in (loaded, studio.learner(changes).engine):
            if limit == 512:
                assert one.generate([long], GREEDY)
            else:
                with pytest.raises(PromptTooLongError):
                    one.generate([long], GREEDY)


def _note(seen: list[tuple[int, int]], done: int, of: int) -> None:
    seen.append((done, of))


@contextmanager
def fake_vllm() -> Iterator[list[dict[str, Any]]]:
    """The package vLLM as far as the engine looks at it; notes what a model is made with."""
    made: list[dict[str, Any]] = []

    def model(**arguments: Any) -> Any:
        made.append(arguments)
        ids = SimpleNamespace(
            image_token_id=1, video_token_id=2, vision_start_token_id=3, vision_end_token_id=4
        )
        return SimpleNamespace(llm_engine=SimpleNamespace(model_config=SimpleNamespace(hf_config=ids)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=model, SamplingParams=SimpleNamespace))
        yield made


@effect("engine.vllm.memory", "engine.vllm.eager", "engine.vllm.pictures")
def vllm_gets_its_share_and_its_limits(studio: Studio) -> None:
    """Arguments of its model, and a prompt of more pictures is refused."""
    for memory, eager, pictures in ((0.5, False, 2), (0.25, True, 1)):
        changes = {"engine.vllm.memory": memory, "engine.vllm.eager": eager, "engine.vllm.pictures": pictures}
        with fake_vllm() as made:
            engine = load_engine(studio.world.model, studio.profile({"engine.name": "vllm", **changes}))
            picture = studio.pairs()[0].images[0]
            with pytest.raises(EngineError, match=f"engine.vllm.pictures is {pictures}"):
                engine.generate([Request("what ?", (picture,) * (pictures + 1))], GREEDY)
        (arguments,) = made
        assert (arguments["gpu_memory_utilization"], arguments["enforce_eager"]) == (memory, eager)
        assert arguments["limit_mm_per_prompt"]["image"] == pictures


@dataclass(frozen=True)
class Asked:
    """A part of a profile that names a server, how it is put to use, and what else it needs for that."""

    section: str
    ask: Callable[[Profile, Path, int], Any]
    needs: Changes


def ask_engine(profile: Profile, folder: Path, count: int) -> Any:
    engine = load_engine("m", profile)
    return engine.generate([Request(f"question {index} ?") for index in range(count)], GREEDY)


def ask_annotator(profile: Profile, folder: Path, count: int) -> Any:
    return _annotate(make_annotator(profile.data, folder, 0), count)


def ask_weak_annotator(profile: Profile, folder: Path, count: int) -> Any:
    log = folder / "requests.jsonl"
    return _annotate(
        annotators._make_annotator("weak", data=folder, out=folder, log=log, profile=profile, seed=0), count
    )


def _annotate(annotator: Any, count: int) -> Any:
    pairs = [PreferencePair(f"p-{n}", "test", f"question {n} ?", ("a", "b"), 1) for n in range(count)]
    with ThreadPoolExecutor(annotator.concurrency) as pool:
        list(pool.map(lambda pair: annotator.answer(pair, 0), pairs))
    return annotator.record()


def ask_judge(name: JudgeName) -> Callable[[Profile, Path, int], Any]:
    def ask(profile: Profile, folder: Path, count: int) -> Any:
        judge = make_consistency_judge(profile, name, folder, seed=0)
        judge.judge([f"text {index}" for index in range(count)], [Verdict.FIRST] * count)
        return JudgeTask(judge, settings=profile.rl, prompt="mini").used()["judge_record"]

    return ask


SERVERS = (
    Asked("engine.openai", ask_engine, {"engine.name": "openai"}),
    Asked("data.openai", ask_annotator, {"data.annotator": "openai"}),
    Asked("annotators.openai", ask_weak_annotator, {"data.annotator": "openai"}),
    Asked("judges.server", ask_judge("strong"), {"judges.name": "server"}),
    Asked("judges.weak_server", ask_judge("weak"), {"judges.name": "server"}),
)
SENDING = SERVERS[1:]
REACHED = ("model", "base_url", "key_variable", "concurrency", "timeout_seconds", "max_retries")


def every(names: Sequence[str], servers: Sequence[Asked] = SERVERS) -> list[str]:
    return [f"{one.section}.{name}" for one in servers for name in names]


def put(studio: Studio, one: Asked, server: Server, count: int, **values: Any) -> Any:
    """Ask `count` questions of a server under a profile with these values in the section."""
    base = {"base_url": server.url, "model": "m", "key_variable": "", "max_retries": 0}
    given = {f"{one.section}.{name}": value for name, value in {**base, **values}.items()}
    return one.ask(studio.profile({**one.needs, **given}), studio.fresh(), count)


@effect(*every(REACHED))
def each_server_is_reached_as_its_section_says(studio: Studio) -> None:
    """Model and key of the request, requests at a time, repetitions, and giving up while it still waits."""
    for one in SERVERS:
        with serving() as server, pytest.MonkeyPatch.context() as patch:
            patch.setenv("A_KEY", "sk-first")
            put(studio, one, server, 1, model="m", key_variable="A_KEY")
            assert (server.bodies[-1]["model"], server.keys[-1]) == ("m", "Bearer sk-first"), one.section
            for most in (1, 3):
                server.together = most
                server.most = 0
                put(studio, one, server, 6, concurrency=most)
                assert server.most == most, one.section
        for repetitions in (0, 1):
            with serving() as server:
                server.status, server.together = 500, 1
                with suppress(RuntimeError):
                    put(studio, one, server, 1, max_retries=repetitions)
                assert len(server.bodies) == 1 + repetitions, one.section
        with serving() as server:
            server.silent = True
            with suppress(RuntimeError):
                put(studio, one, server, 1, timeout_seconds=0.3)
            assert server.now == 1, "given up while the server is still at it"


@effect(*every(("refused",)))
def what_a_server_does_not_take_is_left_out(studio: Studio) -> None:
    """From the body of every request."""
    for one in SERVERS:
        for refused in ((), ("temperature",)):
            with serving() as server:
                put(studio, one, server, 1, refused=refused)
                assert [name for name in ("temperature",) if name not in server.bodies[0]] == [*refused]


@effect("annotators.openai.folder")
def paid_answers_of_the_weak_annotator_have_their_own_folder(studio: Studio) -> None:
    """Two arms do not share one."""
    data, paid = studio.fresh(), studio.fresh()
    write_pairs(data / "out" / "pairs.jsonl", studio.pairs()[:2])
    with serving() as server:
        values = {"base_url": server.url, "key_variable": "", "folder": str(paid)}
        changes = {f"annotators.openai.{name}": value for name, value in values.items()}
        profile = studio.profile({"data.annotator": "openai", "data.max_attempts": 1, **changes})
        for arm in ("weak", "weak_reworded"):
            known = {"data": data, "out": data / "out", "record": data / arm, "profile": profile}
            known["paid"] = data / "paid"
            annotators.run_arm(arm, **known, seed=0)
            assert len(read_jsonl(paid / arm / "seed_0" / "annotations.jsonl")) == 2
            assert not (data / "out" / arm / "seed_0" / "annotations.jsonl").exists()


@effect(*every(("temperature", "seed", "max_tokens"), SENDING))
def what_is_sent_with_a_question_is_the_sections(studio: Studio) -> None:
    """In the body of the request."""
    for one in SENDING:
        for temperature, seed, tokens in ((0.25, 3, 7), (0.75, 4, 9)):
            with serving() as server:
                put(studio, one, server, 1, temperature=temperature, seed=seed, max_tokens=tokens)
                (body,) = server.bodies
            sent = (
                body["temperature"],
                body["seed"],
                body.get("max_tokens", body.get("max_completion_tokens")),
            )
            assert sent == (temperature, seed, tokens), one.section


@effect(*every(("price_input", "price_output"), SENDING))
def requests_cost_what_the_section_says(studio: Studio) -> None:
    """A million tokens of each kind an answer, and two answers."""
    for one in SENDING:
        with serving() as server:
            record = put(studio, one, server, 2, price_input=2.0, price_output=0.5)
            assert record["dollars"] == pytest.approx(2 * 2.5), one.section


@effect(*every(("retry_temperature",), SERVERS[1:3]))
def later_attempts_have_their_own_temperature(studio: Studio) -> None:
    """Only they."""
    makers = {
        "data.openai": lambda profile: make_annotator(profile.data, studio.folder, 0),
        "annotators.openai": lambda profile: annotators._make_annotator(
            "weak",
            data=studio.folder,
            out=studio.folder,
            log=studio.fresh() / "log.jsonl",
            profile=profile,
            seed=0,
        ),
    }
    for section, make in makers.items():
        with serving() as server:
            values = {
                "base_url": server.url,
                "key_variable": "",
                "temperature": 0.0,
                "retry_temperature": 0.5,
            }
            changes = {f"{section}.{name}": value for name, value in values.items()}
            annotator = make(studio.profile({"data.annotator": "openai", **changes}))
            for attempt in (0, 1):
                annotator.answer(studio.pairs()[0], attempt)
            assert [body["temperature"] for body in server.bodies] == [0.0, 0.5]
