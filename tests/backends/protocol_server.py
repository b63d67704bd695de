"""A small real server of OpenAI's protocol, on loopback sockets, that tests can give faults to.

In a test: `with ProtocolServer() as server: server.faults.append("429")`. As a program, for the tests that start
servers as children: `python protocol_server.py --port N [--workers N] [--fault NAME]`.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Quiet(ThreadingHTTPServer):
    """A client that goes away is what some tests want."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


class ProtocolServer:
    """Answers every chat with `echo: ` and the last message. `faults` are used up one a request; `always` stays.

    Requests wait for as many others as a `barrier` wants, and then for `delay` seconds.
    """

    def __init__(self, port=0, ready_after=0.0):
        self.requests, self.headers, self.faults = [], [], deque()
        self.always = None
        self.delay = 0.0
        self.barrier = None
        self.retry_after = "0"
        self.out = self.most_out = 0
        self.answer = None
        self.ready_at = time.monotonic() + ready_after
        self.lock = threading.Lock()
        self.http = Quiet(("127.0.0.1", port), handler(self))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.http.shutdown()
        self.http.server_close()


def usage_of(body):
    said = json.dumps(body.get("messages", body.get("prompt")))
    return {"prompt_tokens": len(said) // 4, "completion_tokens": 5, "total_tokens": len(said) // 4 + 5}


def handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_GET(self):
            ready = time.monotonic() >= server.ready_at
            self.send(200 if ready else 503, {"status": "ok" if ready else "loading"})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.requests.append((self.path, body))
                server.headers.append(dict(self.headers))
                server.out += 1
                server.most_out = max(server.most_out, server.out)
                fault = server.faults.popleft() if server.faults else server.always
            if server.barrier:
                server.barrier.wait()
            time.sleep(server.delay)
            with server.lock:
                server.out -= 1  # before the answer: whoever has it may ask again at once
            self.fail(fault) if fault else self.answer(body)

        def fail(self, fault):
            if fault == "429":
                self.send(429, {"error": {"message": "slow down"}}, {"Retry-After": server.retry_after})
            elif fault == "hang":
                time.sleep(30)
            elif fault == "malformed":
                self.send_raw(200, b'{"choices": [{"mess')
            elif fault == "half-closed":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
            elif fault == "drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
                for _ in range(100):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.1)
            elif fault == "empty":
                self.send(200, {"choices": []})
            elif fault == "error-in-200":
                self.send(200, {"error": {"message": "upstream failed", "code": 502}})
            elif fault == "filtered":
                self.send(200, {"choices": [{"finish_reason": "content_filter", "message": {"content": ""}}]})
            elif fault == "echo-key":
                self.send(401, {"error": {"message": f"bad key: {self.headers['Authorization']}"}})
            elif fault == "quota":
                self.send(429, {"error": {"message": "no money left", "code": "insufficient_quota"}})
            else:
                self.send(int(fault), {"error": {"message": f"fault {fault}"}})

        def answer(self, body):
            if server.answer is not None:
                return self.send(200, server.answer)
            if self.path.endswith("/chat/completions"):
                text = f"echo: {body['messages'][-1]['content']}"
                choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            else:
                choice = {"index": 0, "finish_reason": "length", "text": f"echo: {body['prompt']}"}
            self.send(200, {"object": "x", "choices": [choice], "usage": usage_of(body)})

        def send(self, status, value, headers=()):
            self.send_raw(status, json.dumps(value).encode(), headers)

        def send_raw(self, status, data, headers=()):
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=0, help="children that stay, each in a session of its own")
    parser.add_argument("--fault")
    parser.add_argument("--die-when", help="a file: the server ends when it is there")
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM, and the workers too")
    parser.add_argument("--say-at-start")
    options, _ = parser.parse_known_args()
    if options.say_at_start:
        sys.exit(options.say_at_start)
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if options.stubborn else ""
    if options.stubborn:
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(options.workers):
        # the worker's own child is an orphan at once, as a daemon is
        deeper = f"{ignore}import time; time.sleep(600)"
        code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {deeper!r}]); {deeper}"
        subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
    open(os.path.join(os.environ.get("TMPDIR", "/tmp"), "scratch"), "w").close()
    with ProtocolServer(options.port) as server:
        server.always = options.fault
        print(f"listening on {server.url}", flush=True)
        while not (options.die_when and os.path.exists(options.die_when)):
            time.sleep(0.05)
    sys.exit("out of memory, or so")


if __name__ == "__main__":
    main()
