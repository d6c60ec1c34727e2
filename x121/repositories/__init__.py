"""The features' SQL, a module a feature; there is no SQL anywhere else."""

__all__: list[str] = []
