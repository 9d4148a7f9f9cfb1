"""Real-time fraud detection for payments: one core for live decisions, replay and training."""
