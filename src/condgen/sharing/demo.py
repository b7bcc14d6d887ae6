"""Serves one page on this machine: the report of a run.

Other web sites can make a browser ask any address, this machine's, too, under a name of theirs that suddenly
means 127.0.0.1 (DNS rebinding). So only requests to 127.0.0.1 or localhost are answered.
"""

import webbrowser
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from condgen.base.errors import UserError
from condgen.sampling.generator import within

PAGE = Path("data/report.html")
HOST = "127.0.0.1"
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",  # the next run has another page
    # The page is one file: it loads nothing, and sends nothing.
    "Content-Security-Policy": "default-src data: blob: 'unsafe-inline' 'wasm-unsafe-eval'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of / with the page, and everything else with an error."""

    page: Path
    server_version, sys_version = "condgen", ""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        port = cast(_Server, self.server).server_port
        end = "" if port == 80 else f":{port}"
        if self.headers.get_all("Host") not in ([f"{HOST}{end}"], [f"localhost{end}"]):
            return self.send_error(HTTPStatus.MISDIRECTED_REQUEST, f"Ask {HOST}{end}")
        if self.path.partition("?")[0] != "/":
            return self.send_error(HTTPStatus.NOT_FOUND)
        try:
            content = self.page.read_bytes()
        except OSError:
            return self.send_error(HTTPStatus.NOT_FOUND, "The report is gone: run 'dvc repro'")
        self.send_response(HTTPStatus.OK)
        for name, value in (HEADERS | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal shows the address."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Nothing: a browser has closed the connection."""


def server(page: Path, port: int) -> ThreadingHTTPServer:
    """A server of the page that listens, on this machine only; port 0: any that is free. Raises UserError."""
    within("port", port, 0, 65_535)
    if not page.is_file():
        raise UserError(f"{page} is missing: 'dvc repro' makes it, or 'dvc pull' brings it")
    try:
        return _Server((HOST, port), type("Handler", (_Handler,), {"page": page}))
    except OSError as error:
        raise UserError(f"port {port} cannot be used ({error.strerror}): name another with --port") from None


def serve(page: Path, port: int, say: Callable[[str], None], show: bool = False) -> None:
    """Serves the page until Ctrl-C. say: is told its address. show: opens a browser. Raises UserError."""
    with server(page, port) as found:
        address = f"http://{HOST}:{found.server_port}/"
        try:
            say(address)
            if show:
                webbrowser.open(address)
            found.serve_forever()
        except KeyboardInterrupt:
            pass  # how it ends
