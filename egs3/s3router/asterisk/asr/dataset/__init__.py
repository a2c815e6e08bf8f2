"""The data of egs2/s3router/asterisk/asr1."""

from espnet_s3router.espnet3.dataset import KaldiDataset as Dataset
from espnet_s3router.espnet3.dataset import RecipeBuilder as DatasetBuilder

__all__ = ["Dataset", "DatasetBuilder"]
