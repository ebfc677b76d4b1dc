"""`python -m service.cli` is the `tandemcal` command."""

from service.cli.main import main

main()
