"""How fast is one GPU with our networks, and what do they reach on CIFAR-10? Through JAX, without TensorFlow.

    python benchmarks/gpu.py --out DIR                        throughput, beside the same networks in PyTorch
    python benchmarks/gpu.py --out DIR --data cifar10.npz     and trainings
    python benchmarks/gpu.py --out DIR --only train --data cifar10.npz --runs resnet20_0 plain56_0
    python benchmarks/gpu.py --out DIR --tiny                 does it run? a minute on a CPU; the numbers mean nothing

It stops by itself after `--minutes`; the same command goes on. `cifar10.npz` holds `x_train`, `y_train`, `x_test`,
`y_test`, as `keras.datasets.cifar10.load_data` gives them, and may hold `x_val`, `y_val`; else a tenth of the training
images is held out. Each training leaves `DIR/runs/NAME`: `model.keras`, `history.csv`, `training.json`, and the
networks of some epochs before the last.

Throughput: several processes compile at a time, then each is timed alone, five times. Ours trains with `train_step` in
a compiled loop; theirs is a channels-last `torch.compile` (CUDA graphs) in the same precision. The share is that of the
card's own rate of matrix products of that precision, measured in the same run; a training step counts as three
predictions. float32 means TF32 products in both, bfloat16 means float32 weights and bfloat16 arithmetic.
"""

import argparse
import csv
import dataclasses
import importlib.util
import json
import math
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes share the card

# Keras, JAX and torch are imported by the worker processes only.


@dataclass(frozen=True)
class Case:
    """A network to time: image size, and the batches of training and of prediction."""

    size: int
    train: int
    predict: int


CASES = {
    "resnet50_v15": Case(224, 256, 256),
    "preresnet110": Case(32, 128, 1024),
    "resnet38": Case(224, 64, 64),
    "resnet20": Case(32, 128, 1024),
}
# Of each timing; with --tiny, which processes hand on, as short as can be.
ROUNDS, SECONDS = (2, 0.1) if "--tiny" in sys.argv else (5, 2.5)


@dataclass(frozen=True)
class Training:
    """A training: network, recipe, length in epochs (None: the recipe's own), seed, paths, epochs to keep."""

    network: str
    recipe: str = "cifar_short"
    epochs: int | None = 30
    seed: int = 0
    paths: str | None = None
    keep: tuple[int, ...] = ()


TRAININGS = {
    "preresnet110_he16": Training("preresnet110", "he16", None, keep=(1, 10, 40, 80, 90, 100, 130)),
    "resnet110_he16": Training("resnet110", "he16", None),
    "wrn_16_4_he16": Training("wrn_16_4", "he16", None),
    "preresnet110_he16_fixed23": Training("preresnet110", "he16", None, paths="fixed:23"),
    **{f"resnet20_{seed}": Training("resnet20", seed=seed) for seed in range(3)},
    "preresnet56_0": Training("preresnet56", keep=(1, 2, 4, 8, 16, 24)),
    "plain56_0": Training("plain56"),
    "preresnet56_stochastic_0": Training("preresnet56", paths="stochastic:0.5"),
    "vgg15_0": Training("vgg15"),
    "preresnet110_0": Training("preresnet110", epochs=25),
    "preresnet110_fixed23_0": Training("preresnet110", epochs=25, paths="fixed:23"),
    "preresnet74_0": Training("preresnet74", epochs=25),
}


# ---- workers: throughput -------------------------------------------------------------------------------------------


def turn():
    """Tells the parent that everything is compiled, and waits for the permission to time."""
    print("READY", flush=True)
    sys.stdin.readline()


def answer(**row):
    print("ROW " + json.dumps(row), flush=True)


def card():
    import jax

    return jax.devices()[0].device_kind


def set_precision(precision):
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")


