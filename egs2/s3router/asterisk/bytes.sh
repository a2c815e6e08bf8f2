# shellcheck shell=bash disable=SC2154
# The curve of error against bytes of route files; sourced by a run.sh after choices.sh, for its option bytes. The recipe defines
# router(). head_only, finetune and routing have one learning rate. The other rows have two, and the page takes the better one on dev.
# BitDelta needs the finetuned models.
bytes_curve() {
    local folder start all rivals
    folder=$(requested expdir exp)
    start="${folder}/asr_${tag:+${tag}_}finetune_seed{seed}/valid.cer_ctc.ave.pth"
    mkdir -p "${folder}"
    for row in bitdelta bitdelta_axes; do
        echo "${row}: {frontend_conf: {mask_conf: {start: \"${start}\"}}}"
    done >"${folder}/bytes.yaml"
    all=(--methods_config "${methods} conf/methods/bytes.yaml $(printf %q "${folder}/bytes.yaml")" --stop_stage 17)
    rivals="lora_r1 lora_r4 lora lora_r16 mms_adapter_b4 mms_adapter_b16 mms_adapter_b32 bitfit"
    router "${all[@]}" --methods "head_only finetune" "$@"
    router "${all[@]}" --stage 11 --methods routing --sparsities "0.01 0.03 0.08" "$@"
    router "${all[@]}" --stage 11 --methods "routing_of25 routing_of10 routing_of5 routing_of2" --lrs "2e-3 5e-3" "$@"
    router "${all[@]}" --stage 11 --methods "${rivals}" --lrs "1e-3 3e-3" "$@"
    router "${all[@]}" --stage 11 --methods "bitdelta bitdelta_axes" --lrs "1e-5 1e-4" --results_md "${results}_bytes.md" "$@"
}
