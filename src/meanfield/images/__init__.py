"""Pictures of handwritten digits: where they come from and how their files are read. No numerics of networks."""
