"""Files to manifests: what is wrong in them is told with its file and line, and nothing is guessed."""

from pathlib import Path

import pytest

from hotswap.domain.vocabulary import Environment, Framework
from hotswap.manifests.reading import MOST_MANIFEST_BYTES, ManifestText, Unreadable, files, read

GOOD = """\
apiVersion: hotswap/v1
kind: Model
name: fraud
framework: ONNX
owner: ann
tags: [fraud, tier-1]
versions:
  - version: 1.0.0
    artifactPath: s3://ml-models/fraud/1.tar.gz
    trainingMetadata: {trainedAt: 2026-12-01}
aliases: {champion: 1.0.0}
environments:
  Production: {version: champion, strategyConfig: {canaryPercentage: 10}}
"""


def problems(content: str) -> list[str]:
    with pytest.raises(Unreadable) as raised:
        read([ManifestText("models.yaml", content)])
    return list(raised.value.problems)


def test_a_model_is_read_as_it_is_written() -> None:
    (found,) = read([ManifestText("models.yaml", GOOD)])
    assert (found.name, found.framework, found.aliases) == ("fraud", Framework.ONNX, {"champion": "1.0.0"})
    assert found.environments[Environment.PRODUCTION].strategy_config == {"canaryPercentage": 10}
    assert found.versions[0].said()["trainingMetadata"] == {"trainedAt": "2026-12-01"}  # no date: JSON has none
    assert "description" not in found.said()  # what isn't written stays as it is


def test_a_file_may_hold_several_and_be_json() -> None:
    json = '{"apiVersion": "hotswap/v1", "kind": "Model", "name": "churn", "framework": "ONNX"}'
    found = read(
        [ManifestText("a.yaml", f"---\n{GOOD}---\n---\n{GOOD.replace('fraud', 'spam')}"), ManifestText("b.json", json)]
    )
    assert [each.name for each in found] == ["fraud", "spam", "churn"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("owner: ann", "onwer: ann"), "models.yaml:5: onwer: there is no such field"),
        (("framework: ONNX\n", ""), "models.yaml:1: framework: Field required"),
        (("version: 1.0.0", "version: 1.0"), "models.yaml:8: versions.0.version: must be text: write it in quotes"),
        (("version: 1.0.0", "version: v1"), "models.yaml:8: versions.0.version: must be a semantic version"),
        (("s3://ml-models", "http://ml-models"), "models.yaml:9: versions.0.artifactPath: must be of the form"),
        (("owner: ann", "owner: no"), "models.yaml:5: owner: must be text: write it in quotes"),
        (("owner: ann", "owner: null"), "models.yaml:1: owner can be changed, but not removed"),
        (("Production:", "production:"), "models.yaml:13: environments.production: Input should be 'Development'"),
        (("owner: ann", f"owner: {'a' * 256}"), "models.yaml:5: owner: String should have at most 255 characters"),
        (("trainingMetadata:", "teaM:"), "models.yaml:10: versions.0.teaM: there is no such field"),
        (("trainingMetadata: {trainedAt: 2026-12-01}", "team: a"), "models.yaml:10: versions.0.team: there is no"),
        (("trainingMetadata: {", "trainingMetadata: {run: 1, "), "models.yaml:10: versions.0.trainingMetadata.run: "),
        (("champion, ", "champion, startAt: 2030-01-01T00:00:00Z, "), "models.yaml:13: environments.Production.start"),
        (("champion, ", "champion, resources: {gpus: 1.5}, "), "models.yaml:13: environments.Production.resources.gp"),
        (("champion: 1.0.0", "Champion: 1.0.0"), "models.yaml:11: aliases.Champion: 'Champion' must be"),
        (("hotswap/v1", "hotswap/v2"), "models.yaml:1: apiVersion: Input should be 'hotswap/v1'"),
        (("name: fraud", "name: Fraud!"), "models.yaml:3: name: 'Fraud!' must be"),
        (("owner: ann", "name: again"), "models.yaml:5: name is said twice"),
        (
            ("canaryPercentage: 10", "monitoringDuration: 5"),
            "models.yaml:13: environments.Production.strategyConfig.monitoringDuration: must be a duration as ISO-8601",
        ),
        (
            ("{canaryPercentage: 10}", "{steps: [{weight: true}]}"),
            "models.yaml:13: environments.Production.strategyConfig.steps.0.weight: must be a number",
        ),
        (
            ("{canaryPercentage: 10}", "{steps: [{weight: 100}, {weight: 10}]}"),
            "models.yaml:13: environments.Production.strategyConfig.steps.1.weight: goes down from 100 to 10",
        ),
        (("owner: ann", "idempotent: 1"), "models.yaml:5: idempotent: must be true or false"),
        (("owner: ann", "monitoring: {samples: true}"), "models.yaml:5: monitoring.samples: must be a whole number"),
        (("owner: ann", "recordFeatures: some"), "models.yaml:5: recordFeatures: Input should be 'all', 'sample' or"),
        (("owner: ann", "recordSampleRate: 2"), "models.yaml:5: recordSampleRate: must be greater than 0"),
        (("owner: ann", "dropFields: ['']"), "models.yaml:5: dropFields"),
        (("owner: ann", "dropFields: null"), "models.yaml:1: dropFields can be changed, but not removed"),
        (("trainingMetadata:", "dropFields: [a]\n    trainingMetadata:"), "models.yaml:10: versions.0.dropFields: "),
        (("owner: ann", "owner: &a ann\ndescription: *a"), "models.yaml:6: anchors and aliases are not taken"),
        (("owner: ann", "owner: !!python/object:os.system x"), "models.yaml:5: could not determine a constructor"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(change: tuple[str, str], told: str) -> None:
    content = GOOD.replace(*change)
    assert any(problem.startswith(told) for problem in problems(content)), problems(content)


def test_every_mistake_of_every_file_is_told_at_once() -> None:
    with pytest.raises(Unreadable) as raised:
        read(
            [
                ManifestText("a.yaml", GOOD.replace("owner", "onwer")),
                ManifestText("b.yaml", "a: [1, 2"),
                ManifestText("c.yaml", "just text"),
            ]
        )
    assert [each.partition(": ")[0] for each in raised.value.problems] == ["a.yaml:5", "b.yaml:1", "c.yaml:1"]


def test_a_model_is_described_once() -> None:
    assert problems(f"{GOOD}---\n{GOOD}") == ["models.yaml:17: name: fraud is described at models.yaml:3 already"]


@pytest.mark.parametrize(
    "content",
    [
        *("", "---\n---\n", "x" * (MOST_MANIFEST_BYTES + 1), "\0", "name: \x01"),
        pytest.param("[" * 100_000, marks=pytest.mark.slow, id="deep"),
    ],
)
def test_what_is_no_manifest_is_refused_and_not_choked_on(content: str) -> None:
    assert problems(content)


def test_a_directory_is_read_in_order_and_not_below(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for name in ("b.yml", "a.json", "notes.md", "deeper/c.yaml"):
        (tmp_path / name).write_text("x")
    assert [Path(each.name).name for each in files(tmp_path)] == ["a.json", "b.yml"]
    for nothing in (tmp_path / "nowhere.yaml", tmp_path / "deeper" / "none"):
        with pytest.raises(Unreadable, match=nothing.name):
            files(nothing)
