"""Targets of masked prediction: k-means over features, one cluster a frame.

    python -m espnet_s3router.pretraining.clusters dump exp/labels1 --clusters 100
    python -m espnet_s3router.pretraining.clusters dump exp/labels2 --clusters 200 --model exp/hubert1/hf --layer 4

``labels.npy`` (frames of all utterances,) uint16; ``centres.npy`` (clusters, dim) float32; ``about.json``.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import replacing_dir
from espnet_s3router.pretraining.export import identity
from espnet_s3router.pretraining.features import Extract, all_features, frame_count, hidden_states, mfcc
from espnet_s3router.pretraining.store import Store, Utterance, read_store

FIT_FRAMES = 200_000
BATCH = 10_000
MOST = 2**16


@dataclass(frozen=True)
class Labels:
    """The cluster of every frame of a store."""

    values: np.ndarray
    offsets: dict[str, int]
    clusters: int

    def of(self, utterance: Utterance) -> np.ndarray:
        """(frames,) int64."""
        start = self.offsets[utterance.name]
        return self.values[start : start + frame_count(utterance.length)].astype(np.int64)


def about_labels(folder: Path) -> dict[str, Any]:
    """What the labels of a folder were made of; InputError when there are none."""
    try:
        return json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{folder} holds no labels ({error.strerror}): run the stage that clusters") from error


def write_labels(
    store: Store, folder: Path, extract: Extract, clusters: int, seed: int, about: dict[str, Any], run: Path | None = None
) -> None:
    """Fit k-means to FIT_FRAMES frames drawn from the training part, label every frame. A finished folder of the same
    ``about`` is kept; InputError instead of another one's end when ``run`` is trained on it."""
    about = {**about, "clusters": clusters, "seed": seed, "audio": store.digest}
    if (folder / "about.json").is_file():
        found = about_labels(folder)
        if found == about:
            return
        if run is not None and (run / "checkpoint.pth").is_file():
            key = next(key for key in about if found.get(key) != about[key])
            raise InputError(
                f"{run} was trained on {folder}, whose {key} is {found.get(key)}, now it is {about[key]}. Remove both to "
                "train anew, or keep them with --expdir"
            )
    if not 2 <= clusters < MOST:
        raise InputError(f"--clusters is {clusters}, expected 2 to {MOST - 1}")
    features = [block.astype(np.float16) for block in all_features(store, extract, "features")]
    centres, labels = fit_and_label(features, [not u.held_out for u in store.utterances], clusters, seed)
    with replacing_dir(folder) as temporary:
        np.save(temporary / "labels.npy", labels.astype(np.uint16))
        np.save(temporary / "centres.npy", centres)
        (temporary / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def fit_and_label(
    features: Sequence[np.ndarray], fitted: Sequence[bool], clusters: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Centres (clusters, dim) float32 from the blocks that are ``fitted``, and the label of every frame of all blocks."""
    from sklearn.cluster import MiniBatchKMeans

    pool = np.concatenate([block for block, use in zip(features, fitted) if use])
    if len(pool) < clusters:
        raise InputError(f"{clusters} clusters of {len(pool)} frames: take fewer clusters or more audio")
    chosen = np.random.default_rng(seed).choice(len(pool), min(FIT_FRAMES, len(pool)), replace=False)
    sample = pool[np.sort(chosen)].astype(np.float32)
    mean, scale = sample.mean(axis=0), sample.std(axis=0) + 1e-6
    kmeans = MiniBatchKMeans(clusters, batch_size=BATCH, n_init=3, max_iter=100, random_state=seed)
    kmeans.fit((sample - mean) / scale)
    labels = [kmeans.predict((block.astype(np.float32) - mean) / scale) for block in features]
    return (kmeans.cluster_centers_ * scale + mean).astype(np.float32), np.concatenate(labels)


def read_labels(folder: Path, store: Store) -> Labels:
    """Labels that belong to ``store``; InputError when they do not."""
    try:
        values = np.load(folder / "labels.npy")
    except OSError as error:
        raise InputError(f"{folder} holds no labels ({error.strerror}): run the stage that clusters") from error
    offsets, position = {}, 0
    for utterance in store.utterances:
        offsets[utterance.name] = position
        position += frame_count(utterance.length)
    if position != len(values):
        raise InputError(f"{folder} labels {len(values)} frames, the audio has {position}: remove it and cluster again")
    return Labels(values, offsets, about_labels(folder)["clusters"])


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Cluster."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--model", type=Path, help="exported model whose hidden states are clustered; without it MFCCs")
    parser.add_argument("--layer", type=int, default=4)
    parser.add_argument("--device", default="cpu", help="where hidden states are computed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="folder of the run that is trained on these labels")
    args = parser.parse_args(argv)
    store = read_store(args.store)
    if args.model is None:
        extract, about = mfcc, {"features": "mfcc"}
    else:
        extract = hidden_states(args.model, args.layer, args.device)
        about = {"features": "hidden states", "model": str(args.model), "layer": args.layer, "weights": identity(args.model)}
    write_labels(store, args.folder, extract, args.clusters, args.seed, dict(about), args.run)


if __name__ == "__main__":
    raise SystemExit(main())
