"""Search attributes of deployments in Temporal; `hotswap.messages.SEARCH_ATTRIBUTES` registers these names."""

from temporalio.common import SearchAttributeKey

MODEL = SearchAttributeKey.for_keyword("HotSwapModel")
VERSION = SearchAttributeKey.for_keyword("HotSwapVersion")
ENVIRONMENT = SearchAttributeKey.for_keyword("HotSwapEnvironment")
STATUS = SearchAttributeKey.for_keyword("HotSwapStatus")
WEIGHT = SearchAttributeKey.for_float("HotSwapWeight")
