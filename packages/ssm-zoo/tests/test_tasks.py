import gzip
import hashlib
import http.server
import importlib
import io
import lzma
import os
import tarfile
import threading

import numpy as np
import pytest
import torch

from ssm_zoo._errors import DataError, OptionError, ShapeError
from ssm_zoo.tasks import ACCURACY, BITS_PER_BYTE, Split, Task, Text, imdb, listops, load_task, score_of, smnist
from ssm_zoo.tasks._cache import fetch
from ssm_zoo.tasks.bytes import text_of
from ssm_zoo.tasks.text import windows

CONTENT = b"sixteen letters!" * 9
SMNIST, LISTOPS, IMDB = (  # the functions of these names hide the modules
    importlib.import_module(f"ssm_zoo.tasks.{name}") for name in ("smnist", "listops", "imdb")
)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def counting_task(size=11):
    inputs = torch.arange(float(size)).reshape(size, 1, 1)
    return Task("counting", ("all",), Split(inputs, torch.arange(size)), Split(inputs, torch.arange(size)))


def test_a_batch_depends_on_its_arguments_alone():
    first, second = counting_task(), counting_task()
    backwards = {step: second.batch(step, 3, seed=5).labels for step in reversed(range(20))}

    for step in range(20):
        assert torch.equal(first.batch(step, 3, seed=5).labels, backwards[step])


def test_drawing_a_batch_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)

    torch.manual_seed(1)
    counting_task().batch(0, 3, seed=0)

    assert torch.equal(torch.rand(3), expected)


def test_an_epoch_shows_no_sequence_twice_and_inputs_stay_with_labels():
    task = counting_task(size=12)

    batches = [task.batch(step, 4, seed=0) for step in range(3)]

    labels = torch.cat([batch.labels for batch in batches])
    assert sorted(labels.tolist()) == list(range(12))
    assert all(torch.equal(batch.inputs.flatten(), batch.labels.float()) for batch in batches)


