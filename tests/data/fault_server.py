"""An OpenAI-compatible server on loopback that fails on demand and remembers who asked what."""

from __future__ import annotations

import hashlib
import json
import queue
import re
import socket
import struct
import subprocess
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from r1reward.settings import AnnotatorSettings
from r1reward.types import PreferencePair

KEY, KEY_VARIABLE = "sk-test-0123456789abcdef", "R1REWARD_TEST_KEY"
# What a client has to call each fault in its record.
KINDS = {
    "429": "http_429",
    "429 after 7": "http_429",
    "408": "http_408",
    "409": "http_409",
    "500": "http_500",
    "503": "http_503",
    "reset": "connection",
    "cut": "connection",
    "truncated": "not_json",
    "html": "not_json",
    "deep": "not_json",
    "binary": "not_json",
    "no choices": "no_choices",
    "wrong type": "wrong_type",
    "null": "wrong_type",
    "list": "wrong_type",
    "10 MB": "too_large",
}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}
BODIES = {
    "truncated": b'{"choices": [{"message": {"content": "<think>the ri',
    "html": b"<html>502</html>",
    "deep": b"[" * 200_000,
    "binary": b'{"choices": "\xff\xfe"}',
    "no choices": b'{"choices": []}',
    "wrong type": b'{"choices": [{"message": {"content": 1}}]}',
    "null": b'{"choices": [{"message": {"content": null}}], "error": {}}',
    "list": b'["choices"]',
    "10 MB": json.dumps({"choices": [{"message": {"content": "x" * 10_000_000}}]}).encode(),
}


def make_pair(index: int, **fields: Any) -> PreferencePair:
    return PreferencePair(f"p-{index}", "p", f"pair p-{index} : colour ?", ("red .", "blue ."), 1, **fields)


def make_settings(server: FaultServer, **changes: Any) -> AnnotatorSettings:
    values = {"base_url": server.url, "key_variable": KEY_VARIABLE, "model": "m", "seed": 0, "max_retries": 3}
    return AnnotatorSettings(**{**values, **changes})


def good_answer(pair_id: str, attempt: int) -> str:
    """Names the preferred response (1) in about half of the attempts; follows from its arguments alone."""
    choice = 1 + hashlib.sha256(f"{pair_id} {attempt}".encode()).digest()[0] % 2
    return f"<think>{pair_id}, attempt {attempt}: ä</think><answer>{choice}</answer>"


class FaultServer:
    """`plans[pair_id]` lists what the next requests of a pair get, `always` is for all; others are answered.

    The attempt is read from the seed in the request. `arm` kills a process at a request.
    """

    def __init__(self) -> None:
        self.plans: dict[str, list[str]] = {}
        self.always = ""
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.faults: Counter[str] = Counter()
        self.lock, self.closing = threading.Lock(), threading.Event()
        self.countdown, self.victims = 0, queue.Queue[subprocess.Popen]()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler, bind_and_activate=False)
        # A busy machine takes connections late, and would drop those beyond the usual five.
        self._server.request_queue_size = 128
        self._server.server_bind()
        self._server.server_activate()
        self._server.daemon_threads, self._server.block_on_close = True, False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> FaultServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def good_answer(self, pair_id: str, attempt: int) -> str:
        """What a request gets that does not fail."""
        return good_answer(pair_id, attempt)

    def asked(self) -> Counter[str]:
        """Requests of each pair."""
        return Counter(pair_id for pair_id, _, _ in self.requests)

    def arm(self, countdown: int) -> None:
        """At the request of this number from now, kill the process that is put into `victims`."""
        with self.lock:
            self.countdown = countdown

    def take(self, pair_id: str, body: dict[str, Any], headers: dict[str, str]) -> str:
        """Log a request; returns the fault it gets."""
        with self.lock:
            self.requests.append((pair_id, body, headers))
            plan = self.plans.get(pair_id)
            fault = plan.pop(0) if plan else self.always
            self.faults.update([fault] if fault else [])
            self.countdown -= 1
            dies = self.countdown == 0
        if dies:
            self.victims.get().kill()
        return fault


class _Handler(BaseHTTPRequestHandler):
    owner: FaultServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests clean."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        content = body["messages"][0]["content"]
        found = re.search(r"pair (p-\d+)", content if isinstance(content, str) else content[-1]["text"])
        assert found
        fault = self.owner.take(found[1], body, {name.lower(): value for name, value in self.headers.items()})
        try:
            self._answer(fault, found[1], body)
        except OSError:  # the client has hung up, as it does with too long an answer or when it is killed
            self.close_connection = True

    def _answer(self, fault: str, pair_id: str, body: dict[str, Any]) -> None:
        if fault == "timeout":
            self.owner.closing.wait()
            self.close_connection = True
        elif fault == "reset":
            # With this option closing sends RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()
            self.close_connection = True
        elif fault[:3].isdigit() and not fault.startswith("10 MB"):
            after = {"retry-after": fault.split()[-1]} if "after" in fault else {}
            code = "insufficient_quota" if "quota" in fault else "some_error"
            error = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": code}}
            self._send(int(fault[:3]), json.dumps(error).encode(), after)
        elif fault in BODIES:
            self._send(200, BODIES[fault])
        else:
            message = {"content": self.owner.good_answer(pair_id, body.get("seed", 0))}
            if fault == "refusal":
                message = {"content": None, "refusal": "I cannot \ud800 help."}
            value = {"choices": [{"message": message}], "usage": None if fault == "no usage" else USAGE}
            self._send(200, json.dumps(value).encode(), cut=fault == "cut")

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:-10] if cut else body)
        self.close_connection = cut or self.close_connection
