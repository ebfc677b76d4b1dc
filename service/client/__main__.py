"""`python -m service.client` is the `tandemcal` command."""

from service.client.cli import main

main()
