"""The words of the field, as every layer spells them."""

from enum import StrEnum


class Environment(StrEnum):
    DEVELOPMENT = "Development"
    STAGING = "Staging"
    PRODUCTION = "Production"


class Framework(StrEnum):
    TENSORFLOW = "TensorFlow"
    PYTORCH = "PyTorch"
    SCIKIT_LEARN = "ScikitLearn"
    ONNX = "ONNX"
    XGBOOST = "XGBoost"
    LIGHTGBM = "LightGBM"
    CUSTOM = "Custom"


class ModelType(StrEnum):
    CLASSIFICATION = "Classification"
    REGRESSION = "Regression"
    CLUSTERING = "Clustering"
    RECOMMENDATION = "Recommendation"
    NATURAL_LANGUAGE_PROCESSING = "NaturalLanguageProcessing"
    COMPUTER_VISION = "ComputerVision"
    TIME_SERIES = "TimeSeries"
    OTHER = "Other"


class Strategy(StrEnum):
    CANARY = "Canary"
    BLUE_GREEN = "BlueGreen"
    AB_TESTING = "ABTesting"
    SHADOW = "Shadow"
    ROLLING = "Rolling"


class VersionStatus(StrEnum):
    REGISTERED = "Registered"
    VALIDATING = "Validating"
    VALIDATED = "Validated"
    APPROVED = "Approved"
    DEPLOYED = "Deployed"
    DEPRECATED = "Deprecated"
    ARCHIVED = "Archived"


class DeploymentKind(StrEnum):
    ROLLOUT = "rollout"
    ROLLBACK = "rollback"


class OnConflict(StrEnum):
    """The treatment of a deployment that is requested while another of its model is under way in the environment."""

    REJECT = "reject"
    QUEUE = "queue"
    SUPERSEDE = "supersede"


class ArmName(StrEnum):
    """The side of a rollout that answered a request."""

    STABLE = "stable"
    CANDIDATE = "candidate"
    SHADOW = "shadow"


class ChosenBy(StrEnum):
    """The way in which the arm of a request was chosen: only what the weight chose says anything of a version."""

    WEIGHT = "weight"
    VERSION = "version"
    TESTER = "tester"


class RequestForm(StrEnum):
    """The form of a request: one instance, a batch of them, or tensors of the Open Inference Protocol."""

    INSTANCE = "instance"
    BATCH = "batch"
    TENSORS = "tensors"


class InferenceStatus(StrEnum):
    PENDING = "Pending"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    TIMEOUT = "Timeout"


class Role(StrEnum):
    """A role, which says what its holder may do; `TRAFFIC_AGENT` is HotSwap's own agents' and no person's."""

    ADMIN = "Admin"
    ML_ENGINEER = "MLEngineer"
    DATA_SCIENTIST = "DataScientist"
    APPLICATION = "Application"
    VIEWER = "Viewer"
    TRAFFIC_AGENT = "TrafficAgent"
