"""How fast do our networks predict and train on a CPU, beside plain Keras, torch and LiteRT?

    python benchmarks/peers.py --torch TORCH_PYTHON              every case
    python benchmarks/peers.py --case resnet20 --what prediction one table
    python benchmarks/peers.py --quick                           does it run? the numbers mean nothing

Each side is a process of its own, since torch may be installed elsewhere (`--torch` names the Python that has it;
without it, torch is left out). The processes take turns, one works at a time, each with as many threads as there are
cores, on the same batch, in float32. A ratio is a side's time divided by ours, taken within each round: above 1, ours
is the faster. `cpu` is the processor time of a call. `resnet50` of torch has its stride on the 3x3 convolutions.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

# Shape of an image, batch, and the network of torch_twins.
CASES = {
    "resnet20": ((32, 32, 3), 128, lambda twins: twins.cifar(20, False)),
    "preresnet110": ((32, 32, 3), 128, lambda twins: twins.cifar(110, True)),
    "resnet50": ((224, 224, 3), 8, lambda twins: twins.resnet50()),
}
SIDES = {
    "prediction": ("ours", "folded", "keras", "litert", "torch", "torch.compile"),
    "training": ("ours", "keras", "torch", "torch.compile"),
}
SECONDS, ROUNDS = 0.5, 15


def of_keras(side, case, what, batch):
    """Returns a function that runs one batch by Keras, by our folded network or by LiteRT."""
    import throughput

    import keras_resnets as kr

    model = throughput.network(case, "theirs" if side == "keras" else "ours")
    x, y = throughput.batch_of(throughput.CASES[case], batch)
    if what == "training":
        return lambda: model.train_on_batch(x, y)
    if side != "litert":
        model = kr.fold(model) if side == "folded" else model
        return lambda: model.predict_on_batch(x)
    with tempfile.TemporaryDirectory() as folder:
        from ai_edge_litert.interpreter import Interpreter

        kr.export.litert(model, Path(folder) / "net.tflite", calls=0)
        content = (Path(folder) / "net.tflite").read_bytes()
    interpreter = Interpreter(model_content=content, num_threads=len(os.sched_getaffinity(0)))
    source, target = (end[0]["index"] for end in (interpreter.get_input_details(), interpreter.get_output_details()))
    interpreter.resize_tensor_input(source, x.shape)
    interpreter.allocate_tensors()

    def run():
        interpreter.set_tensor(source, x)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run


def of_torch(side, case, what, batch):
    """Returns a function that runs one batch by torch, with channels last."""
    import numpy as np
    import torch
    import torch_twins

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    shape, _, network = CASES[case]
    model = network(torch_twins).to(memory_format=torch.channels_last)
    x = np.random.default_rng(0).normal(size=(batch, shape[2], *shape[:2])).astype("float32")
    x = torch.from_numpy(x).to(memory_format=torch.channels_last)
    y = torch.zeros(batch, dtype=torch.long)
    model.train(what == "training")
    run = torch.compile(model) if side == "torch.compile" else model
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(run(x), y).backward()
        optimizer.step()

    def predict():
        with torch.inference_mode():
            return run(x)

    return step if what == "training" else predict


def work(side, case, what, batch):
    """Answers each number of calls that it reads with the wall and the processor seconds of one."""
    run = (of_torch if side.startswith("torch") else of_keras)(side, case, what, batch)
    for _ in range(2):
        run()
    print("answer ready", flush=True)
    for line in sys.stdin:
        calls, wall, processor = int(line), time.perf_counter(), time.process_time()
        for _ in range(calls):
            run()
        times = (time.perf_counter() - wall) / calls, (time.process_time() - processor) / calls
        print("answer", json.dumps(times), flush=True)


class Worker:
    """A side in a process of its own."""

    def __init__(self, python, side, case, what, batch):
        command = [python, __file__, "--side", side, "--case", case, "--what", what, "--batch", str(batch)]
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.answer()

    def answer(self):
        for line in self.process.stdout:
            if line.startswith("answer"):
                return line.split(maxsplit=1)[1]
        self.log.seek(0)
        raise SystemExit(f"{' '.join(self.process.args)} failed:\n{self.log.read().decode(errors='replace')[-2000:]}")

    def time(self, calls):
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        return json.loads(self.answer())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def measure(case, what, torch, batch, rounds, seconds):
    """Prints the table of one case."""
    sides = [side for side in SIDES[what] if torch or not side.startswith("torch")]
    workers = {}
    try:
        for side in sides:
            workers[side] = Worker(torch if side.startswith("torch") else sys.executable, side, case, what, batch)
        calls = {side: max(1, round(seconds / worker.time(1)[0])) for side, worker in workers.items()}
        taken = [{side: worker.time(calls[side]) for side, worker in workers.items()} for _ in range(rounds)]
    finally:
        for worker in workers.values():
            worker.close()
    print(f"\n{case}, {what}, batch {batch}, {rounds} rounds; median (smallest to largest)")
    print(f"  {'side':<15}{'images/s':>24}{'cpu, ms':>9}{'time / ours':>24}{'cpu / ours':>24}")
    for side in sides:
        rates = [batch / row[side][0] for row in taken]
        ratios = [[row[side][i] / row["ours"][i] for row in taken] for i in (0, 1)]
        cpu = median(1000 * row[side][1] for row in taken)
        cells = [spread(rates, 1), f"{cpu:.1f}", spread(ratios[0], 2), spread(ratios[1], 2)]
        print(f"  {side:<15}{cells[0]:>24}{cells[1]:>9}{cells[2]:>24}{cells[3]:>24}", flush=True)


def spread(values, digits):
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def header(torch):
    packages = ("keras_resnets", "keras", "tensorflow", "ai-edge-litert", "numpy")
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    if torch:
        ask = [torch, "-c", "import torch; print(torch.__version__)"]
        versions.append(f"torch {subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()}")
    print(f"command   {' '.join(['python', *sys.argv])}")
    print(f"versions  python {platform.python_version()}, {', '.join(versions)}")
    cores = len(os.sched_getaffinity(0))
    print(f"machine   {platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, help="one network only")
    parser.add_argument("--what", choices=SIDES, help="prediction or training only")
    parser.add_argument("--torch", metavar="PYTHON", help="the Python that has torch; none leaves torch out")
    parser.add_argument("--quick", action="store_true", help="tiny batches and two rounds, to see that it runs")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        return work(given.side, given.case, given.what, given.batch)
    header(given.torch)
    for case in [given.case] if given.case else CASES:
        for what in [given.what] if given.what else SIDES:
            rest = (2, 2, 0.01) if given.quick else (CASES[case][1], ROUNDS, SECONDS)
            measure(case, what, given.torch, *rest)


if __name__ == "__main__":
    main()
