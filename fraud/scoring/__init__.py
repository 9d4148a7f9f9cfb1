"""Models: a file that cannot run code, its manifest, batch scores and exact attribution."""

from fraud.scoring.manifest import Manifest, ModelRefusedError, Training
from fraud.scoring.model import Estimate, Model, load_model

__all__ = ["Estimate", "Manifest", "Model", "ModelRefusedError", "Training", "load_model"]
