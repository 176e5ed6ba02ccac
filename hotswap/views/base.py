"""What every view has in common, and a page of them."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class View(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, protected_namespaces=()
    )

    def to_json(self) -> dict[str, Any]:
        """As it travels."""
        return self.model_dump(mode="json", by_alias=True)


Item = TypeVar("Item", bound=View)


class Page(View, Generic[Item]):
    """One page of a list, newest first; there is more while `offset + len(items) < total`."""

    items: list[Item]
    total: int
    limit: int
    offset: int
