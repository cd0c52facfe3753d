"""A process that measures one candidate when it is asked: JSON lines on stdin and stdout, started by ``rounds``.

The first line is ``{"candidate": {...}, "setup": {...}}``, answered when the candidate is warm. Then each
``{"ask": "time" | "count_saved" | "measure_peak"}`` is answered by ``{"answer": ...}``. Between questions it sleeps.
A failure is ``{"error": "..."}``, and the end.
"""

from __future__ import annotations

import json
import os
import sys
import time

import torch

from convnext_dense.benchmark.plan import Candidate, Setup
from convnext_dense.benchmark.report import describe_error
from convnext_dense.benchmark.step import Step


def main() -> int:
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        for answer in _serve(map(json.loads, sys.stdin)):
            print(json.dumps(answer), file=answers, flush=True)
    except Exception as error:  # whatever a peer raises: the others go on
        print(json.dumps(dict(error=describe_error(error))), file=answers, flush=True)
        return 1
    return 0


def _serve(requests):
    first = next(requests, None)
    if first is None:  # not needed after all
        return
    start = time.perf_counter()
    step = Step(Candidate(**first['candidate']), Setup(**first['setup']))
    is_cpu = step.device.type == 'cpu'
    yield dict(
        seconds=time.perf_counter() - start,
        threads=torch.get_num_threads() if is_cpu else None,
        device=None if is_cpu else torch.cuda.get_device_name(step.device),
    )
    for request in requests:
        yield dict(answer=getattr(step, request['ask'])())


if __name__ == '__main__':
    sys.exit(main())
