"""Recordings with an intent and a transcript as two tasks, for joint training. ``utt2category`` names their task."""

from collections.abc import Collection
from pathlib import Path

from espnet_s3router.data.data_dir import DataDir, read_data_dir, write_data_dir
from espnet_s3router.data.pool import CATEGORY
from espnet_s3router.errors import InputError

ASR, SLU = TASKS = ("asr", "slu")
"""The transcript of a recording, and its intent."""


def split_tasks(src: str | Path, dst: str | Path, tasks: Collection[str] = TASKS) -> dict[str, int]:
    """Write the data directory ``dst`` with every recording of ``src`` once for each task: ``KEY-asr`` and ``KEY-slu``.

    In ``src`` a text is an intent and a transcript. Returns the number of utterances of each task. Raises InputError for a
    faulty directory, a text without a transcript, and an unknown task.
    """
    source, made = read_data_dir(src), DataDir({}, {}, {})
    unknown = sorted(set(tasks) - set(TASKS))
    if unknown or not tasks:
        raise InputError(f"the tasks are {' '.join(tasks) or 'none'}, expected some of {', '.join(TASKS)}")
    parts = {utt: text.partition(" ")[::2] for utt, text in source.text.items()}
    alone = [utt for utt, (_, transcript) in parts.items() if not transcript.strip()]
    if alone and ASR in tasks:
        raise InputError(f"{src}: {len(alone)} texts have no transcript behind the intent, for example that of {alone[0]}")
    made.extras.update({name: {} for name in (*source.extras, CATEGORY)})
    for task in (task for task in TASKS if task in tasks):
        for utt, (intent, transcript) in parts.items():
            key = f"{utt}-{task}"
            made.wav[key], made.utt2spk[key] = source.wav[utt], source.utt2spk[utt]
            made.text[key] = intent if task == SLU else transcript.strip()
            if utt in source.speed:
                made.speed[key] = source.speed[utt]
            for name, table in source.extras.items():
                if utt in table:
                    made.extras[name][key] = table[utt]
            made.extras[CATEGORY][key] = task
    write_data_dir(Path(dst), made)
    return {task: len(parts) for task in tasks}
