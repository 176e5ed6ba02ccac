"""A model with a version, as the registry's tests need them."""

from datetime import UTC, datetime

import pytest

from hotswap.domain.application import ArtifactRef
from hotswap.domain.registry import ModelEntry, RegisteredModel, RegisteredVersion, VersionEntry, VersionRef
from hotswap.domain.vocabulary import Framework, ModelType, VersionStatus

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def fraud() -> ModelEntry:
    model = RegisteredModel(
        model_id="model-1",
        team=None,
        name="fraud",
        description=None,
        framework=Framework.ONNX,
        type=ModelType.OTHER,
        owner="dora",
        tags=[],
        is_idempotent=True,
        monitoring={},
        active_version=None,
        is_archived=False,
        created_at=NOW,
        updated_at=NOW,
    )
    return ModelEntry(model, {}, {})


@pytest.fixture
def version(fraud: ModelEntry) -> VersionEntry:
    registered = RegisteredVersion(
        version_id="ver-1",
        model_id=fraud.model.model_id,
        version="1.0.0",
        framework=Framework.ONNX,
        artifact_path="s3://ml-models/fraud/1.0.0.tar.gz",
        checksum="ab" * 32,
        artifact_size_bytes=7,
        input_schema={},
        output_schema={},
        training={},
        baseline={},
        reference_distribution={},
        requirements=[],
        status=VersionStatus.REGISTERED,
        approved_by=None,
        approved_at=None,
        is_deprecated=False,
        deprecation=None,
        card=None,
        created_by="dora",
        created_at=NOW,
    )
    ref = VersionRef(
        version_id=registered.version_id,
        model_id=registered.model_id,
        model=fraud.model.name,
        version=registered.version,
        framework=registered.framework,
        artifact=ArtifactRef(registered.artifact_path, registered.checksum, registered.artifact_size_bytes),
        input_schema={},
        output_schema={},
    )
    return VersionEntry(registered, ref)
