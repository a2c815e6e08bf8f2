"""Stage 2: speed perturbation (Ko et al. 2015, "Audio augmentation for speech recognition").

    python -m espnet_s3router.data speed data/train data/train_sp --factors 0.9 1.0 1.1

This stage writes only tables. Stage 3 reads ``utt2speed`` and makes the audio.
"""

from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.data.data_dir import DataDir, read_data_dir, write_data_dir
from espnet_s3router.errors import InputError
from espnet_s3router.text_files import Table


def perturb_speed(src_dir: Path | str, dst_dir: Path | str, *, factors: Sequence[float] = (0.9, 1.0, 1.1)) -> int:
    """Write ``dst_dir`` with a copy of every utterance at each factor. Returns the number of utterances.

    Copies at another factor than 1 get a prefix (``sp0.9-``) for utterance and speaker, as in ESPnet's recipes.
    Raises InputError for repeated factors, factors outside [0.1, 10] or a directory that has ``utt2speed`` already.
    """
    if not factors or len(set(factors)) < len(factors) or not all(0.1 <= f <= 10 for f in factors):
        raise InputError(
            f"speed: got factors {list(factors)}; expected different numbers between 0.1 and 10, "
            "such as 0.9 1.0 1.1. Change --speed_perturb_factors."
        )
    data = read_data_dir(src_dir)
    if data.speed:
        raise InputError(f"{src_dir} has utt2speed: it is already perturbed. Give its source.")
    out = DataDir({}, {}, {}, {}, {name: {} for name in data.extras})
    for factor in factors:
        prefix = "" if factor == 1 else f"sp{factor:g}-"
        out.wav.update(_prefixed(data.wav, prefix))
        out.text.update(_prefixed(data.text, prefix))
        out.utt2spk.update({prefix + utt: prefix + spk for utt, spk in data.utt2spk.items()})
        out.speed.update({prefix + utt: factor for utt in data.wav if factor != 1})
        for name, table in data.extras.items():
            out.extras[name].update(_prefixed(table, prefix))
    if len(out.wav) != len(data.wav) * len(factors):
        raise InputError(f"{src_dir}: some utterance ids already begin with sp<factor>-. Rename them.")
    write_data_dir(dst_dir, out)
    return len(out.wav)


def _prefixed(table: Table, prefix: str) -> Table:
    return {prefix + utt: value for utt, value in table.items()}
