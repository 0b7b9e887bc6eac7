"""Experiments on networks. Each takes a network and data, and returns a `Study`: rows, summary, figure.

A study does not change the network it is given. Studies that train (`activation`, `degradation`, `dynamics`,
`effective`, `littwin`, `segment`, `shortcuts`, `survival`, `width_depth`) take a variant's name or a spec instead, or
no network.
"""

# The drawings of `search` and `pruning` are imported so that saved studies of these kinds can be drawn.
from keras_resnets.pruning import drawing as _of_prune
from keras_resnets.reports.study import Study, describe
from keras_resnets.search import drawing as _of_search
from keras_resnets.studies import callbacks
from keras_resnets.studies.activation import activation
from keras_resnets.studies.cancellation import cancellation
from keras_resnets.studies.compare import compare
from keras_resnets.studies.degradation import degradation
from keras_resnets.studies.delete import delete
from keras_resnets.studies.dynamics import dynamics
from keras_resnets.studies.effective import effective
from keras_resnets.studies.evaluate import evaluate
from keras_resnets.studies.lesion import lesion
from keras_resnets.studies.littwin import littwin
from keras_resnets.studies.paths import paths
from keras_resnets.studies.recovery import recovery
from keras_resnets.studies.reorder import reorder
from keras_resnets.studies.responses import responses
from keras_resnets.studies.segment import segment
from keras_resnets.studies.shortcuts import shortcuts
from keras_resnets.studies.survival import survival
from keras_resnets.studies.unskip import unskip
from keras_resnets.studies.width_depth import width_depth