def time_products(size, precision):
    """Measures the rate of matrix products, in operations per second."""
    import jax

    a = jax.random.normal(jax.random.key(0), (size, size), precision)
    product = jax.jit(lambda a, b: (a @ b) / size**0.5)
    product(a, a).block_until_ready()
    turn()
    rates = []
    for _ in range(ROUNDS):
        begin, b = time.perf_counter(), a
        for _ in range(10):
            b = product(a, b)
        b.block_until_ready()
        rates.append(10 * 2 * size**3 / (time.perf_counter() - begin))
    answer(rates=rates, card=card())


def compiled_model(network, size, **compile_options):
    """Builds a network and compiles it with a metric, ready for `train_step`."""
    import keras
    import numpy as np

    import keras_resnets as kr

    model = kr.build(network, (size, size, 3), classifier_activation=None)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    model.compile(loss=loss, metrics=metrics, **compile_options)
    model.optimizer.build(model.trainable_variables)
    # `fit` does this before its first step: metrics get their variables.
    model._symbolic_build(data_batch=(np.zeros((1, size, size, 3), "float32"), np.zeros((1,), "int32")))
    return model


def state_of(model):
    """Returns the state that `train_step` takes on JAX."""
    parts = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    return tuple([variable.value for variable in part] for part in parts)


def time_ours(network, size, batch, training, precision):
    """Times our network through JAX, K steps in one compiled loop."""
    import jax
    import jax.numpy as jnp

    import keras_resnets as kr

    set_precision(precision)
    model = compiled_model(network, size, optimizer=kr.optimizers.SGD(0.01, momentum=0.9, l2=1e-4))
    x = jax.random.normal(jax.random.key(0), (batch, size, size, 3))
    y = jnp.zeros(batch, "int32")
    state = state_of(model)

    def loop(state, x, y, steps):
        def one(_, carried):
            state, x = carried
            if training:
                return model.train_step(state, (x, y))[1], x
            scores, _ = model.predict_step(state[:2], (x,))
            # The next batch depends on these scores: the loop cannot be taken apart.
            return state, x + 0 * scores.astype(x.dtype).mean()

        state, x = jax.lax.fori_loop(0, steps, one, (state, x))
        return state, x.mean()

    run = jax.jit(loop, donate_argnums=0)
    begin = time.perf_counter()
    state, done = run(state, x, y, 2)
    done.block_until_ready()
    compiling = time.perf_counter() - begin
    turn()
    begin = time.perf_counter()
    state, done = run(state, x, y, 5)
    done.block_until_ready()
    steps = max(1, int(SECONDS / ROUNDS / ((time.perf_counter() - begin) / 5)))
    rates = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        state, done = run(state, x, y, steps)
        done.block_until_ready()
        rates.append(batch * steps / (time.perf_counter() - begin))
    parameters = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    answer(rates=rates, compiling=compiling, parameters=parameters, macs=kr.macs(model), card=card())


def time_theirs(network, size, batch, training, precision):
    """Times the twin in PyTorch."""
    import torch_twins

    steps = torch_twins.timed(network, size, batch, training, precision, SECONDS, ROUNDS)
    begin = time.perf_counter()
    parameters = next(steps)
    compiling = time.perf_counter() - begin
    turn()
    answer(rates=next(steps), compiling=compiling, parameters=parameters)


# ---- workers: training ---------------------------------------------------------------------------------------------


def read(path):
    """Returns the splits of a data file as {"train": (images, labels), "val": ..., "test": ...}."""
    import numpy as np

    with np.load(path) as file:
        splits = {
            split: (file[f"x_{split}"], file[f"y_{split}"].reshape(-1).astype("int32"))
            for split in ("train", "val", "test")
            if f"x_{split}" in file
        }
    if "val" not in splits:
        from sklearn.model_selection import train_test_split

        x, y = splits["train"]
        rest, held = train_test_split(np.arange(len(y)), test_size=math.ceil(len(y) / 10), stratify=y, random_state=0)
        splits["train"], splits["val"] = (x[rest], y[rest]), (x[held], y[held])
    return splits


