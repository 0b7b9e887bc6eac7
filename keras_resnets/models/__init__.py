"""Networks by name: `build`, and `ResNet50(...)` and its kin with the signature of `keras.applications`."""

from keras_resnets.models import applications
from keras_resnets.models.building import build

__all__ = ["applications", "build"]
