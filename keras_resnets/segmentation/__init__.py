"""Semantic segmentation: networks, losses, metrics, prediction and overlays (Wu et al. 2016, section 5)."""

from keras_resnets.segmentation.losses import PixelLoss
from keras_resnets.segmentation.metrics import MeanIoU, PixelAccuracy, Scores, score
from keras_resnets.segmentation.networks import dense, fcn
from keras_resnets.segmentation.overlays import Overlays, draw, overlay, side_by_side
from keras_resnets.segmentation.prediction import evaluate, predict, probabilities
