"""Real-time fraud detection for payments: one core for live decisions, replay and training."""

__version__ = "0.1.0"
