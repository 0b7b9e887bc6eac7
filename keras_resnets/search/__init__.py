"""Depth against width at a budget: a space for keras-tuner, and a search that survives what stops it."""

from keras_resnets.search.choices import Range
from keras_resnets.search.running import search, work
from keras_resnets.search.space import DepthWidth
