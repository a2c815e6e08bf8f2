"""One language of a joint run (method ``pathways``) as an experiment of its own: a config.yaml and a model file in OUT.

python -m espnet_s3router.bin.language_model CONFIG MODEL LANGUAGE OUT
"""

import argparse
from collections.abc import Sequence

from espnet_s3router.errors import exit_status


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Write the experiment of one language."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train_config", help="config.yaml of the joint run")
    parser.add_argument("model_file", help="model of the joint run, for example valid.cer_ctc.ave.pth")
    parser.add_argument("language", help="language, as in languages of mask_conf")
    parser.add_argument("out", help="folder to write")
    args = parser.parse_args(argv)
    from espnet_s3router.plugin.language_model import write_language

    write_language(args.train_config, args.model_file, args.language, args.out)


if __name__ == "__main__":
    raise SystemExit(main())
