"""Run directories: settings, atomically written and checked files, and a lock for one process at a time."""

from keras_resnets.runs.channel import Channel
from keras_resnets.runs.facts import environment, fingerprint
from keras_resnets.runs.files import from_json, read_csv, read_json, to_json, whole, write_json, writing
from keras_resnets.runs.run import FORMAT, LAST, UNFINISHED, Busy, Run, usable
from keras_resnets.runs.sums import Damaged, changed, has_sum, seal, sound, verified

__all__ = [
    "FORMAT",
    "LAST",
    "UNFINISHED",
    "Busy",
    "Channel",
    "Damaged",
    "Run",
    "changed",
    "environment",
    "fingerprint",
    "from_json",
    "has_sum",
    "read_csv",
    "read_json",
    "seal",
    "sound",
    "to_json",
    "usable",
    "verified",
    "whole",
    "write_json",
    "writing",
]
