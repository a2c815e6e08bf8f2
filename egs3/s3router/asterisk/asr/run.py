#!/usr/bin/env python
"""Ten minutes of recorded English prompts, as an espnet3 system: masks on Whisper tiny.en's encoder.

python run.py --stages create_dataset train_tokenizer collect_stats train infer measure \
    --training_config conf/training.yaml --inference_config conf/inference.yaml --metrics_config conf/metrics.yaml
python run.py --stages pack_model upload_model \
    --training_config conf/training.yaml --publication_config conf/publication.yaml
"""

from espnet3.systems.launch import launch

from espnet_s3router.espnet3.system import S3RouterASRSystem

if __name__ == "__main__":
    launch(S3RouterASRSystem, conf_package="egs3.TEMPLATE.esp2_asr")
