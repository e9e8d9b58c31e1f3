{
  lib,
  python3Packages,
  bash,
  coreutils,
  gitMinimal,
  procps,
  tmux,
  # Not to wait for the program utempter at each terminal's beginning and end: 300 agents stop in half the time.
  agentTmux ? tmux.override { withUtempter = false; },
  # For the table [otel]. agentd holds to one release series of the SDK: with another one in nixpkgs it does without.
  withOtel ? lib.hasPrefix "1.45." python3Packages.opentelemetry-sdk.version,
}:

let
  root = ../.;
  version = lib.head (
    builtins.match ''.*__version__ = "([^"]+)".*'' (builtins.readFile (root + "/agentd/__init__.py"))
  );
  # agentd holds to one release series, which nixpkgs may not have: its 0.55 has no delete_buffer.
  libtmux =
    if lib.hasPrefix "0.62." python3Packages.libtmux.version then
      python3Packages.libtmux
    else
      python3Packages.libtmux.overridePythonAttrs (_: {
        version = "0.62.0";
        src = python3Packages.fetchPypi {
          pname = "libtmux";
          version = "0.62.0";
          hash = "sha256-QenoBgKyZW/RGbEyU7J7rUavXP7zIJm+U83TkeKTa2E="; # as in requirements/run.txt
        };
        postPatch = "";
        doCheck = false;
      });
  gateway = with python3Packages; [
    alembic
    asyncpg
    markdown-it-py
    sqlalchemy
  ];
  otel = with python3Packages; [
    opentelemetry-exporter-otlp-proto-http
    opentelemetry-sdk
    requests
  ];
in
python3Packages.buildPythonApplication {
  pname = "agentd";
  inherit version;
  pyproject = true;

  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.unions [
      (root + "/agentd")
      (root + "/benchmarks")
      (root + "/docs")
      (root + "/examples")
      (root + "/packaging")
      (root + "/scripts")
      (root + "/tests")
      (root + "/pyproject.toml")
      (root + "/README.md")
      (root + "/CONTRIBUTING.md")
      (root + "/CHANGELOG.md")
      (root + "/LICENSE")
    ];
  };

  build-system = [ python3Packages.hatchling ];

  # The names of pyproject.toml's dependencies in nixpkgs; tests/packaging/test_nix.py holds the two together.
  dependencies = with python3Packages; [
    aiohttp
    cronsim
    durationpy
    libtmux
    platformdirs
    prometheus-client
    pydantic
    pyte
    structlog
    tomlkit
    watchfiles
  ]
  # Those of the extra gateway, but for the one that brings /docs, which nixpkgs has not.
  ++ gateway
  ++ lib.optionals withOtel otel;

  # At the end of the PATH: whoever runs agentd may prefer another tmux.
  makeWrapperArgs = [
    "--suffix"
    "PATH"
    ":"
    (lib.makeBinPath [ agentTmux ])
  ];

  nativeCheckInputs =
    (with python3Packages; [
      hypothesis
      jsonschema
      openapi-spec-validator
      psutil
      pytest-asyncio
      pytest-timeout
      pytest-xdist
      pytestCheckHook
    ])
    ++ [
      bash
      coreutils
      gitMinimal
      procps
      agentTmux
    ];

  # The folders of tests that run no daemon and need neither a user database nor a real /bin.
  enabledTestPaths = [
    "tests/api"
    "tests/harness/test_builders.py"
    "tests/jcard"
    "tests/supervise"
  ];

  pythonImportsCheck = [ "agentd" ];

  passthru.tmux = agentTmux;

  meta = {
    description = "Supervises AI coding agents in tmux, driven by one declarative file";
    license = lib.licenses.mit;
    mainProgram = "agentd";
    platforms = lib.platforms.unix;
  };
}
