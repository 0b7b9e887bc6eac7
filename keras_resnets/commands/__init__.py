"""The command line: one file per subcommand, each of which calls one function of the package."""
