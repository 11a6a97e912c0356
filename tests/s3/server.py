#!/usr/bin/env python3
"""moto's S3 server, one request at a time: `server.py PORT` (needs moto[server]; http://127.0.0.1:PORT, any credentials).

moto's own command answers requests in threads and looks whether a key is there before it writes it. Two writers that meet
between the two both create one object, which is what Siltstone refuses a store for, and what a busy machine brings about.
"""

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

    def __call__(self, environ, start_response):
        chunked = environ.get("wsgi.input_terminated")
        length = None if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        with self.lock:
            answer = self.app(environ, start_response)
            try:
                return list(answer)
            finally:
                if hasattr(answer, "close"):
                    answer.close()


if __name__ == "__main__":
    app = OneAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
