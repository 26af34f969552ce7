"""The version of this library, said here and nowhere else."""

VERSION = "0.1.0"
