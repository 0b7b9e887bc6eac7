from .classes import decode_predictions
from .matching import plan
from .opening import open_archive
from .parity import Parity, parity
from .plans import Plan, Row
from .public import available, preprocess_input
from .transfer import load, network, settings

__all__ = [
    "Parity",
    "Plan",
    "Row",
    "available",
    "decode_predictions",
    "load",
    "network",
    "open_archive",
    "parity",
    "plan",
    "preprocess_input",
    "settings",
]