def drawn(images, augmentation, key):
    """Pads, crops and flips a batch."""
    import jax
    import jax.numpy as jnp

    count, height, width, channels = images.shape
    first, second = jax.random.split(key)
    pad = augmentation.pad
    images = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    corner = jax.random.randint(first, (count, 2), 0, 2 * pad + 1)
    cut = jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), (height, width, channels)))
    images = cut(images, corner)
    flipped = jax.random.bernoulli(second, 0.5, (count, 1, 1, 1)) & augmentation.flip
    return jnp.where(flipped, images[:, :, ::-1], images)


def train(name, plan, data, out, precision, deadline):
    """Trains up to the deadline, or to the end; goes on from the last checkpoint."""
    import jax
    import jax.numpy as jnp
    import keras
    import numpy as np

    import keras_resnets as kr

    begin = time.time()
    out.mkdir(parents=True, exist_ok=True)
    splits = read(data)
    images, labels = splits["train"]
    size = images.shape[1]
    mean = (images.sum(0, dtype="float64") / len(images)).astype("float32")
    set_precision(precision)
    keras.utils.set_random_seed(plan.seed)
    recipe = kr.recipes.get(plan.recipe)
    steps = math.ceil(len(images) / recipe.batch_size)
    if plan.epochs:
        recipe = recipe.lasting(plan.epochs, steps)
    total = recipe.total_epochs(steps)
    model = compiled_model(plan.network, size, optimizer=recipe.optimizer(steps), paths=policy_of(plan))
    state, history = state_of(model), []
    if (out / "state.npz").exists():
        with np.load(out / "state.npz") as file:
            state = tuple([jnp.asarray(file[f"{i}_{j}"]) for j in range(len(part))] for i, part in enumerate(state))
            history = json.loads(str(file["history"]))

    def prepared(pixels):
        return (pixels.astype("float32") - mean) / 255.0

    def epoch(state, images, labels, order, key):
        def one(state, now):
            index, key = now
            x = drawn(prepared(images[index]), recipe.augmentation, key)
            logs, state = model.train_step(state, (x, labels[index]))
            return state, logs

        state = (*state[:3], [jnp.zeros_like(value) for value in state[3]])
        state, logs = jax.lax.scan(one, state, (order, jax.random.split(key, steps)))
        return state, {name: values[-1] for name, values in logs.items()}

    def scores(state, images, labels):
        def one(state, now):
            logs, state = model.test_step(state, (prepared(now[0]), now[1]))
            return state, logs

        chunk = math.gcd(len(splits["val"][1]), len(splits["test"][1]), 500)
        shape = (len(labels) // chunk, chunk)
        reset = (state[0], state[1], [jnp.zeros_like(value) for value in state[3]])
        _, logs = jax.lax.scan(one, reset, (images.reshape(*shape, *images.shape[1:]), labels.reshape(shape)))
        return {name: values[-1] for name, values in logs.items()}

    epoch, scores = jax.jit(epoch, donate_argnums=0), jax.jit(scores)
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    watched = tuple(map(jnp.asarray, splits["val"]))
    saved = time.time()
    for number in range(len(history), total):
        order = np.random.default_rng((plan.seed, number)).permutation(len(images))
        # The last batch of an epoch is filled up with its first images.
        order = np.resize(order, (steps, recipe.batch_size)).astype("int32")
        key = jax.random.fold_in(jax.random.key(plan.seed), number)
        started = time.time()
        state, logs = epoch(state, images, labels, jnp.asarray(order), key)
        row = {"epoch": number + 1, **{name: float(value) for name, value in logs.items()}}
        row.update({f"val_{name}": float(value) for name, value in scores(state, *watched).items()})
        history.append({**row, "seconds": round(time.time() - started, 2)})
        if number + 1 in plan.keep:
            save(model, state, plan, size, out / f"epoch{number + 1:03}.keras")
        late = time.time() > deadline - 2 * history[-1]["seconds"]
        if late or time.time() > saved + 60 or number + 1 == total:
            parts = {f"{i}_{j}": np.asarray(v) for i, part in enumerate(state) for j, v in enumerate(part)}
            np.savez(out / "part.npz", history=json.dumps(history), **parts)
            os.replace(out / "part.npz", out / "state.npz")
            saved = time.time()
        if late:
            break
    if len(history) < total:
        answer(name=name, epochs=len(history), of=total, stopped=True)
        return
    with open(out / "history.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, history[0])
        writer.writeheader()
        writer.writerows(history)
    test = {name: float(value) for name, value in scores(state, *map(jnp.asarray, splits["test"])).items()}
    save(model, state, plan, size, out / "model.keras")
    result = {
        "network": plan.network,
        "parameters": model.count_params(),
        "recipe": recipe.to_dict(),
        "epochs": total,
        "seed": plan.seed,
        "paths": plan.paths,
        "precision": precision,
        "examples": {split: len(part[1]) for split, part in splits.items()},
        "validation_accuracy": history[-1]["val_accuracy"],
        "test_accuracy": test["accuracy"],
        "test_loss": test["loss"],
        "training_seconds": round(sum(row["seconds"] for row in history), 1),
        "card": card(),
        "versions": {"jax": jax.__version__, "keras": keras.__version__, "keras_resnets": kr_version()},
    }
    (out / "training.json").write_text(json.dumps(result, indent=1))
    (out / "state.npz").unlink()
    answer(name=name, epochs=total, of=total, test_accuracy=test["accuracy"], seconds=round(time.time() - begin))


def policy_of(plan):
    import keras_resnets as kr

    policy = kr.paths.get(plan.paths)
    return policy.replace(seed=plan.seed) if policy is not None else None


def kr_version():
    import importlib.metadata

    try:
        return importlib.metadata.version("keras_resnets")
    except importlib.metadata.PackageNotFoundError:
        return "source"


def save(model, state, plan, size, path):
    """Saves the network as it is used: in float32, with a softmax."""
    import keras

    import keras_resnets as kr

    for part, values in zip((model.trainable_variables, model.non_trainable_variables), state, strict=False):
        for variable, value in zip(part, values, strict=True):
            variable.assign(value)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    network = kr.build(plan.network, (size, size, 3))
    network.set_weights(model.get_weights())
    for block, trained in zip(network.blocks, model.blocks, strict=True):
        block.scale = trained.scale
    network.save(path)
    keras.config.set_dtype_policy(policy)


# ---- the parent ----------------------------------------------------------------------------------------------------


class Worker:
    """A process of this script; its lines arrive in a queue."""

    def __init__(self, log, *arguments):
        tiny = ["--tiny"] if "--tiny" in sys.argv else []
        command = [sys.executable, __file__, *tiny, "--worker", json.dumps(arguments)]
        with open(log, "w") as log:  # the process keeps its own handle
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put(None)

    def wait_for(self, word, until):
        """Returns the rest of the first line that begins with the word; None if the worker ended or it is late."""
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, until - time.time()))
            except queue.Empty:
                self.process.kill()
                return None
            if line is None:
                return None
            if line.startswith(word):
                return line[len(word) :].strip()

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        self.process.kill()
        self.process.wait()


