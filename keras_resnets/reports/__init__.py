"""Results of experiments: tables with summaries, figures, and statistics."""

from keras_resnets.reports.study import Study, describe

__all__ = ["Study", "describe"]
