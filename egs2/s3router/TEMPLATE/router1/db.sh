# shellcheck shell=bash disable=SC2034
# Folders of the corpora. "downloads": stage 1 fetches the corpus. Edit this file, or set the variable in the environment.
ASTERISK=${ASTERISK:-downloads}
# LIBRISPEECH holds dev-clean, test-clean ... (https://www.openslr.org/12); LIBRILIGHT_LIMITED holds 1h and 9h, the limited
# supervision set of Libri-Light (librispeech_finetuning.tgz).
LIBRISPEECH=${LIBRISPEECH:-}
LIBRILIGHT_LIMITED=${LIBRILIGHT_LIMITED:-}
# MBOSHI holds full_corpus_newsplit (https://github.com/besacier/mboshi-french-parallel-corpus).
MBOSHI=${MBOSHI:-}
# COMMONVOICE is one unpacked release of Common Voice, cv-corpus-VERSION-DATE, which holds a folder for each language.
COMMONVOICE=${COMMONVOICE:-}
# FSC is Fluent Speech Commands and holds data and wavs; SNIPS is smart-lights-en-close-field and holds dataset.json and
# speech_corpus; SLURP is a clone of https://github.com/pswietojanski/slurp with its audio in audio/.
FSC=${FSC:-}
SNIPS=${SNIPS:-}
SLURP=${SLURP:-}