def measure(asked, rows, out, deadline, together):
    """Times all cases that have no row yet: compiles some at a time, and times one after the other."""
    waiting = [key for key in asked if key not in rows]
    while waiting and time.time() < deadline - 20:
        batch, waiting = waiting[:together], waiting[together:]
        workers = {key: Worker(out / f"{'_'.join(key)}.log", *asked[key]) for key in batch}
        ready = {key: worker.wait_for("READY", deadline) is not None for key, worker in workers.items()}
        for key, worker in workers.items():
            if not ready[key]:
                worker.end()
        for key, worker in workers.items():
            row = None
            if ready[key]:
                worker.go()
                row = worker.wait_for("ROW", deadline + 10)
                worker.end()
            if row is None:
                print(f"no figure for {' '.join(key)}; see {out}/{'_'.join(key)}.log", flush=True)
            else:
                rows[key] = json.loads(row)
                print(" ".join(key), f"{median(rows[key]['rates']):.4g}", flush=True)
                content = [{"key": list(key), **row} for key, row in rows.items()]
                (out / "throughput.json").write_text(json.dumps(content, indent=1))


def table(rows, cases):
    """Returns the lines of the throughput table."""
    lines = [f"{'network':<14}{'':<9}{'arithmetic':<11}{'batch':>6}{'ours, img/s':>20}{'torch, img/s':>20}{'ratio':>7}"]
    lines[0] += f"{'ours of peak':>14}{'torch of peak':>15}{'compile, s':>14}"
    for name, case in cases.items():
        for mode in ("train", "predict"):
            for precision in ("float32", "bfloat16"):
                ours, theirs = (rows.get((side, name, mode, precision)) for side in ("ours", "torch"))
                if ours is None:
                    continue
                peak = rows.get(("product", precision))
                work = 2 * ours["macs"] * (3 if mode == "train" else 1)
                if theirs and theirs["parameters"] != ours["parameters"]:
                    raise ValueError(
                        f"The twin of {name} has {theirs['parameters']} parameters, not {ours['parameters']}."
                    )
                line = (
                    f"{name:<14}{mode:<9}{precision:<11}{getattr(case, mode):>6}{spread(ours):>20}{spread(theirs):>20}"
                )
                line += f"{median(ours['rates']) / median(theirs['rates']):>7.2f}" if theirs else f"{'':>7}"
                for row, width in ((ours, 14), (theirs, 15)):
                    line += (
                        f"{median(row['rates']) * work / median(peak['rates']):>{width}.1%}"
                        if row and peak
                        else " " * width
                    )
                lines.append(line + f"{ours['compiling']:>8.0f}" + (f"{theirs['compiling']:>6.0f}" if theirs else ""))
    for precision in ("float32", "bfloat16"):
        if ("product", precision) in rows:
            rates = rows["product", precision]["rates"]
            lines.append(f"products of matrices, {precision}: {median(rates) / 1e12:.0f} TFLOP/s")
    return lines


