"""`python -m deploy.cli`: the same command where no script is installed."""

from deploy.cli import main

main()
