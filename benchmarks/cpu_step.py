"""Time one step of an LSTM (H = 256, B = 1), and the first call with an empty and a full cache."""

from __future__ import annotations

import os
import statistics
import tempfile
import time

import torch

import rnnc


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        os.environ["XDG_CACHE_HOME"] = folder
        x = torch.rand(1, 88)
        begin = time.perf_counter()
        model = rnnc.compile("zoo:lstm", hidden=256, backend="cpu").eval()
        _, state = model.step(x)
        print(f"first call, empty cache: {time.perf_counter() - begin:.2f} s")
        times: list[float] = []
        for _ in range(300):
            begin = time.process_time()
            _, state = model.step(x, state)
            times.append(time.process_time() - begin)
        print(f"a step: {statistics.median(times) * 1e6:.0f} µs of processor time")
        begin = time.perf_counter()
        rnnc.compile("zoo:lstm", hidden=256, backend="cpu").eval().step(x)
        print(f"a second model, compiled already: {time.perf_counter() - begin:.3f} s")


if __name__ == "__main__":
    main()
