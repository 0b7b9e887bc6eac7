"""Runs the soak; `soak` says how."""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from soak import ledger, oracle, parts, running
from soak.stage import Stage

_stage: Stage | None = None


def try_case(part: str, subject: str, number: int, seed: int) -> ledger.Line:
    """Tries one case in this process; whatever happens is a line of the ledger."""
    assert _stage is not None
    began = time.monotonic()
    rng = random.Random(f"{seed} {part} {subject} {number}")
    came: dict[str, int] = {}
    words = ""
    try:
        said = parts.part(part).run(_stage, subject, number, rng)
        came = {said: 1} if isinstance(said, str) else dict(said)
    except oracle.Lost as error:
        came, words = {ledger.LOST: 1}, str(error)
        if code() != _stage.work.name:  # a process that is started anew has other sources than one that is forked
            came, words = {"the sources were changed meanwhile": 1}, f"not known whether it was lost: {words}"
    except oracle.Skipped as error:
        came, words = {ledger.SKIPPED: 1}, str(error)
    except Exception:
        came, words = {ledger.LOST: 1}, f"the soak itself failed: {traceback.format_exc()[-800:]}"
    return ledger.Line(part, subject, number, came, words, round(time.monotonic() - began, 2))


def cases(stage: Stage, names: list[str], subjects: list[str], book: ledger.Ledger, most: int) -> Iterator[tuple]:
    """Yields what has not been tried, in turns over parts and subjects, until all are."""
    done = book.done
    for number in range(most):
        some = False
        for name in names:
            module = parts.part(name)
            for subject in module.subjects():
                if subjects and subject not in subjects:
                    continue
                if number < module.most(stage, subject) and not book.skips(name, subject):
                    some = True
                    if (name, subject, number) not in done:
                        yield name, subject, number
        if not some:
            return


def code() -> str:
    """Returns a short hash of the package and the soak: what came of other code is not gone on from."""
    import keras_resnets

    digest = hashlib.sha256()
    for root in (Path(keras_resnets.__file__).parent, Path(__file__).parent):
        for file in sorted(root.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def main() -> int:
    options = argparse.ArgumentParser("soak", description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--parts", default=",".join(parts.PARTS), help="names, in turns")
    options.add_argument("--subjects", default="", help="of these parts; all by default")
    options.add_argument("--most", type=int, default=10**9, help="cases of each subject")
    options.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options.add_argument(
        "--work", type=Path, default=Path("runs/soak"), help="a folder of it for each state of the code"
    )
    options.add_argument("--out", type=Path, action="append", default=[], help="the table, as .md or .csv")
    asked = options.parse_args()
    names = [name for name in asked.parts.split(",") if name]
    if unknown := set(names) - parts.PARTS.keys():
        options.error(f"no part {sorted(unknown)[0]!r}; there are {', '.join(parts.PARTS)}")

    global _stage
    end = time.monotonic() + 60 * asked.minutes
    work = asked.work / code()
    work.mkdir(parents=True, exist_ok=True)
    book = ledger.Ledger(work / f"{asked.seed}.jsonl")
    running.warm()
    _stage = Stage(work)
    _stage.prepare()
    wanted = cases(_stage, names, [s for s in asked.subjects.split(",") if s], book, asked.most)
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(asked.jobs, context) as pool:
        waiting: set[concurrent.futures.Future] = set()
        while True:
            while len(waiting) < asked.jobs and time.monotonic() < end and (case := next(wanted, None)):
                waiting.add(pool.submit(try_case, *case, asked.seed))
            if not waiting:
                break
            done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                book.add(future.result())
    table = book.table(names)
    print(table)
    for file in asked.out:
        file.write_text(book.csv(names) if file.suffix == ".csv" else table)
    return 1 if book.lost(names) else 0


if __name__ == "__main__":
    sys.exit(main())
