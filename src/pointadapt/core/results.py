"""What the public calls return: the same values that a command prints with ``--json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from typing import NotRequired


class Scores(TypedDict):
    """Scores of a split, in percent unless the task says otherwise; the task decides which."""

    accuracy: NotRequired[float]
    class_accuracy: NotRequired[float]
    macro_f1: NotRequired[float]
    instance_miou: NotRequired[float]
    class_miou: NotRequired[float]
    miou: NotRequired[float]
    count: int
    votes: NotRequired[int]
    voting: NotRequired[str]
    adapter: NotRequired[str]
    data: NotRequired[str]
    title: NotRequired[str]
    split: NotRequired[str]
    baseline: NotRequired[dict[str, Any]]
    per_class: dict[str, float]
    confusion: dict[str, list[int]]


class TrainResults(Scores):
    """A training run: its scores on the test split, and how they came about.

    Of several processes only the main one has ``adapter`` and ``adapter_bytes``.
    """

    method: str
    task: str
    backbone: str
    trainable_parameters: int
    total_parameters: int
    seconds: float
    peak_memory_bytes: int
    protocol: dict[str, Any]
    machine: dict[str, Any]
    config: dict[str, Any]
    head_inputs: list[str]
    fit: NotRequired[dict[str, Any]]
    trial: NotRequired[dict[str, Any]]
    held_out: NotRequired[dict[str, Any]]
    held_out_files: NotRequired[list[str]]
    validation_files: NotRequired[list[str]]
    skipped_files: NotRequired[dict[str, str]]
    adapter_bytes: NotRequired[int]


class PretrainSummary(TypedDict):
    """A pre-training run; empty in all but the main one of several processes."""

    backbone: str
    sha256: str
    loss: float | None
    chamfer: float | None
    probe: NotRequired[dict[str, Any]]
    picture: NotRequired[str]
    clouds: int
    seconds: float
    processes: int
    peak_memory_bytes: int
    machine: dict[str, Any]
    config: dict[str, Any]


class Board(TypedDict):
    """A comparison: the protocol, and a row in ``methods`` for each method.

    A row has the mean score of its runs under the name of the task's metric, such as ``accuracy``,
    its deviation as ``accuracy_sd``, and all as ``scores``.
    """

    finished: bool
    task: str
    data: str
    title: NotRequired[str]
    data_options: list[str]
    backbone: str
    protocol: dict[str, Any]
    machine: dict[str, Any]
    methods: list[dict[str, Any]]
    baseline: dict[str, Any]
    command: str
    config: dict[str, Any]


class StudyResults(TypedDict):
    """Few-shot or cross-validation: mean and deviation of the metric, and a row for each fold.

    The mean is under the metric's name, such as ``accuracy``; ``accuracy_sd`` is its deviation.
    """

    method: str
    data: str
    title: str
    backbone: str
    metric: str
    accuracy: NotRequired[float]
    accuracy_sd: NotRequired[float]
    folds: list[dict[str, Any]]
    pooled: NotRequired[dict[str, Any]]
    protocol: dict[str, Any]
    trainable_parameters: int
    total_parameters: int
    seconds: float
    head_inputs: list[str]
    fit: dict[str, Any]
    baseline: dict[str, Any]
    final_adapter: NotRequired[str]


class RobustnessResults(TypedDict):
    """Scores by corruption and severity, and what the benchmark makes of them."""

    settings: dict[str, Any]
    task: str
    metric: str
    clean: float
    cells: dict[str, list[dict[str, Any]]]
    summary: dict[str, Any]


class Inspection(TypedDict):
    """What is seen inside an adapter; shares and scores in percent, other ratios as they are.

    ``scales`` has a row for each block whose taps have a scale of each token (mean, and share of
    the tokens that are moved, by kind of token), ``changes`` one for each block, ``prompts`` one
    for each number of prompts, ``inputs`` one for each input of the head. ``features`` has the map
    and the errors. What does not apply is empty, and named in ``not_shown``.
    """

    adapter: str
    method: str
    title: str
    task: str
    backbone: str
    blocks: int
    head_inputs: list[str]
    source: str
    clouds: int
    seed: int
    date: str
    left_out: list[str]
    scales: list[dict[str, Any]]
    changes: list[dict[str, Any]]
    entry: float
    most_prompts: int
    score: NotRequired[dict[str, Any]]
    prompts: list[dict[str, Any]]
    inputs: list[dict[str, Any]]
    mean_of: str
    features: dict[str, Any]
    not_shown: list[str]
    pictures: dict[str, str]
    summary: list[str]
    next: list[dict[str, str]]
    seconds: float
    machine: dict[str, Any]
    page: str


class ProbeResult(TypedDict):
    """The linear SVM's accuracy on frozen features, in percent, and its protocol."""

    backbone: str
    sha256: str
    data: str
    accuracy: float
    random_accuracy: NotRequired[float]
    train_clouds: int
    test_clouds: int
    points: int
    c: float
    precision: str
    protocol: str


class FoldReport(TypedDict):
    """What was folded, and where the result lies."""

    folded_from: str
    adapter: str
    backbone: str
    sha256: str
    method: str
    foldable: str
    share: float
    parameters: int
    parameters_before: int


class ConvertReport(TypedDict):
    """What was in a published file, and where the result lies."""

    file: str
    kind: str
    layout: str
    tensors: int
    consumed: int
    missing: list[str]
    left_over: list[str]
    backbone: str
    sha256: str
    parameters: int
    method: NotRequired[str]
    adapter: NotRequired[str]


class FetchRecord(TypedDict):
    """Published weights in the cache: where from, under which licence, with which checksum."""

    tag: str
    folder: str
    source: str
    licence: str
    checksum: str
    file_sha256: str
    backbone_sha256: str
    tensors: int
    consumed: int
    parameters: int
    new: bool


class PushReport(TypedDict):
    """What was put on the Hugging Face Hub: files in it, bytes of all, address and commit."""

    adapter: str
    address: str
    url: str
    commit: str
    files: list[str]
    bytes: int
