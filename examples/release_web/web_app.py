"""The application that the demo releases: says which version it is, and whether it is well.

It stands in every release's archive beside a file `VERSION`. A file `BROKEN_ON` names the host on which this
release does not come up healthy, which is how version 3 is bad.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
VERSION = (HERE / "VERSION").read_text().strip()
BROKEN_ON = (HERE / "BROKEN_ON").read_text().strip() if (HERE / "BROKEN_ON").exists() else ""
HOST = os.environ["APP_HOST"]


class Handler(BaseHTTPRequestHandler):
    """GET / and GET /health."""

    def do_GET(self) -> None:
        """Answer with the version; /health is 503 on the host where this release is broken."""
        sick = self.path == "/health" and HOST == BROKEN_ON
        body = json.dumps({"host": HOST, "version": VERSION, "healthy": HOST != BROKEN_ON}).encode()
        self.send_response(503 if sick else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Handler).serve_forever()
