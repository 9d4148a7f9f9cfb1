"""Models: a file that cannot run code, its manifest, batch scores and exact attribution."""
