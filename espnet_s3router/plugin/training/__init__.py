"""Training with ESPnet: tasks, set-up of a run, optimisers, trainer, start models, checks, logs and schedulers."""
