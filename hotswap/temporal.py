"""How every process of ours talks to Temporal: one converter and one way to connect.

Protects the rule that malformed input never wedges a workflow: what can't be read fails that workflow or activity with
the field named, instead of failing its tasks for ever. Connection settings are Temporal's own environment variables
and profiles (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, ...).
"""

from typing import Any

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import ApplicationError

from hotswap.domain.errors import ValidationFailed


class _ValidatingJSONConverter(PydanticJSONPlainPayloadConverter):
    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        try:
            return super().from_payload(payload, type_hint)
        except ValidationError as error:
            raise ApplicationError(
                f"malformed input: {describe(error)}", type=ValidationFailed.code, non_retryable=True
            ) from None


class _PayloadConverter(CompositePayloadConverter):
    def __init__(self) -> None:
        json = _ValidatingJSONConverter()
        super().__init__(
            *(
                json if isinstance(converter, JSONPlainPayloadConverter) else converter
                for converter in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )


DATA_CONVERTER = DataConverter(payload_converter_class=_PayloadConverter)


def describe(error: ValidationError) -> str:
    """The first problems of a pydantic error, each with its field, without what was put in."""
    problems = error.errors(include_input=False, include_url=False)[:5]
    return "; ".join(f"{'.'.join(map(str, problem['loc'])) or 'input'}: {problem['msg']}" for problem in problems)


async def connect(*, lazy: bool = False, identity: str | None = None) -> Client:
    """A client for the server that Temporal's environment names.

    `lazy` leaves the connection to the first call, so that a process can start while Temporal is away.
    """
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "127.0.0.1:7233")
    options: dict[str, Any] = {**config, "data_converter": DATA_CONVERTER, "lazy": lazy}
    if identity is not None:
        options["identity"] = identity
    return await Client.connect(**options)
