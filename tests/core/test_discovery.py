"""Finding and loading plugins, with distributions as pip leaves them on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pluggy
import pytest

from icm_registry import Catalogue, Owner, PluginSet, RegistryError, find_entry_points, load_plugins, nearest, unknown

Install = Callable[..., Path]

spec, impl = pluggy.HookspecMarker("demo"), pluggy.HookimplMarker("demo")


class Hooks:
    @spec
    def things(self) -> list[object]:
        """Things."""


SOURCE = """
import pluggy
class Thing:
    name = "{name}"
@pluggy.HookimplMarker("demo")
def things():
    return [Thing]
"""


def load(folder: Path, **kwargs: object) -> PluginSet:
    return load_plugins("demo", Hooks, "demo.plugins", path=[str(folder)], **kwargs)


def collect(plugins: PluginSet) -> Catalogue[object]:
    def check(item: object) -> tuple[str, object]:
        if not isinstance(item, type):
            raise RegistryError("it is not a class")
        return item.name, item

    return plugins.collect("things", "thing", check)


def get_error(catalogue: Catalogue[object], name: str) -> str:
    with pytest.raises(RegistryError) as caught:
        catalogue.get(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_entry_points_are_sorted_and_know_their_distribution(tmp_path: Path, install: Install) -> None:
    install(tmp_path, "dist_b", "[demo.plugins]\nzeta = mod_z\nalpha = mod_a:obj.inner\n", "2.1")
    install(tmp_path, "dist_a", "[demo.plugins]\nmiddle = mod_m\n[other]\nx = y\n", "0.1.dev3")
    found = find_entry_points("demo.plugins", [str(tmp_path)])
    assert [(p.name, p.target, p.distribution, p.version) for p in found] == [
        ("alpha", "mod_a:obj.inner", "dist-b", "2.1"),
        ("middle", "mod_m", "dist-a", "0.1.dev3"),
        ("zeta", "mod_z", "dist-b", "2.1"),
    ]


def test_a_distribution_that_is_found_twice_counts_once(tmp_path: Path, install: Install) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    install(first, "my_dist", "[demo.plugins]\nx = mod\n", "2.0")
    install(second, "My_Dist", "[demo.plugins]\nx = mod\n", "1.0")
    found = find_entry_points("demo.plugins", [str(first), str(second), str(first)])
    assert [(p.distribution, p.version) for p in found] == [("my-dist", "2.0")]


def test_source_folder_without_version_in_its_name(tmp_path: Path) -> None:
    info = tmp_path / "plain.egg-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[demo.plugins]\nx = mod\n")
    assert [p.version for p in find_entry_points("demo.plugins", [str(tmp_path)])] == ["unknown"]


def test_a_damaged_file_of_another_package_hides_nothing(tmp_path: Path, install: Install) -> None:
    install(tmp_path, "aaa_damaged", "this is = not\n an [ini file\n")
    install(tmp_path, "good", "[demo.plugins]\nx = mod\n", "3.0")
    found = find_entry_points("demo.plugins", [str(tmp_path)])
    assert [(p.name, p.distribution, p.version) for p in found] == [("x", "good", "3.0")]


def test_percent_signs_are_not_interpolated(tmp_path: Path, install: Install) -> None:
    install(tmp_path, "percent", "[demo.plugins]\na = mod%s\nb = mod%%s\nc = mod%(a)s\n")
    targets = [point.target for point in find_entry_points("demo.plugins", [str(tmp_path)])]
    assert targets == ["mod%s", "mod%%s", "mod%(a)s"]
    install(tmp_path / "other", "doubled", "[demo.plugins]\nx = mod\ny = %%(x)s.%(x)s\n")
    assert find_entry_points("demo.plugins", [str(tmp_path / "other")])[1].target == "%%(x)s.%(x)s"


def test_loads_modules_and_objects(tmp_path: Path, install: Install) -> None:
    source = SOURCE.format(name="a.thing") + "class Box:\n    inner = __import__('sys').modules[__name__]\n"
    install(tmp_path, "one", "[demo.plugins]\na = load_one:Box.inner\n", load_one=source)
    catalogue = collect(load(tmp_path))
    assert catalogue.names == ("a.thing",)
    assert catalogue.get("a.thing").name == "a.thing"
    assert catalogue.entries[0].owner == Owner("a", "one", "1.0")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line second line"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("def f(:", "SyntaxError"),
        (SOURCE.format(name="bad.x").replace("def things", "def thing"), "unknown hook 'thing'; did you mean 'things'"),
        (SOURCE.format(name="bad.x").replace("things()", "things(size)"), "PluginValidationError"),
    ],
)
def test_a_broken_plugin_is_named_and_breaks_nothing_else(
    tmp_path: Path, install: Install, source: str, says: str
) -> None:
    install(tmp_path, "bad_dist", "[demo.plugins]\nbad = broken_module\n", "0.3", broken_module=source)
    install(tmp_path, "good_dist", "[demo.plugins]\ngood = good_module\n", good_module=SOURCE.format(name="good.x"))
    plugins = load(tmp_path)
    catalogue = collect(plugins)
    assert catalogue.names == ("good.x",)
    problems = {plugin.owner.plugin: plugin.problem for plugin in plugins.plugins}
    assert says in problems["bad"] and not problems["good"]
    message = get_error(catalogue, "bad.x")
    assert "bad-dist 0.3 (plugin 'bad') could not be loaded" in message and says in message
    assert "bad-dist" not in get_error(catalogue, "good.y")


def test_a_plugin_that_is_named_after_its_component_is_found_to_be_broken(tmp_path: Path, install: Install) -> None:
    install(tmp_path, "lab_depth", "[demo.plugins]\nlab_depth = broken_depth\n", broken_depth="import no_such_thing")
    assert "lab-depth 1.0 (plugin 'lab_depth') could not be loaded" in get_error(collect(load(tmp_path)), "lab.depth")


def test_an_unreadable_target_is_a_broken_plugin(tmp_path: Path, install: Install) -> None:
    install(tmp_path, "odd", "[demo.plugins]\nodd = not a module!\n")
    assert "is not of the form" in load(tmp_path).plugins[0].problem


@pytest.mark.parametrize("body", ["raise ValueError('no')", "return 'name'", "return 3"])
def test_a_failing_hook_is_recorded(tmp_path: Path, install: Install, body: str) -> None:
    source = f"import pluggy\n@pluggy.HookimplMarker('demo')\ndef things():\n    {body}\n"
    install(tmp_path, "failing", "[demo.plugins]\nfailing = failing_module\n", failing_module=source)
    install(tmp_path, "good_dist", "[demo.plugins]\ngood = good_module\n", good_module=SOURCE.format(name="good.x"))
    catalogue = collect(load(tmp_path))
    assert catalogue.names == ("good.x",)
    assert "failing 1.0 (plugin 'failing') failed in its hook things" in get_error(catalogue, "failing.x")


def test_two_distributions_with_one_entry_point_are_both_left_out(tmp_path: Path, install: Install) -> None:
    install(tmp_path, "first", "[demo.plugins]\nsame = same_a\n", "1.0", same_a=SOURCE.format(name="same.a"))
    install(tmp_path, "second", "[demo.plugins]\nsame = same_b\n", "2.0", same_b=SOURCE.format(name="same.b"))
    install(tmp_path, "third", "[demo.plugins]\nother = other_c\n", other_c=SOURCE.format(name="other.c"))
    plugins = load(tmp_path)
    catalogue = collect(plugins)
    assert catalogue.names == ("other.c",)
    assert [plugin.owner.distribution for plugin in plugins.plugins if plugin.problem] == ["first", "second"]
    assert get_error(catalogue, "same.a") == (
        "unknown thing 'same.a': first 1.0 (plugin 'same') is not loaded: "
        "entry point 'same' is claimed by first 1.0 and second 2.0"
    )


def test_two_components_with_one_name_leave_the_others_alone(tmp_path: Path, install: Install) -> None:
    both = SOURCE.format(name="x.same") + "\nclass Own:\n    name = 'one.own'\n"
    install(
        tmp_path,
        "first",
        "[demo.plugins]\none = dup_a\n",
        dup_a=both.replace("[Thing]", "[Thing, Own]"),
    )
    install(tmp_path, "second", "[demo.plugins]\ntwo = dup_b\n", "2.0", dup_b=SOURCE.format(name="x.same"))
    catalogue = collect(load(tmp_path))
    assert catalogue.names == ("one.own",)
    message = get_error(catalogue, "x.same")
    assert "thing 'x.same' is provided by first 1.0 (plugin 'one') and by second 2.0 (plugin 'two')" in message
    problems = [entry.problem for entry in catalogue.entries if entry.name == "x.same"]
    assert "second 2.0" in problems[0] and "first 1.0" in problems[1]


def test_an_item_that_breaks_the_rules_is_rejected_by_name() -> None:
    plugin = ModuleType("plugin")
    setattr(plugin, "things", impl(lambda: [SimpleNamespace(name="p.bad")], specname="things"))  # noqa: B010
    plugins = load_plugins("demo", Hooks, "demo.plugins", path=[], extra={"p": plugin})
    catalogue = collect(plugins)
    assert catalogue.names == ()
    assert "thing 'p.bad' of this process (plugin 'p') cannot be used: it is not a class" in get_error(
        catalogue, "p.bad"
    )


def test_an_object_and_an_installed_plugin_of_one_name_collide(tmp_path: Path, install: Install) -> None:
    install(tmp_path, "first", "[demo.plugins]\np = coll_a\n", coll_a=SOURCE.format(name="p.a"))
    plugins = load(tmp_path, extra={"p": ModuleType("plugin")})
    assert all("claimed by first 1.0 and this process" in plugin.problem for plugin in plugins.plugins)


def test_sets_do_not_share_anything(tmp_path: Path, install: Install) -> None:
    install(tmp_path, "first", "[demo.plugins]\np = share_a\n", share_a=SOURCE.format(name="p.a"))
    assert collect(load(tmp_path)).names == ("p.a",)
    assert collect(load_plugins("demo", Hooks, "demo.plugins", path=[])).names == ()
    assert collect(load(tmp_path)).names == ("p.a",)


def test_unknown_names_the_nearest() -> None:
    assert (
        unknown("adapter", "sicmh.multiscale", ["sicmh.one_scale", "sicmh.multi_scale"])
        == "unknown adapter 'sicmh.multiscale'; did you mean 'sicmh.multi_scale'? "
        "known: sicmh.multi_scale, sicmh.one_scale"
    )
    assert unknown("adapter", "x", []) == "unknown adapter 'x'; known: none is installed"
    assert nearest("Multi_Scale", ["multi_scale"]) == "multi_scale"
    assert nearest("q", ["multi_scale"]) is None
