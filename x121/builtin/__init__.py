"""Features that come along with the framework, written as an application's are."""

__all__: list[str] = []
