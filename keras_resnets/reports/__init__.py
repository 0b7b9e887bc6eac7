"""What an experiment found: its rows and summary, its figure, and the statistics that they are judged by."""

from keras_resnets.reports.study import Study, describe

__all__ = ["Study", "describe"]
