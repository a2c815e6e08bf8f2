"""Kaldi-style data directories as an espnet3 dataset, and the preparation of an egs2 recipe as its builder."""

import os
import subprocess
from pathlib import Path
from typing import Any

from espnet3.components.data.base_dataset import BaseDataset
from espnet3.components.data.dataset_builder import DatasetBuilder
from espnet3.contract import Field

from espnet_s3router.data.audio import load_at
from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.errors import InputError

SAMPLE_RATE = 16000


class KaldiDataset(BaseDataset):
    """The utterances of a folder with ``wav.scp`` and ``text``, sorted by key.

    Args:
        folder: the data directory, relative to ``root``.
        root: where relative paths in ``wav.scp`` start, such as the folder of an egs2 recipe.

    An item has ``speech`` (samples,) at 16 kHz as float32 in [-1, 1], and ``text``. ``keys`` are the utterances in order.
    Raises InputError for a folder that is not a data directory.
    """

    fields = (Field("speech", "audio"), Field("text", "text"))

    def __init__(self, folder: str, root: str = ".") -> None:
        data = read_data_dir(Path(root, folder), check_audio=False)
        self.keys = sorted(data.text)
        self.items = [(Path(root, data.wav[key]), data.text[key]) for key in self.keys]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, text = self.items[int(index)]
        return {"speech": load_at(path, SAMPLE_RATE), "text": text}


class RecipeBuilder(DatasetBuilder):
    """Prepares the data and the upstream with stages 1 to 5 of a recipe below ``egs2``.

    Options of ``create_dataset``: ``recipe`` is the folder of the egs2 recipe, and ``folders`` are the data directories that
    it makes, relative to it.
    """

    def is_source_prepared(self, recipe: str, folders: list[str], **unused: Any) -> bool:
        """The recipe downloads and builds in one step."""
        return self.is_built(recipe, folders)

    def prepare_source(self, recipe: str, folders: list[str], **unused: Any) -> None:
        """Run stages 1 to 5 of the recipe. Raises InputError if it fails."""
        script = Path(recipe, "run.sh")
        if not script.is_file():
            raise InputError(f"create_dataset.recipe is {recipe}, expected a folder below egs2 with a run.sh")
        done = subprocess.run(["./run.sh", "--stop_stage", "5"], cwd=recipe, env=os.environ, check=False)
        if done.returncode:
            raise InputError(f"{script} --stop_stage 5 ended with status {done.returncode}; its message stands above")

    def is_built(self, recipe: str, folders: list[str], **unused: Any) -> bool:
        """True if all data directories are there."""
        return all(Path(recipe, folder, "text").is_file() for folder in folders)

    def build(self, recipe: str, folders: list[str], **unused: Any) -> None:
        """Raises InputError, because the recipe should have made the folders."""
        missing = [folder for folder in folders if not Path(recipe, folder, "text").is_file()]
        raise InputError(f"{recipe} has made no {', '.join(missing)}. Compare create_dataset.folders with its --dumpdir")
