"""Reports: what a folder holds, on one page that opens from a file."""

from keras_resnets.pages.reporting import report

__all__ = ["report"]
