"""The system of recipes below ``egs3``: ESPnet's ASR system with character tokens in place of sentencepiece, and packs."""

import logging
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

    def pack_model(self, *args: Any, **kwargs: Any) -> Path:
        """Write the pack of the best model, and return it (see ``publication.pack_run``)."""
        from espnet_s3router.espnet3.publication import pack_run

        self._reject_stage_args("pack_model", args, kwargs)
        packed = pack_run(self.training_config, self.publication_config.pack_model)
        logging.info("%s: %d bytes, %s; opened again: %s", packed.path, packed.bytes, packed.kind, packed.texts)
        return packed.path

    def upload_model(self, *args: Any, **kwargs: Any) -> None:
        """Upload the pack (see ``publication.upload_run``)."""
        from espnet_s3router.espnet3.publication import upload_run

        self._reject_stage_args("upload_model", args, kwargs)
        done = upload_run(self.publication_config.upload_model, self.publication_config.pack_model.out_dir)
        logging.info("%s: %s", done.repo, done.url or f"nothing was sent; these would go: {done.files}")

    @property
    def _token_list(self) -> Path:
        return Path(self.training_config.tokenizer.save_path, "tokens.txt")

    def _has_tokenizer(self) -> bool:
        return self._token_list.is_file()
