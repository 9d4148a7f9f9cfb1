"""How good scores are: pure functions of scores and judged rows, each with its source."""
