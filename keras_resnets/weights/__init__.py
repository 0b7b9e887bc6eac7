"""Public weight files: read safely, matched by name and shape, and loaded completely or not at all."""

from keras_resnets.archives.reading import open_archive
from keras_resnets.weights.matching import plan
from keras_resnets.weights.parity import Parity, parity
from keras_resnets.weights.plans import Plan, Row
from keras_resnets.weights.transfer import load, network, settings

__all__ = ["Parity", "Plan", "Row", "load", "network", "open_archive", "parity", "plan", "settings"]
