"""The system of recipes below ``egs3``: ESPnet's ASR system with character tokens in place of sentencepiece."""

from pathlib import Path
from typing import Any

from espnet3.systems.esp2_asr.system import ASRSystem

from espnet_s3router.data.tokens import make_token_list
from espnet_s3router.errors import InputError


class S3RouterASRSystem(ASRSystem):
    """``ASRSystem`` whose stage ``train_tokenizer`` writes a list of characters, ``tokenizer.save_path``/tokens.txt.

    ``training_config.tokenizer.train_folder`` is the Kaldi-style directory whose texts are counted.
    """

    def train_tokenizer(self, *args: Any, **kwargs: Any) -> None:
        """Write the token list, unless it is there. Raises InputError for a missing folder."""
        self._reject_stage_args("train_tokenizer", args, kwargs)
        if self._has_tokenizer():
            return
        settings = self.training_config.tokenizer
        folder = Path(settings.train_folder)
        if not folder.is_dir():
            raise InputError(f"tokenizer.train_folder is {folder}, and there is no such folder. Run create_dataset first")
        make_token_list(folder, self._token_list, token_type="char")

    @property
    def _token_list(self) -> Path:
        return Path(self.training_config.tokenizer.save_path, "tokens.txt")

    def _has_tokenizer(self) -> bool:
        return self._token_list.is_file()
