"""The command line: a file for each subcommand, which calls one function of the package."""
