"""Training with ESPnet: task, trainer, start models, checks, logs and schedulers."""
