from .cards import describe
from .exporting import litert, onnx, saved_model, write
from .quantization import sensitivity
