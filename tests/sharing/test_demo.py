"""One page, on this machine only, for requests that name this machine."""

import http.client
import threading

import pytest

from condgen.base.errors import UserError
from condgen.sharing import demo

PAGE = "<h1>A report</h1>"


@pytest.fixture
def page(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "report.html").write_text(PAGE)
    return tmp_path / "report.html"


@pytest.fixture
def port(page):
    with demo.server(page, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def ask(port, path="/", method="GET", host=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host=host is not None)
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer, answer.read().decode()
    finally:
        connection.close()


def test_the_page_is_served_as_it_is_now_and_may_load_nothing(page, port):
    answer, text = ask(port)
    assert (answer.status, text) == (200, PAGE)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src data:" in answer.headers["Content-Security-Policy"]
    assert "http" not in answer.headers["Content-Security-Policy"]
    page.write_text("<h1>The next run's</h1>")
    assert ask(port, "/?again")[1] == "<h1>The next run's</h1>"
    assert ask(port, host=f"localhost:{port}")[0].status == 200
    answer, text = ask(port, method="HEAD")
    assert (answer.status, text, answer.headers["Content-Length"]) == (200, "", str(page.stat().st_size))


@pytest.mark.attack
@pytest.mark.parametrize(
    "path",
    ["/secret.txt", "/report.html", "/..", "/../secret.txt", "//secret.txt", "/%2e%2e/secret.txt", "/."],
)
def test_nothing_else_is_served(port, path):
    answer, text = ask(port, path)
    assert answer.status == 404
    assert "secret" not in text.replace(path, "")
    assert "report.html" not in text


@pytest.mark.attack
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{}", "127.0.0.1", "127.0.0.1:1", "[::1]:{}", " "]
)
def test_a_request_under_another_name_is_refused(port, host):
    """A page of evil.example whose name was bound to 127.0.0.1 meanwhile."""
    answer, text = ask(port, host=host.format(port))
    assert answer.status == 421
    assert PAGE not in text


@pytest.mark.attack
def test_nobody_can_write(port, page):
    for method in ("POST", "PUT", "DELETE"):
        assert ask(port, method=method)[0].status == 501
    assert page.read_text() == PAGE


def test_a_page_that_is_gone_is_said(page, port):
    page.unlink()
    assert ask(port)[0].status == 404


def test_it_ends_by_ctrl_c_in_silence_and_opens_nothing_unasked(page, monkeypatch, capsys):
    opened, said = [], []
    monkeypatch.setattr(demo.webbrowser, "open", opened.append)

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo.ThreadingHTTPServer, "serve_forever", interrupt)
    demo.serve(page, 0, said.append)
    assert opened == []
    demo.serve(page, 0, said.append, show=True)
    assert opened == said[1:]
    assert said[0].startswith("http://127.0.0.1:")
    assert capsys.readouterr() == ("", "")


def test_what_cannot_be_served_is_one_line(page, port):
    with pytest.raises(UserError, match=r"nothing.html is missing: 'dvc repro' makes it"):
        demo.server(page.with_name("nothing.html"), 0)
    with pytest.raises(UserError, match=f"port {port} cannot be used .Address already in use.: name another"):
        demo.server(page, port)
    with pytest.raises(UserError, match="port is 65536, but must be in"):
        demo.server(page, 65_536)
