# shellcheck shell=bash disable=SC2034
# Where the corpora are. "downloads" means: the recipe gets it by itself. Edit, or set the variable in the environment.
ASTERISK=${ASTERISK:-downloads}
# Folders that hold dev-clean, test-clean … and 1h, 9h respectively: https://www.openslr.org/12 and the limited supervision
# set of Libri-Light (librispeech_finetuning.tgz)
LIBRISPEECH=${LIBRISPEECH:-}
LIBRILIGHT_LIMITED=${LIBRILIGHT_LIMITED:-}
