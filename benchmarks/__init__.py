"""The project against bare work and its peers: run as modules, from the repository."""
