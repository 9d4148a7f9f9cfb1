"""The table of features, and the state they are read from."""
