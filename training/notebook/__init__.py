"""What the notebooks call: where their data comes from, what they compute of it, and how it is shown."""