def test_epochs_and_seeds_have_orders_of_their_own():
    task = counting_task(size=100)

    orders = [task.batch(step, 100, seed).labels for step, seed in ((0, 0), (1, 0), (0, 1))]

    assert not any(torch.equal(orders[i], orders[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("batch_size", [0, 12])
def test_a_batch_larger_than_the_task_is_an_error(batch_size):
    with pytest.raises(OptionError, match="1 to 11"):
        counting_task().batch(0, batch_size, seed=0)


def test_labels_that_do_not_fit_the_inputs_are_an_error():
    good = Split(torch.zeros(4, 5, 1), torch.zeros(4, dtype=torch.int64))

    with pytest.raises(ShapeError, match=r"\(3,\)"):
        Task("bad", ("all",), good, Split(good.inputs, good.labels[:3]))


def test_digits_are_whole_and_stratified():
    task = load_task("digits")

    assert task.train.inputs.shape == (1437, 64, 1)
    assert task.test.inputs.shape == (360, 64, 1)
    assert task.train.inputs.dtype == torch.float32
    assert (float(task.train.inputs.min()), float(task.train.inputs.max())) == (0, 1)
    counts = task.test.labels.bincount()
    assert int(counts.max() - counts.min()) <= 3
    assert task.monitor is task.test


def test_the_split_of_digits_never_changes():
    digest = hashlib.sha256(load_task("digits", seed=7).test.labels.numpy().tobytes()).hexdigest()

    assert digest.startswith("4493b2052e7b")


def test_an_unknown_task_is_an_error():
    with pytest.raises(OptionError, match="wanted one of: digits, smnist"):
        load_task("cifar")


# Texts


def counting_text(size=1000, length=8):
    text = (torch.arange(size) % 251).to(torch.uint8)
    split = windows(text[:100], length, 10)
    return Text("counting", length, text, split, split)


def test_every_byte_is_foretold_from_the_one_before():
    inputs, labels = counting_text().batch(0, 5, seed=0)

    assert inputs.shape == labels.shape == (5, 8)
    assert torch.equal((inputs + 1) % 251, labels)


def test_a_batch_of_a_text_depends_on_its_arguments_alone():
    backwards = {step: counting_text().batch(step, 3, seed=5).inputs for step in reversed(range(10))}

    for step in range(10):
        assert torch.equal(counting_text().batch(step, 3, seed=5).inputs, backwards[step])
    assert not torch.equal(backwards[0], backwards[1])


def test_windows_lie_side_by_side_and_are_spread_over_the_text():
    text = torch.arange(101)

    all_of_them, some = windows(text, 10, 99), windows(text, 10, 5)

    assert torch.equal(all_of_them.inputs.flatten(), torch.arange(100))
    assert torch.equal(all_of_them.labels.flatten(), torch.arange(1, 101))
    assert some.inputs[:, 0].tolist() == [0, 20, 40, 60, 80]


@pytest.mark.parametrize("length", [0, 1000])
def test_a_text_shorter_than_a_window_is_an_error(length):
    with pytest.raises((OptionError, ShapeError), match="got"):
        Text("short", length, torch.zeros(1000, dtype=torch.uint8), *[Split(torch.zeros(1, 1), torch.zeros(1, 1))] * 2)


@pytest.fixture
def library(tmp_path):
    names = [f"m{k}.py" for k in range(60)] + ["test/test_a.py", "site-packages/b.py", "_sysconfigdata_x.py", "c.txt"]
    for name in reversed(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(f"# {name}\r\nx = 1\n".encode())
    return tmp_path


def test_sources_are_read_in_the_order_of_their_names_without_tests_and_foreign_packages(library):
    text = bytes(text_of(library, 4).train.tolist())

    files = text.removesuffix(b"\0").split(b"\0")
    assert files == sorted(files)
    assert 40 <= len(files) < 60
    assert all(file.startswith(b"# m") and file.endswith(b"x = 1\n") for file in files)
    assert b"\r" not in text


def test_splits_share_no_file_and_do_not_depend_on_the_other_files(library):
    before = bytes(text_of(library, 4).train.tolist()).split(b"\0")
    (library / "m7777.py").write_bytes(b"# new\n")

    after = bytes(text_of(library, 4).train.tolist()).split(b"\0")

    assert set(before) - set(after) == set()
    assert len(set(before)) == len(before)


def test_a_folder_with_few_sources_is_an_error(tmp_path):
    with pytest.raises(DataError, match="too few Python sources"):
        text_of(tmp_path, 4)


def test_the_library_of_this_python_is_large_enough():
    task = load_task("bytes", length=64)

    assert len(task.train) > 1_000_000
    assert task.validation.inputs.shape == (200, 64)
    assert task.train.max() <= 255
    assert task.fingerprint == load_task("bytes", seed=3, length=64).fingerprint


def test_a_task_with_a_length_of_its_own_takes_no_other():
    with pytest.raises(OptionError, match="length of their own"):
        load_task("digits", length=32)


def test_scores_have_the_units_that_people_use():
    assert score_of("digits").of({"accuracy": 0.5}) == 50
    assert score_of("bytes").of({"eval_loss": np.log(2)}, "eval_") == pytest.approx(1)
    assert score_of("bytes").of({"eval_loss": None}, "eval_") is None
    assert (ACCURACY.text(51.26), BITS_PER_BYTE.text(2.0)) == ("51.3 %", "2.000")


# The loader, on files of the official format made here


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    shapes = [(20, 28, 28), (20,), (5, 28, 28), (5,)]
    arrays = [rng.integers(0, 256 if len(shape) == 3 else 10, shape) for shape in shapes]
    files = {}
    (tmp_path / "mnist").mkdir()
    for name, array in zip(SMNIST.FILES, arrays, strict=True):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (tmp_path / "mnist" / name).write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))
        files[name] = hashlib.sha256((tmp_path / "mnist" / name).read_bytes()).hexdigest()
    monkeypatch.setattr(SMNIST, "FILES", files)
    monkeypatch.setenv("SSM_ZOO_DATA", str(tmp_path))
    return tmp_path, arrays


def test_smnist_reads_pixels_row_by_row_in_unit_range(tiny_mnist):
    _, (_, _, images, labels) = tiny_mnist

    task = smnist()

    assert task.test.inputs.shape == (5, 784, 1)
    np.testing.assert_allclose(task.test.inputs[3, :, 0].numpy(), images[3].ravel() / 255, rtol=1e-6)
    assert task.test.labels.tolist() == labels.tolist()


def test_smnist_holds_out_a_tenth_by_seed(tiny_mnist):
    first, again, other = smnist(0), smnist(0), smnist(1)

    assert first.train.inputs.shape[0] == 18
    assert first.monitor is first.validation
    assert torch.equal(first.validation.inputs, again.validation.inputs)
    assert not torch.equal(first.validation.inputs, other.validation.inputs)
    both = torch.cat([first.train.inputs, first.validation.inputs])
    assert torch.equal(both.sum(), torch.cat([other.train.inputs, other.validation.inputs]).sum())


def test_a_local_file_with_another_content_is_an_error(tiny_mnist):
    folder, _ = tiny_mnist
    (folder / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"other"))

    with pytest.raises(DataError, match=r"got sha256 .* wanted"):
        smnist()


def test_a_missing_local_file_is_an_error(tiny_mnist):
    folder, _ = tiny_mnist
    (folder / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()

    with pytest.raises(DataError, match="is missing"):
        smnist()


# The downloader, against a server on this machine


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        kind = self.path.split("/")[1]
        if kind == "absent":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write({"good": CONTENT, "bad": CONTENT[::-1], "broken": CONTENT[:50]}[kind])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SSM_ZOO_DATA", raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()


def files_in(folder):
    return [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names]


def test_a_file_is_downloaded_once(server, tmp_path):
    paths = [fetch("set", "file.gz", SHA256, [f"{server.url}/good"]) for _ in range(2)]

    assert paths == [tmp_path / "ssm-zoo" / "set" / "file.gz"] * 2
    assert paths[0].read_bytes() == CONTENT
    assert server.requests == ["/good/file.gz"]
    assert len(files_in(tmp_path)) == 1


@pytest.mark.parametrize("kind", ["absent", "bad", "broken"])
def test_the_next_mirror_is_tried_when_one_fails(server, kind):
    path = fetch("set", "file.gz", SHA256, [f"{server.url}/{kind}", f"{server.url}/good"])

    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("kind", "message"),
    [("absent", "404"), ("bad", f"got sha256 .* wanted {SHA256}"), ("broken", "50 of 144 bytes|IncompleteRead")],
)
def test_a_failed_download_leaves_nothing_and_names_the_url(server, tmp_path, kind, message):
    url = f"{server.url}/{kind}"

    with pytest.raises(DataError, match=message) as caught:
        fetch("set", "file.gz", SHA256, [url])

    assert f"{url}/file.gz" in str(caught.value)
    assert "SSM_ZOO_DATA=" in str(caught.value)
    assert files_in(tmp_path) == []


def test_no_network_is_needed_for_a_local_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("SSM_ZOO_DATA", str(tmp_path))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file.gz").write_bytes(CONTENT)

    assert fetch("set", "file.gz", SHA256, []) == tmp_path / "set" / "file.gz"


# ListOps and reviews


def value_of(tokens):
    """Work an expression out by a stack, unlike the generator, which has the tree."""
    stack = []
    for token in tokens:
        if token != "]":
            stack.append(token if token.startswith("[") else int(token))
            continue
        arguments = []
        while isinstance(stack[-1], int):
            arguments.append(stack.pop())
        sums = {"[MIN": min, "[MAX": max, "[MED": lambda v: int(np.median(v)), "[SM": lambda v: sum(v) % 10}
        stack.append(sums[stack.pop()](arguments))
    (value,) = stack
    return value


def test_expressions_have_the_values_that_a_stack_finds():
    made = list(LISTOPS.expressions(5))

    assert [value for _, value in made] == [value_of(tokens) for tokens, _ in made]
    assert all(500 < len(tokens) < 2000 for tokens, _ in made)
    assert made == list(LISTOPS.expressions(5))
    assert made != list(LISTOPS.expressions(5, seed=1))


def test_listops_is_made_where_there_are_no_files(monkeypatch):
    monkeypatch.delenv("SSM_ZOO_DATA", raising=False)
    monkeypatch.setattr(LISTOPS, "GENERATED", 12)

    task = listops()

    assert [len(split.labels) for split in (task.train, task.validation, task.test)] == [8, 2, 2]
    row, length = task.test.inputs[0], int(task.test.lengths[0])
    assert value_of([LISTOPS.VOCABULARY[k - 1] for k in row[:length].tolist()]) == int(task.test.labels[0])
    assert int(row[length:].sum()) == 0
    assert task.batch(0, 2, seed=0).inputs.dtype == torch.int64


def test_listops_reads_the_files_of_the_release(tmp_path, monkeypatch):
    monkeypatch.setenv("SSM_ZOO_DATA", str(tmp_path))
    (tmp_path / "listops").mkdir()
    for name, line in (("train", "( ( ( [MAX 3 ) 9 ) ] )\t9"), ("val", "4\t4"), ("test", "( ( [SM 8 ) ] )\t8")):
        (tmp_path / "listops" / f"basic_{name}.tsv").write_text(f"Source\tTarget\n{line}\n")

    task = listops()

    assert [LISTOPS.VOCABULARY[k - 1] for k in task.train.inputs[0].tolist()] == ["[MAX", "3", "9", "]"]
    assert (task.train.labels.tolist(), task.test.labels.tolist()) == ([9], [8])


def test_listops_reads_a_sample(tmp_path, monkeypatch):
    monkeypatch.setenv("SSM_ZOO_DATA", str(tmp_path))
    (tmp_path / "listops").mkdir()
    columns = {"tokens": np.arange(6, dtype=np.uint8), "length": np.ones(6, dtype=np.uint16)}
    labels, vocabulary = np.arange(6, dtype=np.uint8), np.array(LISTOPS.VOCABULARY)
    np.savez(tmp_path / "listops" / "listops_sample.npz", **columns, label=labels, vocab=vocabulary)

    task = listops()

    assert task.train.labels.tolist() == [0, 1, 2, 3]
    assert task.test.inputs.tolist() == [[6]]


def test_listops_without_its_files_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("SSM_ZOO_DATA", str(tmp_path))

    with pytest.raises(DataError, match=r"basic_train\.tsv"):
        listops()


REVIEWS = {"train": {"neg": [b"bad", b"worse"], "pos": [b"good" * 3]}, "test": {"neg": [b"no"], "pos": [b"yes", b"ok"]}}


@pytest.fixture(params=["packed", "archive"])
def tiny_imdb(request, tmp_path, monkeypatch):
    texts = {name: [text for kind in ("neg", "pos") for text in kinds[kind]] for name, kinds in REVIEWS.items()}
    monkeypatch.setattr(IMDB, "TEXTS", {k: hashlib.sha256(b"".join(v)).hexdigest() for k, v in texts.items()})
    monkeypatch.setenv("SSM_ZOO_DATA", str(tmp_path))
    folder = tmp_path / "imdb_bytes"
    folder.mkdir()
    if request.param == "packed":
        index = {}
        for name, kinds in REVIEWS.items():
            (folder / f"{name}.txt.xz").write_bytes(lzma.compress(b"".join(texts[name])))
            index[f"{name}_len"] = np.array(list(map(len, texts[name])), dtype=np.int32)
            index[f"{name}_label"] = np.repeat([0, 1], [len(kinds["neg"]), len(kinds["pos"])]).astype(np.uint8)
        np.savez(folder / "index.npz", **index)
        return folder
    with tarfile.open(folder / IMDB.ARCHIVE, "w:gz") as archive:
        for name, kinds in REVIEWS.items():
            for kind, found in kinds.items():
                for k, text in enumerate(found):
                    member = tarfile.TarInfo(f"aclImdb/{name}/{kind}/{k}_7.txt")
                    member.size = len(text)
                    archive.addfile(member, io.BytesIO(text))
    monkeypatch.setattr(IMDB, "SHA256", hashlib.sha256((folder / IMDB.ARCHIVE).read_bytes()).hexdigest())
    return folder


def test_reviews_are_bytes_filled_up_by_zeros(tiny_imdb):
    task = imdb()

    rows = [bytes(row.tolist()).rstrip(b"\0") for row in task.test.inputs]
    assert rows == [b"no", b"yes", b"ok"]
    assert task.test.labels.tolist() == [0, 1, 1]
    assert task.test.lengths.tolist() == [2, 3, 2]
    assert len(task.train.labels) + len(task.validation.labels) == 3


def test_reviews_can_be_cut_short(tiny_imdb):
    assert imdb(length=5).train.inputs.shape[1] == 5


def test_reviews_that_are_not_the_official_ones_are_an_error(tiny_imdb, monkeypatch):
    monkeypatch.setitem(IMDB.TEXTS, "test", "0" * 64)

    with pytest.raises(DataError, match="official test reviews"):
        imdb()
