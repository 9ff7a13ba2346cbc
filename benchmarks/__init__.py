"""Every kernel timed against its peers and against the machine, in one process; `make bench` runs it all."""
