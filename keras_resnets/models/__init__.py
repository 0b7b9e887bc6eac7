"""Networks by name: `build`, and functions such as `ResNet50(...)` with the signature of `keras.applications`."""

from keras_resnets.models import applications
from keras_resnets.models.building import build

__all__ = ["applications", "build"]