def spread(row):
    """Returns the median of five timings, with half of their range."""
    if row is None:
        return ""
    rates = row["rates"]
    return f"{median(rates):.0f} ± {(max(rates) - min(rates)) / 2:.0f}"


def run_trainings(plans, data, out, precision, deadline, together):
    """Trains what is not finished, some at a time, in the order given."""
    waiting = [name for name in plans if not (out / "runs" / name / "training.json").exists()]
    running = {}
    while (waiting or running) and time.time() < deadline:
        while waiting and len(running) < together and time.time() < deadline - 30:
            name = waiting.pop(0)
            arguments = ("train", name, dataclasses.asdict(plans[name]), str(data), str(out), precision, deadline)
            running[name] = Worker(out / f"train_{name}.log", *arguments)
        for name, worker in list(running.items()):
            if worker.process.poll() is not None:
                row = worker.wait_for("ROW", time.time() + 1)
                print(row or f"{name} failed; see {out}/train_{name}.log", flush=True)
                worker.end()
                del running[name]
        if waiting and not running and time.time() >= deadline - 30:
            break
        time.sleep(0.2)
    for worker in running.values():
        # A worker ends by itself at the deadline, with a checkpoint.
        row = worker.wait_for("ROW", deadline + 30)
        print(row or "a training was cut off", flush=True)
        worker.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", type=Path, help="CIFAR-10 as .npz; without it nothing is trained")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--only", choices=("throughput", "train"))
    parser.add_argument("--cases", nargs="*", default=list(CASES), help="networks to time")
    parser.add_argument("--runs", nargs="*", default=list(TRAININGS), help="trainings, in this order")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16", help="of the trainings")
    parser.add_argument("--together", type=int, default=6, help="processes that compile at a time")
    parser.add_argument("--train-together", type=int, default=3, help="trainings at a time")
    parser.add_argument("--tiny", action="store_true", help="a minute on a CPU")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        return work(json.loads(given.worker))
    if given.out is None:
        parser.error("--out is needed: where results go")

    deadline = time.time() + 60 * given.minutes
    given.out.mkdir(parents=True, exist_ok=True)
    cases, plans = {name: CASES[name] for name in given.cases}, {name: TRAININGS[name] for name in given.runs}
    data, products, sides = given.data, 8192, ("ours", "torch")
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: ours are timed alone", flush=True)
        sides = ("ours",)
    if given.tiny:
        cases, plans = {"resnet8": Case(8, 4, 4)}, {"resnet8_0": Training("resnet8", epochs=2, keep=(1,))}
        data, products = given.out / "tiny.npz", 256
        write_tiny(data)

    if given.only != "train":
        rows = {}
        if (given.out / "throughput.json").exists():
            content = json.loads((given.out / "throughput.json").read_text())
            rows = {tuple(row.pop("key")): row for row in content}
        asked = {("product", precision): ("product", products, precision) for precision in ("bfloat16", "float32")}
        for precision in ("bfloat16", "float32"):
            for name, case in cases.items():
                for mode in ("train", "predict"):
                    for side in sides:
                        asked[side, name, mode, precision] = (
                            side,
                            name,
                            case.size,
                            getattr(case, mode),
                            mode == "train",
                            precision,
                        )
        measure(asked, rows, given.out, deadline, given.together)
        if rows:
            cards = {row["card"] for row in rows.values() if "card" in row}
            print(f"\n{', '.join(sorted(cards))}: median of {ROUNDS} timings ± half their range")
            print("\n".join(table(rows, cases)), flush=True)
    if given.only != "throughput" and data is not None:
        run_trainings(plans, data, given.out, given.precision, deadline, given.train_together)
        print(results(given.out / "runs"))


