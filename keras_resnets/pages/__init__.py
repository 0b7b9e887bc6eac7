"""Reports: what a folder holds, on one page that opens from a file."""
