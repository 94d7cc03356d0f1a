"""``python -m pipeline.bench.serving BUNDLE``: how long a served policy takes for a request, alone and among others."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.serving.agent import PolicyAgent, load_agent

REQUESTS, THREADS = 1000, 100
STEPS = 20  # since the episode began, for a policy that keeps a state


def main(bundle: str) -> None:
    """Print the median and the 99th percentile of the seconds of a request with one observation, or with one episode,
    within the process: a server adds HTTP and JSON. All answers must be equal to those of one caller alone."""
    agent = load_agent(bundle)
    requests = [_request(agent, np.random.default_rng(i)) for i in range(REQUESTS)]
    alone = [_timed(agent, request) for request in requests]
    with ThreadPoolExecutor(THREADS) as pool:
        started = time.perf_counter()
        together = list(pool.map(lambda request: _timed(agent, request), requests))
        whole = time.perf_counter() - started
    wrong = sum(not np.array_equal(one[0], other[0]) for one, other in zip(alone, together, strict=True))
    for name, answers in (("1 caller", alone), (f"{THREADS} callers at once", together)):
        median, slow = 1e3 * np.quantile([seconds for _, seconds in answers], [0.5, 0.99])
        print(f"{name}: median {median:.2f} ms, 99th percentile {slow:.2f} ms")
    print(f"{REQUESTS} requests of {THREADS} threads: {REQUESTS / whole:,.0f} a second, {wrong} wrong")


def _timed(agent: PolicyAgent, request: object) -> tuple[np.ndarray, float]:
    started = time.perf_counter()
    answer = agent.answer(request)
    return answer, time.perf_counter() - started


def _request(agent: PolicyAgent, draws: np.random.Generator) -> dict[str, np.ndarray]:
    lead = (1, STEPS) if agent.stateful else (1,)
    shapes = agent.spec.obs_shapes
    obs = {
        key: draws.integers(0, 256, (*lead, *shape)) if len(shape) == 3 else draws.normal(size=(*lead, *shape))
        for key, shape in shapes.items()
    }
    return {**obs, "action": agent.actions.uniform(draws, STEPS - 1)[None]} if agent.stateful else obs


if __name__ == "__main__":
    main(sys.argv[1])
