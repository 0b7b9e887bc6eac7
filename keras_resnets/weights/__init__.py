"""Public weight files: read safely, matched by name and shape, and loaded whole or not at all."""

from keras_resnets.weights.loading import load, network, settings
from keras_resnets.weights.matching import Plan, Row, plan

__all__ = ["Plan", "Row", "load", "network", "plan", "settings"]
