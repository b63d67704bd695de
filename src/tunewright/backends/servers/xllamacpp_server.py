"""llama.cpp's own server, out of the package xllamacpp. Run as a file, by a Python that need not have ours.

python xllamacpp_server.py --model FILE.gguf --host 127.0.0.1 --port 8080 --alias NAME
"""

import argparse
import signal
from importlib import import_module


def main() -> None:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--ctx-size", type=int, default=0, help="tokens; 0 is the model's own")
    parser.add_argument("--parallel", type=int, default=1, help="requests at a time; they share the context")
    parser.add_argument("--threads", type=int, default=-1, help="of prompts and answers; -1 is llama.cpp's own choice")
    parser.add_argument("--chat-template-file", help="a Jinja template in place of the model's own")
    options = parser.parse_args()
    xllamacpp = import_module("xllamacpp")  # by name: it is not there where types are checked
    settings = xllamacpp.CommonParams()
    settings.model.path = options.model
    settings.hostnames = [options.host]
    settings.port = options.port
    settings.model_alias = {options.alias}
    settings.n_ctx = options.ctx_size
    settings.n_parallel = options.parallel
    threads = options.threads if options.threads > 0 else -1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.use_jinja = True
    if options.chat_template_file:
        with open(options.chat_template_file, encoding="utf-8") as file:
            settings.chat_template = file.read()
    settings.ui = False
    server = xllamacpp.Server(settings)
    print(f"listening on {server.listening_address}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
