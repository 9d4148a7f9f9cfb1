"""What the product costs: commands that measure it on this machine."""
