import pytest

from config import parse_args


def recipe(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return str(path)


def test_command_line_over_recipe_over_default(tmp_path):
    path = recipe(tmp_path, "seed: 1\nbatch_size: 32\n")
    args = parse_args(["-c", path, "--seed", "2"])
    assert (args.seed, args.batch_size, args.epoch_size) == (2, 32, 100)
    assert parse_args([f"--config={path}"]).batch_size == 32


@pytest.mark.parametrize("text", ["yes", "true", "True", "1", "on"])
def test_true_in_recipe_and_on_the_command_line(tmp_path, text):
    assert parse_args(["-c", recipe(tmp_path, f"dataset_download: {text}")]).dataset_download is True
    assert parse_args(["--dataset_download", text]).dataset_download is True


def test_false_is_false(tmp_path):
    assert parse_args(["-c", recipe(tmp_path, "probe: False")]).probe is False
    assert parse_args(["--probe", "False"]).probe is False


def test_lists_are_numbers_once_or_once_a_view(tmp_path):
    args = parse_args(["-c", recipe(tmp_path, "scale: [[0.2, 1], [0.3, 1.0]]\nblur_prob: 0.5"), "--hflip", "0", "1"])
    assert args.scale == [0.2, 1.0, 0.3, 1.0] and args.blur_prob == [0.5] and args.hflip == [0.0, 1.0]


def test_a_power_of_ten_without_a_dot_is_a_number(tmp_path):
    assert parse_args(["-c", recipe(tmp_path, "weight_decay: 1e-6")]).weight_decay == 1e-6


@pytest.mark.parametrize(
    "text, message",
    [
        ("bach_size: 3", "recipe.yaml: unknown key 'bach_size'; nearest: batch_size"),
        ("batch_size: -3", "recipe.yaml: batch_size: .*-3 is below 2"),
        ("batch_size: many", "recipe.yaml: batch_size: .*'many' is not a whole number"),
        ("batch_size: 2.5", "recipe.yaml: batch_size: .*'2.5' is not a whole number"),
        ("batch_size: [2]", "recipe.yaml: batch_size: takes one value"),
        ("batch_size:", "recipe.yaml: batch_size: has no value"),
        ("base_lr: -0.1", "base_lr: .*-0.1 is below 0"),
        ("base_lr: nan", "base_lr: .*nan is not a finite float32"),
        ("loss_scale: 1e300", "loss_scale: .*1e300 is not a finite float32"),
        ("momentum: 1", "momentum: .*1 is not below 1"),
        ("hflip: 1.5", "hflip: .*1.5 is above 1"),
        ("scale: [0.08]", "scale: takes 2 or, one set a view, 4 numbers, not 1"),
        ("mean: [1, 2]", "mean: takes 3 values, not 2"),
        ("opt: adam", "opt: .*invalid choice: 'adam'"),
        ("probe: maybe", "probe: .*'maybe' is neither true nor false"),
        ("- a\n- b", "lines of 'key: value'"),
        ("a: b: c", "recipe.yaml: mapping values are not allowed"),
        ("lr: 1\nlr: 2", "recipe.yaml: 'lr' stands there more than once"),
        ("ckpt_path: false", "ckpt_path: takes no False"),
        ("mean: [0.485, 0.456, 0.406]\nstd: [0.229, 0.224, 0.225]", "std: .* 0-255"),
        ("data_dir: ''", "data_dir: is empty"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        parse_args(["-c", recipe(tmp_path, text)])


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--bach_size", "3"], "--bach_size: no such flag; nearest: --batch_size"),
        (["--batch_size", "x"], "--batch_size: 'x' is not a whole number"),
        (["--epoch_size", "0"], "--epoch_size: 0 is below 1"),
        (["--resume", ""], "resume: is empty"),
    ],
)
def test_errors_name_the_flag(argv, message):
    with pytest.raises(ValueError, match=message):
        parse_args(argv)


def test_resume_in_a_recipe_is_the_newest_or_none(tmp_path):
    assert parse_args(["-c", recipe(tmp_path, "resume: true")]).resume == "newest" == parse_args(["--resume"]).resume
    assert parse_args(["-c", recipe(tmp_path, "resume: false")]).resume is None


def test_missing_recipe():
    with pytest.raises(FileNotFoundError, match="--config: no recipe 'nowhere.yaml'"):
        parse_args(["-c", "nowhere.yaml"])
