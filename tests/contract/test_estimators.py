"""Classifier and Regressor: scikit-learn's conventions, on clouds and paths."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks
from tests.toy import FEATURES, toy_cloud

import cloudchamber as cc
from cloudchamber.data import store
from cloudchamber.errors import BadInput, BadRecipe, BadSchema, BadWeights
from cloudchamber.events import Cloud, Feature

# scikit-learn's own checks that need no array X. The others pass (n_samples, n_features) arrays to fit; an event is
# a set of particles of any number, so such an array has no meaning here, and fit refuses it with BadInput.
CHECKS = (
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_valid_tag_types,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_mixin_order,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
)
FAST = {"adapt": "scratch", "steps": 30, "learning_rate": 3e-3, "seed": 1}


@pytest.mark.parametrize("kind", [cc.Classifier, cc.Regressor])
@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_scikit_learns_checks_that_need_no_array_pass(kind, check):
    check(kind.__name__, kind())


@pytest.fixture(scope="module")
def cloud():
    return toy_cloud(150)


@pytest.fixture(scope="module")
def fitted(cloud):
    return cc.Classifier("xs", **FAST).fit(cloud, "label")


def test_a_classifier_learns_and_gives_probabilities_of_its_classes(cloud, fitted):
    proba = fitted.predict_proba(cloud)
    assert proba.shape == (150, 2)
    assert np.allclose(proba.sum(1), 1, atol=1e-5)
    assert fitted.class_names_ == ("narrow", "wide")
    assert np.array_equal(fitted.predict(cloud), fitted.classes_[proba.argmax(1)])
    assert fitted.score(cloud, "label") > 0.9
    assert fitted.embed(cloud).shape == (150, 192)


def test_the_same_seed_gives_the_same_model_and_a_clone_is_unfitted(cloud, fitted):
    twin = clone(fitted)
    assert twin.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        twin.predict(cloud)
    with pytest.raises(NotFittedError):
        twin.predict_set(cloud)
    assert np.array_equal(twin.fit(cloud, "label").predict_proba(cloud), fitted.predict_proba(cloud))


def test_fit_does_not_change_what_it_is_given(cloud):
    before = cloud.flat("px").copy(), cloud.labels["label"].copy()
    estimator = cc.Classifier("xs", **FAST | {"steps": 1})
    parameters = estimator.get_params()
    estimator.fit(cloud, "label")
    assert estimator.get_params() == parameters
    assert np.array_equal(cloud.flat("px"), before[0])
    assert np.array_equal(cloud.labels["label"], before[1])


def test_y_can_be_an_array_of_any_values(cloud):
    y = np.where(cloud.labels["label"] == 1, "signal", "background")
    model = cc.Classifier("xs", **FAST).fit(cloud, y)
    assert model.classes_.tolist() == ["background", "signal"]
    assert set(model.predict(cloud)) <= {"background", "signal"}
    assert model.score(cloud, y) > 0.9


def test_x_can_be_a_path_and_other_events_than_those_of_fit(tmp_path, cloud, fitted):
    store.write(tmp_path / "jets", [cloud])
    model = cc.Classifier("xs", **FAST).fit(tmp_path / "jets", "label")
    assert np.allclose(model.predict_proba(str(tmp_path / "jets")), fitted.predict_proba(cloud))
    assert fitted.score(toy_cloud(100, seed=9), "label") > 0.85


def test_a_regressor_learns_a_number_and_its_spread(cloud):
    model = cc.Regressor("xs", **FAST | {"steps": 60}).fit(cloud, "width")
    assert model.score(cloud, "width") > 0.5
    residual = np.abs(model.predict(cloud) - cloud.labels["width"])
    assert np.median(residual) < 0.1
    assert (model.predict_spread(cloud) > 0).all()
    new = toy_cloud(300, seed=11)
    low, high = model.predict_interval(new, 0.8).T
    assert_covered((low <= new.labels["width"]) & (new.labels["width"] <= high), 0.8, model)


def assert_covered(inside, level, model):
    """Within four binomial errors of the new events and of the validation events behind the threshold."""
    error = np.sqrt(level * (1 - level) * (1 / len(inside) + 1 / len(model.validation_)))
    assert inside.mean() == pytest.approx(level, abs=4 * error)


def test_intervals_of_students_t_are_as_wide_as_their_events_are_hard(cloud):
    model = cc.Regressor("xs", options={"loss": "student"}, **FAST).fit(cloud, "width")
    low, high = model.predict_interval(cloud, 0.68).T
    assert np.unique(np.round(high - low, 5)).size > 100
    assert model.validation_.spread_NC is not None


def test_sets_hold_the_class_of_new_events_as_often_as_asked(fitted):
    new = toy_cloud(300, seed=11)
    inside = fitted.predict_set(new, 0.8)
    assert inside.shape == (300, 2)
    assert_covered(inside[np.arange(300), new.labels["label"]], 0.8, fitted)
    assert fitted.score_table(new).embedding_NE.shape == (300, 192)
    assert fitted.trained_ == fitted.network_.parameters_count


def test_what_cannot_be_learned_is_said(cloud):
    with pytest.raises(BadInput, match="only one class"):
        cc.Classifier("xs", **FAST).fit(cloud[cloud.labels["label"] == 0], "label")
    with pytest.raises(BadSchema, match="labell"):
        cc.Classifier("xs", **FAST).fit(cloud, "labell")
    with pytest.raises(BadInput, match="Regressor"):
        cc.Classifier("xs", **FAST).fit(cloud, "width")
    with pytest.raises(BadInput, match=r"\(150,\)"):
        cc.Classifier("xs", **FAST).fit(cloud, [0, 1])
    with pytest.raises(BadInput, match="validate"):
        cc.Classifier("xs", **FAST).fit(cloud[:12], "label")
    with pytest.raises(BadInput, match="ndarray"):
        cc.Classifier("xs", **FAST).fit(np.zeros((3, 2)), [0, 1, 0])
    with pytest.raises(BadWeights, match="no_such"):
        cc.Classifier("no_such").fit(cloud, "label")
    with pytest.raises(BadInput, match="scratch"):
        cc.Classifier("no_such", adapt="scratch").fit(cloud, "label")


def test_events_with_another_feature_than_in_training_are_refused(fitted):
    with pytest.raises(BadWeights, match="the data lack charge"):
        fitted.predict(toy_cloud(10, features=()))
    with pytest.raises(BadWeights, match="have puppi besides"):
        fitted.predict(toy_cloud(10, features=(*FEATURES, "puppi")))


def test_the_shipped_weights_are_adapted_and_the_probe_leaves_the_backbone_alone(cloud):
    load = cc.load("xs").backbone.state_dict()
    full = cc.Classifier("xs", steps=20, seed=1).fit(cloud, "label")
    assert full.score(toy_cloud(100, seed=9), "label") > 0.8
    assert "missing" in str(full.load_report_)
    probe = cc.Classifier("xs", adapt="probe", steps=20, seed=1).fit(cloud, "label")
    assert all(np.array_equal(v, load[n]) for n, v in probe.network_.backbone.state_dict().items())
    assert any(not np.array_equal(v, load[n]) for n, v in full.network_.backbone.state_dict().items())


def test_a_head_is_kept_where_the_weights_have_one_for_the_target(cloud, fitted, tmp_path):
    fitted.save(tmp_path / "weights")
    start = {"steps": 1, "learning_rate": 1e-6, "seed": 1}
    kept = cc.Classifier(tmp_path / "weights", keep_head=True, **start).fit(cloud, "label")
    assert np.allclose(kept.predict_proba(cloud), fitted.predict_proba(cloud), atol=1e-3)
    new = cc.Classifier(tmp_path / "weights", **start).fit(cloud, "label")
    assert np.allclose(new.predict_proba(cloud), 0.5, atol=1e-3)
    with pytest.raises(BadRecipe, match="no head for 'regress of width'"):
        cc.Regressor(tmp_path / "weights", keep_head=True, **start).fit(cloud, "width")


def test_classes_are_compared_by_name_whatever_their_order(cloud, fitted):
    label, width = cloud.schema.labels
    schema = cloud.schema.model_copy(update={"labels": (label.model_copy(update={"classes": ("wide", "narrow")}), width)})
    swapped = cc.Cloud(cloud.particles, {**cloud.events, "label": 1 - cloud.labels["label"]}, schema)
    assert fitted.score(swapped, "label") == fitted.score(cloud, "label")


def test_a_feature_named_like_a_derived_one_is_refused(cloud):
    with pytest.raises(BadSchema, match="log_pt"):
        cc.embed("xs", toy_cloud(5, features=("log_pt",)))


def test_an_array_target_does_not_leak_through_a_column_of_its_name(cloud):
    schema = cloud.schema.model_copy(update={"columns": (Feature(name="target"),)})
    leaky = cloud.with_columns(schema, target=cloud.labels["label"].astype(float))
    with pytest.raises(BadInput, match="target"):
        cc.Classifier("xs", **FAST).fit(leaky, cloud.labels["label"])


@pytest.mark.parametrize("y", ["label", "array"])
def test_a_saved_model_is_loaded_as_it_was(y, cloud, tmp_path):
    target = "label" if y == "label" else np.where(cloud.labels["label"] == 1, "signal", "background")
    model = cc.Classifier("xs", **FAST | {"steps": 3}).fit(cloud, target)
    model.save(tmp_path / "model")
    again = cc.Classifier.load(tmp_path / "model")
    assert again.class_names_ == model.class_names_
    assert again.classes_.tolist() == model.classes_.tolist()
    assert np.array_equal(again.predict_proba(cloud), model.predict_proba(cloud))
    assert np.array_equal(again.predict_set(cloud, 0.9), model.predict_set(cloud, 0.9))
    with pytest.raises(BadInput, match="is there already"):
        model.save(tmp_path / "model")
    with pytest.raises(BadWeights, match="which is a class"):
        cc.Regressor.load(tmp_path / "model")


def test_a_saved_regressor_is_loaded_as_it_was(cloud, tmp_path):
    model = cc.Regressor("xs", **FAST | {"steps": 3}).fit(cloud, np.log(cloud.counts))
    model.save(tmp_path / "model")
    assert np.array_equal(cc.Regressor.load(tmp_path / "model").predict(cloud), model.predict(cloud))


def test_a_model_of_jets_refuses_whole_events(cloud, fitted):
    events = Cloud(cloud.particles, cloud.events, cloud.schema.model_copy(update={"frame": "collider"}))
    with pytest.raises(BadWeights, match=r"in frame 'jet', .* in frame 'collider'.*leading_jets"):
        fitted.predict(events)


def test_unknown_features_may_be_embedded_if_they_are_named(cloud):
    schema = cloud.schema.model_copy(update={"columns": (Feature(name="odd"),)})
    events = cloud.with_columns(schema, odd=np.ones(len(cloud)))
    with pytest.raises(BadWeights, match="--new-feature odd"):
        cc.embed("xs", events)
    assert np.array_equal(cc.embed("xs", events, new_features=("odd",)), cc.embed("xs", cloud))
