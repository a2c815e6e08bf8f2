"""How well clusters agree with phones, on recordings that carry phone labels (arXiv 2106.07447 sec. 5.1).

python -m espnet_s3router.pretraining.purity dump downloads/festvox-ru/…/lab exp/labels1 exp/labels2
python -m espnet_s3router.pretraining.purity dump …/lab --model exp/hubert1/hf --layers 2 3 4 5 6 --clusters 200
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import write_atomic
from espnet_s3router.pretraining.clusters import fit_and_label, read_labels
from espnet_s3router.pretraining.features import FIELD, STRIDE, frame_count, hidden_states
from espnet_s3router.pretraining.store import FS, Store, Utterance, read_store

PAUSE = "pau"


def agreement(clusters: np.ndarray, phones: np.ndarray) -> dict[str, float]:
    """``clusters`` and ``phones`` (frames,) as integers from 0 to phone purity, cluster purity and the share of the phones'
    entropy that the clusters explain (PNMI), each in [0, 1]."""
    joint = np.zeros((clusters.max() + 1, phones.max() + 1))
    np.add.at(joint, (clusters, phones), 1)
    joint /= joint.sum()
    cluster, phone = joint.sum(axis=1), joint.sum(axis=0)
    held = joint > 0
    mutual = (joint[held] * np.log(joint[held] / np.outer(cluster, phone)[held])).sum()
    entropy = -(phone[phone > 0] * np.log(phone[phone > 0])).sum()
    return {
        "phone_purity": float(joint.max(axis=1).sum()),
        "cluster_purity": float(joint.max(axis=0).sum()),
        "pnmi": float(mutual / entropy),
    }


def read_phones(path: Path) -> tuple[np.ndarray, list[str]]:
    """End times in seconds and names of the phones of a Festival label file."""
    body = path.read_text(encoding="utf-8").partition("#\n")[2]
    rows = [line.split() for line in body.splitlines() if line.strip()]
    if not rows or any(len(row) != 3 for row in rows):
        raise InputError(f"{path} is no label file: expected lines of end time, number and phone after a line with #")
    return np.array([float(row[0]) for row in rows]), [row[2] for row in rows]


def frame_phones(utterance: Utterance, path: Path) -> list[str]:
    """The phone at the centre of each frame; the pause beyond the last one."""
    ends, names = read_phones(path)
    centres = (np.arange(frame_count(utterance.length)) * STRIDE + FIELD / 2 + utterance.trimmed) / FS
    return [names[index] if index < len(names) else PAUSE for index in np.searchsorted(ends, centres)]


def labelled(store: Store, folder: Path) -> tuple[list[Utterance], list[np.ndarray]]:
    """Utterances whose recording has a label file in ``folder``, and the phone of each frame as integers."""
    pairs = [(u, folder / f"{Path(u.source).stem}.lab") for u in store.utterances]
    names = {u.name: frame_phones(u, path) for u, path in pairs if path.is_file()}
    if not names:
        raise InputError(f"{folder} holds no label file (.lab) of a recording in the store")
    codes = {phone: code for code, phone in enumerate(sorted({p for phones in names.values() for p in phones}))}
    found = [u for u in store.utterances if u.name in names]
    return found, [np.array([codes[p] for p in names[u.name]]) for u in found]


def measure(store: Store, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Agreement of each folder of labels, or of clusters of each layer of a model, with the phones."""
    found, phones = labelled(store, args.phones)
    spoken = np.concatenate(phones)
    result = {}
    for folder in args.labels:
        labels = read_labels(folder, store)
        result[folder.name] = agreement(np.concatenate([labels.of(u) for u in found]), spoken)
    for layer in args.layers if args.model else ():
        extract = hidden_states(args.model, layer)
        features = [extract(store.waveform(u)) for u in found]
        _, clusters = fit_and_label(features, [True] * len(found), args.clusters, seed=0)
        result[f"layer{layer}"] = agreement(clusters.astype(int), spoken)
    return result


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Print a table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("phones", type=Path, help="folder of Festival label files named as the recordings")
    parser.add_argument("labels", type=Path, nargs="*")
    parser.add_argument("--model", type=Path, help="exported model, of which --layers are clustered")
    parser.add_argument("--layers", type=int, nargs="+", default=[])
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args(argv)
    found = measure(read_store(args.store), args)
    if args.output:
        write_atomic(args.output, json.dumps(found, indent=1) + "\n")
    for name, values in found.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))


if __name__ == "__main__":
    raise SystemExit(main())
