"""`Config`: reading, setting, defaults from the environment, and what is derived."""

import copy
import os
import pickle
import ssl
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from monoceros.config import KNOWN_SETTINGS, AccessLogFormat, Config, Setting
from monoceros.config.setting import current_directory
from monoceros.errors import ConfigError


def test_a_setting_is_read_by_its_name_and_set_by_set(cfg: Config) -> None:
    cfg.set("workers", "3")
    assert cfg.workers == 3
    assert cfg.settings["workers"].value == 3
    assert cfg.settings["workers"].get() == 3
    assert cfg.settings["workers"].default == 1
    assert cfg.settings["workers"].cli == ("-w", "--workers")
    cfg.settings["workers"].set(4)
    assert cfg.workers == 4


def test_a_setting_can_not_be_assigned(cfg: Config) -> None:
    with pytest.raises(AttributeError, match="Invalid access!"):
        cfg.workers = 3
    cfg.something = 3
    assert cfg.something == 3


def test_unknown_names_are_attribute_errors(cfg: Config) -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = cfg.nothing
    with pytest.raises(AttributeError, match="'nothing'"):
        cfg.set("nothing", 1)
    assert not hasattr(cfg, "nothing")


def test_two_configurations_share_no_value() -> None:
    one, other = Config(), Config()
    one.logconfig_dict["a"] = 1
    one.bind.append("x")
    assert other.logconfig_dict == {}
    assert other.bind == ["127.0.0.1:8000"]


def test_it_can_be_copied(cfg: Config) -> None:
    cfg.set("workers", 3)
    copied = copy.copy(cfg)
    assert copied.workers == 3
    assert copy.deepcopy(cfg).workers == 3
    with pytest.raises(AttributeError):
        _ = Config.__new__(Config).workers
    assert pickle.loads(pickle.dumps(Config.__new__(Config)))


def test_every_setting_is_documented_and_takes_its_default() -> None:
    for known in KNOWN_SETTINGS:
        setting = known()
        assert setting.section, known.name
        assert setting.short.endswith((".", ":")) or "(" in setting.short, known.name
        assert len(setting.short) < 100, known.name
        assert setting.is_default, known.name
        for flag in setting.cli:
            assert flag.startswith("-"), known.name
        if setting.cli and setting.action in ("store", "append"):
            assert setting.meta, known.name


def test_a_new_setting_is_one_class() -> None:
    before = list(KNOWN_SETTINGS)
    try:

        def validate(value: object) -> str:
            return f"<{value}>"

        class Colour(Setting):
            """The colour."""

            name = "colour"
            section = "Looks"
            cli = ("--colour",)
            meta = "NAME"
            validator = validate
            default = "red"

        cfg = Config(prog="x")
        assert cfg.colour == "<red>"
        assert cfg.parser().parse_args(["--colour", "blue"]).colour == "blue"
        assert "Looks" in cfg.parser().format_help()
        assert "colour" in str(cfg)
    finally:
        KNOWN_SETTINGS[:] = before


