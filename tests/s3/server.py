#!/usr/bin/env python3
"""moto's S3 server, one request at a time: `server.py PORT` (needs moto[server]; http://127.0.0.1:PORT, any credentials).

moto's own command answers requests in threads and looks whether a key is there before it writes it. Two writers that meet
between the two both create one object, which is what Siltstone refuses a store for, and what a busy machine brings about.

GET /-/reads/BUCKET answers how many requests for data files of a bucket there were since it was last asked, and how many
bytes these were given.
"""

import collections
import io
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


class OneAtATime:
    """A WSGI application that takes a request in whole, and has answered it in whole before it begins with the next."""

    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()
        self.reads = collections.defaultdict(lambda: [0, 0])

    def __call__(self, environ, start_response):
        chunked = environ.get("wsgi.input_terminated")
        length = None if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        path = environ["PATH_INFO"]
        with self.lock:
            if path.startswith("/-/reads/"):
                requests, given = self.reads.pop(path.removeprefix("/-/reads/"), (0, 0))
                answer = f"{requests} {given}".encode()
                start_response("200 OK", [("Content-Length", str(len(answer)))])
                return [answer]
            answer = self.app(environ, start_response)
            try:
                body = list(answer)
            finally:
                if hasattr(answer, "close"):
                    answer.close()
            is_data = path.endswith(".parquet") and "/_delta_log/" not in path and "/_siltstone/" not in path
            if is_data and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
                reads = self.reads[path.split("/")[1]]
                reads[0] += 1
                reads[1] += sum(map(len, body)) if environ["REQUEST_METHOD"] == "GET" else 0
            return body


if __name__ == "__main__":
    app = OneAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
