"""The models of FastAPI's endpoints, as its users write them."""

from __future__ import annotations

from pydantic import BaseModel

__all__ = ["Health", "Item", "Order", "Row"]


class Health(BaseModel):
    """The state of the server."""

    status: str


class Item(BaseModel):
    """A thing with a number."""

    id: int


class Line(BaseModel):
    """A line of an order."""

    sku: str
    name: str
    count: int
    price: float


class Order(BaseModel):
    """An order of several things."""

    id: int
    paid: bool
    address: str | None
    lines: list[Line]
    note: str


class Row(BaseModel):
    """A row of the database."""

    id: int
    title: str