class TestEnvironment:
    def test_port(self) -> None:
        cfg = Config(environ={"PORT": "9001"})
        assert cfg.bind == ["0.0.0.0:9001"]
        assert cfg.address == [("0.0.0.0", 9001)]

    @pytest.mark.parametrize("blank", ["", "  "])
    def test_blank_values_count_as_unset(self, blank: str) -> None:
        cfg = Config(environ={"PORT": blank, "WEB_CONCURRENCY": blank, "SENDFILE": blank})
        assert cfg.bind == ["127.0.0.1:8000"]
        assert cfg.workers == 1
        assert cfg.sendfile is True

    def test_nonsense_in_port_is_named_with_its_source(self) -> None:
        cfg = Config(environ={"PORT": "tcp"})
        with pytest.raises(ConfigError, match=r"'tcp' is no port number.*variable PORT"):
            _ = cfg.address
        cfg.set("bind", "127.0.0.1:1")
        assert cfg.address == [("127.0.0.1", 1)]

    def test_web_concurrency(self) -> None:
        assert Config(environ={"WEB_CONCURRENCY": " 5 "}).workers == 5

    @pytest.mark.parametrize("nonsense", ["abc", "-1", "1.5", "0x4"])
    def test_nonsense_in_web_concurrency_is_an_error(self, nonsense: str) -> None:
        with pytest.raises(ConfigError, match=f"WEB_CONCURRENCY is '{nonsense}'"):
            Config(environ={"WEB_CONCURRENCY": nonsense})

    def test_the_environment_of_the_process_is_the_default(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WEB_CONCURRENCY", "7")
        cfg = Config()
        monkeypatch.setenv("WEB_CONCURRENCY", "8")
        assert cfg.workers == 7
        assert cfg.env_orig["WEB_CONCURRENCY"] == "7"


class TestSendfile:
    @pytest.mark.parametrize(
        ("chosen", "variable", "used"),
        [
            (None, None, True),
            (None, "yes", True),
            (None, "TRUE", True),
            (None, "1", True),
            (None, "no", False),
            (None, "0", False),
            (True, "no", True),
            (True, None, True),
            (False, "yes", False),
            (False, None, False),
        ],
    )
    def test_the_setting_goes_before_the_variable(
        self, chosen: bool | None, variable: str | None, used: bool
    ) -> None:
        cfg = Config(environ={} if variable is None else {"SENDFILE": variable})
        cfg.set("sendfile", chosen)
        assert cfg.sendfile is used


class TestDerived:
    def test_addresses_of_every_kind_stand_side_by_side(self, cfg: Config) -> None:
        cfg.set("bind", ["fd://3", "127.0.0.1:80", "unix:/x"])
        assert cfg.address == [3, ("127.0.0.1", 80), "/x"]

    def test_no_address_is_an_error(self, cfg: Config) -> None:
        cfg.set("bind", [])
        with pytest.raises(ConfigError, match="no address to bind"):
            cfg.validate()

    def test_proc_name(self, cfg: Config) -> None:
        assert cfg.proc_name == "monoceros"
        cfg.set("default_proc_name", "site.wsgi")
        assert cfg.proc_name == "site.wsgi"
        cfg.set("proc_name", "shop")
        assert cfg.proc_name == "shop"

    def test_env(self, cfg: Config) -> None:
        cfg.set("raw_env", ["A=1", "B=x=y", "C="])
        assert cfg.env == {"A": "1", "B": "x=y", "C": ""}

    def test_identity_and_encryption(self, cfg: Config) -> None:
        assert (cfg.uid, cfg.gid) == (os.geteuid(), os.getegid())
        assert cfg.is_ssl is False
        assert cfg.ssl_options["certfile"] is None
        cfg.set("certfile", "site.pem")
        cfg.set("keyfile_password", "open sesame")
        assert cfg.is_ssl is True
        assert (cfg.ssl_options["certfile"], cfg.ssl_options["password"]) == (
            "site.pem",
            "open sesame",
        )
        assert "open sesame" not in str(cfg)

    @pytest.mark.parametrize(
        ("value", "only_tls13"),
        [
            (ssl.PROTOCOL_TLS, False),
            (ssl.PROTOCOL_TLS_SERVER, False),
            (ssl.TLSVersion.TLSv1_2, False),
            (ssl.TLSVersion.TLSv1_3, True),
            ("TLSv1_2", False),
            ("TLSv1", False),
            ("PROTOCOL_TLSv1_2", False),
            ("ssl.TLSVersion.TLSv1_3", True),
            ("TLSv1.3", True),
            ("2", False),
            ("5", False),
        ],
    )
    def test_lowest_version_of_tls(self, cfg: Config, value: object, only_tls13: bool) -> None:
        cfg.set("ssl_version", value)
        assert cfg.only_tls13 is only_tls13

    @pytest.mark.parametrize("value", ["TLSv9", "6", 99, None, 1.2, "", "TLS1_3"])
    def test_no_version_of_tls(self, cfg: Config, value: object) -> None:
        with pytest.raises((TypeError, ValueError), match="TLSv1_2 or TLSv1_3"):
            cfg.set("ssl_version", value)

    @pytest.mark.parametrize(
        ("value", "number"),
        [(0, 0), ("2", 2), (ssl.CERT_OPTIONAL, 1), ("CERT_REQUIRED", 2), ("ssl.CERT_NONE", 0)],
    )
    def test_client_certificates(self, cfg: Config, value: object, number: int) -> None:
        cfg.set("cert_reqs", value)
        assert cfg.cert_reqs == number

    def test_threads_of_zero_count_as_one(self, cfg: Config) -> None:
        cfg.set("threads", 0)
        assert cfg.threads == 1

    def test_the_default_access_log_format_can_be_imported(self) -> None:
        assert AccessLogFormat.default.startswith("%(h)s")


def test_it_prints_as_a_sorted_table(cfg: Config) -> None:
    cfg.set("umask", 0o22)
    lines = str(cfg).splitlines()
    names = [line.split(" = ")[0].rstrip() for line in lines]
    assert names == sorted(cfg.settings)
    width = max(map(len, names))
    assert all(line[width : width + 3] == " = " for line in lines)
    assert f"{'umask':<{width}} = 18" in lines
    assert f"{'bind':<{width}} = ['127.0.0.1:8000']" in lines
    assert f"{'pre_fork':<{width}} = <PreFork.default()>" in lines


class TestWorkingFolder:
    def test_the_shells_name_of_it_survives(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "release").mkdir()
        (tmp_path / "current").symlink_to(tmp_path / "release")
        monkeypatch.chdir(tmp_path / "current")
        monkeypatch.setenv("PWD", str(tmp_path / "current"))
        assert current_directory() == str(tmp_path / "current")
        assert Config().chdir == str(tmp_path / "current")

    @pytest.mark.parametrize("stale", ["", "relative", "/nowhere/at/all", "/"])
    def test_a_stale_name_does_not(
        self, stale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PWD", stale)
        assert current_directory() == str(tmp_path)


def test_a_class_with_setup_or_install_is_told_that_it_is_used(
    cfg: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    module = ModuleType("told")
    module.Worker = type("Worker", (), {"setup": classmethod(lambda cls: told.append("worker"))})
    module.Logger = type("Logger", (), {"install": classmethod(lambda cls: told.append("logger"))})
    monkeypatch.setitem(sys.modules, "told", module)
    cfg.set("worker_class", "told.Worker")
    cfg.set("logger_class", "told.Logger")
    assert cfg.worker_class is module.Worker
    assert cfg.logger_class is module.Logger
    assert told == ["worker", "logger"]
    assert SimpleNamespace(cfg=cfg).cfg.worker_class_str == "told.Worker"
