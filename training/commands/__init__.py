"""The commands of `fraud-train`, one module each: shells around pure functions."""
