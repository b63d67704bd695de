"""lm-evaluation-harness' `hf` model as a process that answers what it is sent; run by a Python that has lm-eval.

    python eval_speed_worker.py MODEL_FOLDER THREADS DTYPE

reads    a JSON line a request: {texts, until, max_gen_toks, batch_size}
writes   a JSON line each: {answers, seconds, prompt_tokens}; the first line says the versions
"""

import json
import os
import sys
import time
from importlib.metadata import version


def main() -> None:
    folder, threads, dtype = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is no answer
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(threads)
    model = HFLM(pretrained=folder, dtype=dtype, device="cpu")
    say(out, {"lm_eval": version("lm_eval"), "transformers": version("transformers"), "torch": torch.__version__})
    for line in sys.stdin:
        asked = json.loads(line)
        model.batch_size_per_gpu = asked["batch_size"]
        settings = {"until": asked["until"], "max_gen_toks": asked["max_gen_toks"], "do_sample": False}
        requests = [
            Instance("generate_until", {}, (text, dict(settings)), index) for index, text in enumerate(asked["texts"])
        ]
        began = time.perf_counter()
        answers = model.generate_until(requests, disable_tqdm=True)
        seconds = time.perf_counter() - began
        counts = [len(model.tok_encode(text)) for text in asked["texts"]]
        say(out, {"answers": answers, "seconds": seconds, "prompt_tokens": counts})


def say(out, value: object) -> None:
    out.write(json.dumps(value) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
