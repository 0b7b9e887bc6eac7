"""A server on this machine that gives a file in all the ways in which servers do."""

import contextlib
import http.server
import threading
import time


@contextlib.contextmanager
def serving(content: bytes, pause: float):
    """Yields the address of a server, and the paths that were asked for; the first part of a path says how it answers.

    `right`, `wrong` (another content), `cut` (half of it), `missing`, `slow` (half of it, then a pause), `silent`.
    """
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            how = self.path.split("/")[1]
            if how == "missing":
                self.send_error(404)
                return
            if how == "silent":
                time.sleep(pause)
            body = b"another" + content if how == "wrong" else content
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            if how == "slow":
                self.wfile.flush()
                time.sleep(pause)
            if how not in ("cut", "slow"):
                self.wfile.write(body[len(body) // 2 :])

        def log_message(self, *_):
            pass

        def handle(self):
            with contextlib.suppress(OSError):  # who asked is gone
                super().handle()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
