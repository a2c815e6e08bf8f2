"""Targets of masked prediction: k-means over features, one cluster for each frame.

The output folder holds ``labels.npy`` (frames of all utterances,) uint16, ``centres.npy`` (clusters, dim) float32, and
``about.json``, the settings that the labels depend on.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_dir
from espnet_s3router.pretraining.export import weights_digest
from espnet_s3router.pretraining.features import Extract, frame_count, hidden_states, mfcc
from espnet_s3router.pretraining.store import Store, Utterance, read_store

FIT_FRAMES = 200_000
KMEANS_BATCH = 10_000  # frames
MAX_CLUSTERS = 2**16 - 1


@dataclass(frozen=True)
class Labels:
    """The cluster of every frame of a store, by the name of the utterance."""

    by_name: dict[str, np.ndarray]
    clusters: int

    def of(self, utterance: Utterance) -> np.ndarray:
        """Return the labels (frames,) int64 of an utterance."""
        return self.by_name[utterance.name].astype(np.int64)


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings that the labels in ``folder`` depend on. Raises InputError if there are no labels."""
    try:
        return json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise _no_labels(folder, error) from error


def _no_labels(folder: Path, error: OSError) -> InputError:
    return InputError(f"{folder} holds no labels ({error.strerror}): run the stage that clusters")


def write_labels(
    store: Store, folder: Path, extract: Extract, clusters: int, seed: int, settings: dict[str, Any], run: Path | None = None
) -> None:
    """Fit k-means to FIT_FRAMES frames drawn from the training part, then label every frame.

    A finished folder with the same settings is kept. Raises InputError if other labels would be overwritten on which ``run``
    was trained.
    """
    settings = {**settings, "clusters": clusters, "seed": seed, "audio": store.digest}
    if (folder / "about.json").is_file():
        old = read_settings(folder)
        if old == settings:
            return
        if run is not None and (run / "checkpoint.pth").is_file():
            key = next(key for key in settings if old.get(key) != settings[key])
            raise InputError(
                f"{run} was trained on {folder}, whose {key} is {old.get(key)}, now it is {settings[key]}. Remove both to "
                "train anew, or keep them and choose another --expdir"
            )
    if not 2 <= clusters <= MAX_CLUSTERS:
        raise InputError(f"--clusters is {clusters}, expected 2 to {MAX_CLUSTERS}")
    utterances = tqdm(store.utterances, desc="features", mininterval=10)
    features = [extract(store.waveform(utterance)).astype(np.float16) for utterance in utterances]
    centres, labels = fit_and_label(features, [not u.held_out for u in store.utterances], clusters, seed)
    with replacing_dir(folder) as temporary:
        np.save(temporary / "labels.npy", labels.astype(np.uint16))
        np.save(temporary / "centres.npy", centres)
        (temporary / "about.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def fit_and_label(
    features: Sequence[np.ndarray], training: Sequence[bool], clusters: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit k-means to the blocks of ``features`` (frames, dim) that are ``training`` blocks.

    Returns the centres (clusters, dim) float32, and the label of every frame of all blocks.
    """
    from sklearn.cluster import MiniBatchKMeans

    pool = np.concatenate([block for block, use in zip(features, training) if use])
    if len(pool) < clusters:
        raise InputError(f"{clusters} clusters of {len(pool)} frames: take fewer clusters or more audio")
    chosen = np.random.default_rng(seed).choice(len(pool), min(FIT_FRAMES, len(pool)), replace=False)
    sample = pool[np.sort(chosen)].astype(np.float32)
    mean, scale = sample.mean(axis=0), sample.std(axis=0) + 1e-6
    kmeans = MiniBatchKMeans(clusters, batch_size=KMEANS_BATCH, n_init=3, max_iter=100, random_state=seed)
    kmeans.fit((sample - mean) / scale)
    labels = [kmeans.predict((block.astype(np.float32) - mean) / scale) for block in features]
    return (kmeans.cluster_centers_ * scale + mean).astype(np.float32), np.concatenate(labels)


def read_labels(folder: Path, store: Store) -> Labels:
    """Read the labels of ``store``. Raises InputError if there are none or they belong to other audio."""
    try:
        values = np.load(folder / "labels.npy")
    except OSError as error:
        raise _no_labels(folder, error) from error
    frames = [frame_count(utterance.length) for utterance in store.utterances]
    if sum(frames) != len(values):
        raise InputError(f"{folder} labels {len(values)} frames, the audio has {sum(frames)}: remove it and cluster again")
    blocks = np.split(values, np.cumsum(frames)[:-1])
    by_name = {utterance.name: block for utterance, block in zip(store.utterances, blocks)}
    return Labels(by_name, read_settings(folder)["clusters"])


def run(args: argparse.Namespace) -> None:
    """Label the store with clusters of MFCCs, or of hidden states of ``model``."""
    store = read_store(args.store)
    extract: Extract = mfcc
    settings: dict[str, Any] = {"features": "mfcc"}
    if args.model is not None:
        extract = hidden_states(args.model, args.layer, args.device)
        settings = {"features": "hidden states", "model": str(args.model), "layer": args.layer}
        settings["weights"] = weights_digest(args.model)
    write_labels(store, args.folder, extract, args.clusters, args.seed, settings, args.run)
