"""The base of every view, and a page of views."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class View(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, protected_namespaces=()
    )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that is sent."""
        return self.model_dump(mode="json", by_alias=True)


Item = TypeVar("Item", bound=View)


class Page(View, Generic[Item]):
    """One page of a list that has `total` in all.

    `next` is the `cursor` of the next page, null at the end. Rows that come and go meanwhile shift nothing.
    """

    items: list[Item]
    total: int
    limit: int
    offset: int
    next: str | None = None
