"""`python -m fraud` is the command `fraud`, for places where nothing is installed, such as the container image."""

from fraud.cli import main

main()
