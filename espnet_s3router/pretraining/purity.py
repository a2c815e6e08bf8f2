"""Agreement of clusters with phones, on recordings that have phone labels (arXiv 2106.07447 sec. 5.1)."""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from espnet_s3router.errors import InputError
from espnet_s3router.files import write_atomic
from espnet_s3router.pretraining.clusters import fit_and_label, read_labels
from espnet_s3router.pretraining.features import FIELD, STRIDE, frame_count, hidden_states
from espnet_s3router.pretraining.recordings import FS
from espnet_s3router.pretraining.store import Store, Utterance, read_store

PAUSE = "pau"  # the name of silence in Festival


def agreement(clusters: np.ndarray, phones: np.ndarray) -> dict[str, float]:
    """Compare ``clusters`` with ``phones``, both (frames,) of integers from 0.

    Returns phone purity, cluster purity, and ``pnmi``, the share of the entropy of the phones that the clusters explain.
    Each is in [0, 1].
    """
    joint = contingency_matrix(clusters, phones)
    return {
        "phone_purity": float(joint.max(axis=1).sum() / joint.sum()),
        "cluster_purity": float(joint.max(axis=0).sum() / joint.sum()),
        "pnmi": float(mutual_info_score(clusters, phones) / entropy(joint.sum(axis=0))),
    }


def read_phones(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return the end times, in seconds, and the names of the phones in a Festival label file."""
    body = path.read_text(encoding="utf-8").partition("#\n")[2]
    rows = [line.split() for line in body.splitlines() if line.strip()]
    if not rows or any(len(row) != 3 for row in rows):
        raise InputError(f"{path} is no label file: expected lines of end time, number and phone after a line with #")
    return np.array([float(row[0]) for row in rows]), [row[2] for row in rows]


def frame_phones(utterance: Utterance, path: Path) -> list[str]:
    """Return the phone at the centre of each frame. Frames after the last phone are a pause."""
    ends, names = read_phones(path)
    centres = (np.arange(frame_count(utterance.length)) * STRIDE + FIELD / 2 + utterance.trimmed) / FS
    return [names[index] if index < len(names) else PAUSE for index in np.searchsorted(ends, centres)]


def labelled(store: Store, folder: Path) -> tuple[list[Utterance], list[np.ndarray]]:
    """Return the utterances with a label file in ``folder``, and for each the phones of its frames as integers."""
    paths = [(u, folder / f"{Path(u.source).stem}.lab") for u in store.utterances]
    pairs = [(u, frame_phones(u, path)) for u, path in paths if path.is_file()]
    if not pairs:
        raise InputError(f"{folder} holds no label file (.lab) of a recording in the store")
    codes = {phone: code for code, phone in enumerate(sorted({phone for _, phones in pairs for phone in phones}))}
    return [u for u, _ in pairs], [np.array([codes[phone] for phone in phones]) for _, phones in pairs]


def run(args: argparse.Namespace) -> None:
    """Compare each folder of ``labels``, and new clusters of each of the ``layers`` of ``model``, with the phones."""
    store = read_store(args.store)
    utterances, phone_blocks = labelled(store, args.phones)
    phones = np.concatenate(phone_blocks)
    result = {}
    for folder in args.labels:
        labels = read_labels(folder, store)
        result[folder.name] = agreement(np.concatenate([labels.of(u) for u in utterances]), phones)
    for layer in args.layers if args.model else ():
        extract = hidden_states(args.model, layer)
        features = [extract(store.waveform(u)) for u in utterances]
        _, clusters = fit_and_label(features, [True] * len(features), args.clusters, seed=0)
        result[f"layer{layer}"] = agreement(clusters.astype(int), phones)
    if args.output:
        write_atomic(args.output, json.dumps(result, indent=1) + "\n")
    for name, values in result.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))
