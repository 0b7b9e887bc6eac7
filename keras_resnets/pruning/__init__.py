"""Drops the blocks of a network that cost least."""

from keras_resnets.pruning.choosing import Choosing
from keras_resnets.pruning.pruning import Pruned, prune
