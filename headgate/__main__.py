"""``python -m headgate``."""

from headgate import main

main()
