"""A server on loopback that sends whatever bytes a test gives it, and keeps every connection open."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

Answer = Callable[[dict[str, Any], dict[str, str]], bytes]


def http(status: int, body: bytes | object, headers: dict[str, str] | None = None) -> bytes:
    """A response with its length; what is not bytes is sent as JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(sent)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + sent


def says(text: str | None, **fields: Any) -> dict[str, Any]:
    """The body of an answer; `fields` belong to its message, `finish_reason` to its choice."""
    reason = fields.pop("finish_reason", "stop")
    return {"choices": [{"message": {"content": text, **fields}, "finish_reason": reason}]}


class RawServer:
    """`answer` gets a request's body and headers and returns bytes; all requests are remembered.

    With `hangs_up` it closes the connection behind them.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answer: Answer = lambda body, headers: http(200, says("1"))
        self.hangs_up = False
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in [self._listener, *self._open]:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            stream = connection.makefile("rb")
            while stream.readline():
                headers: dict[str, str] = {}
                while line := stream.readline().strip():
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = json.loads(stream.read(int(headers["content-length"])))
                self.bodies.append(body)
                connection.sendall(self.answer(body, headers))
                if self.hangs_up:
                    return
        except (OSError, ValueError):
            pass  # the client has hung up, or the test is over
        finally:
            connection.close()
