"""`open_archive`: a weight file of any kind."""

from __future__ import annotations


def open_archive(path):
    raise NotImplementedError
