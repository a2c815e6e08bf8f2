# shellcheck shell=bash disable=SC2034,SC2154
# What a recipe of spoken language understanding recognises; sourced by its run.sh after the option target is set.
#   intent       the intent alone, in SUPERB's way: pooling and a linear layer
#   transcript   the intent, then the transcript, by CTC
#   transformer  the same by ESPnet's SLU task, with a small Transformer
#   text_model   the same, with a masked text model of Hugging Face between encoder and decoder
need_file "conf/target/${target}.yaml"
choices=(--task slu)
case ${target} in
    intent) choices+=(--token_type word --intent_alone true --dumpdir dump/intent) ;;
    transformer | text_model)
        choices+=(--espnet_task slu --inference_config conf/decode_attention.yaml --inference_args ""
            --inference_asr_model valid.acc.ave.pth)
        ;;
esac
