"""The soak: the package's real commands under faults, seeded and resumable, with a table of what came of them.

    make soak                                        # an hour; or, from the root of the project:
    PYTHONPATH=.:tests python -m soak --seed 0 --minutes 60 --work runs/soak
    PYTHONPATH=.:tests python -m soak --parts kills,damage --subjects train --minutes 5

It consists of parts, rows of `soak.parts.PARTS`: a name, and the module that holds it. A new part is such a row, and a
module with

- `subjects()`: the names of what it tries, each a row of the table;
- `most(stage, subject)`: how many cases a subject has at most;
- `run(stage, subject, number, rng)`: tries one case, and returns what came of it in a word, or a dictionary of words
  and how often. It raises `soak.oracle.Lost` with a sentence if something was lost, `soak.oracle.Skipped` if it cannot
  be tried here. `rng` is a `random.Random` of the seed, the subject and the number; `stage.place()` is a new folder
  for the case, with `base` beside what it may write; `soak.running.run` runs a command.

Cases take turns over parts and subjects, in forked processes in which Keras is imported and nothing is computed yet.
What came of each is a line of `WORK/CODE/SEED.jsonl`, where CODE is a hash of the sources; started again, the soak goes
on where it stopped, and tries again what was lost.
"""
