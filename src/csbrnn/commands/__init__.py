"""What each verb of the command line does; `csbrnn.cli` only reads its arguments."""
