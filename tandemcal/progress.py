"""Progress of jobs: bars on a terminal, plain lines elsewhere."""

from service.cli.progress import follow_all as follow_all
