"""Owns a small HTTP server of a test, plain or TLS, on a thread of its own. Does not own what it answers."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


class HttpDoor:
    """Listens on 127.0.0.1 from the beginning until `close`; `answer` gets the method, path, headers and body.

    `certificate`: a PEM file with key and certificate; then it speaks TLS and is to be called `localhost`.
    """

    def __init__(self, answer: Callable[[str, str, dict[str, str], bytes], Answer], certificate: Path | None = None):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._respond()

            def do_POST(self) -> None:
                self._respond()

            def _respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {key.lower(): value for key, value in self.headers.items()}
                status, kind, reply = answer(self.command, self.path, headers, body)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        scheme, host = "http", "127.0.0.1"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
            scheme, host = "https", "localhost"
        self.port = int(self._server.server_address[1])
        self.url = f"{scheme}://{host}:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that breaks the handshake off is what some tests are about."""
