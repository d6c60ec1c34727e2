"""The features' data types: pure, a module a feature."""