def results(folder):
    """Returns a table of the finished trainings."""
    lines = [f"{'training':<28}{'epochs':>7}{'test error':>12}{'val. error':>12}{'minutes':>9}"]
    for path in sorted(folder.glob("*/training.json")):
        found = json.loads(path.read_text())
        errors = (1 - found["test_accuracy"], 1 - found["validation_accuracy"])
        minutes = found["training_seconds"] / 60
        lines.append(f"{path.parent.name:<28}{found['epochs']:>7}{errors[0]:>12.2%}{errors[1]:>12.2%}{minutes:>9.1f}")
    return "\n".join(lines)


def write_tiny(path):
    """Writes a data set of noise with a bright quarter for each class."""
    import numpy as np

    rng = np.random.default_rng(0)
    parts = {}
    for split, count in (("train", 64), ("val", 20), ("test", 20)):
        y = rng.integers(0, 4, count)
        x = rng.integers(0, 100, (count, 8, 8, 3))
        for image, label in zip(x, y, strict=True):
            image[4 * (label // 2) :][:4, 4 * (label % 2) :][:, :4] += 120
        parts |= {f"x_{split}": x.astype("uint8"), f"y_{split}": y}
    np.savez(path, **parts)


def work(arguments):
    kind, *rest = arguments
    if kind == "product":
        time_products(*rest)
    elif kind == "train":
        name, plan, data, out, precision, deadline = rest
        plan["keep"] = tuple(plan["keep"])
        train(name, Training(**plan), data, Path(out) / "runs" / name, precision, deadline)
    else:
        {"ours": time_ours, "torch": time_theirs}[kind](*rest)


if __name__ == "__main__":
    main()
